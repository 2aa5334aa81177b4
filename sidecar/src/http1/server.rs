//! Connections others make to us in HTTP/1.1: requests become calls, one after the other.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header::{HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Received;
use crate::error::{Error, Kind};
use crate::http2::server::Ending;
use crate::observe;
use crate::stack::{Body, Call, Dispatch, Peer, Protocol, Reply};

/// What the requests of one connection share.
pub(crate) struct Accepted {
    pub(crate) dispatch: Rc<dyn Dispatch>,
    pub(crate) peer: Peer,
    /// A head has to be complete by then, also the first one.
    pub(crate) header_block: Duration,
    pub(crate) header_count: usize,
}

/// Serves one connection to its end.
pub(crate) async fn serve<IO, L, C>(io: IO, accepted: Rc<Accepted>, ending: Ending<L, C>)
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    L: Future<Output = ()>,
    C: Future<Output = ()>,
{
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(accepted.header_block)
        .max_headers(accepted.header_count);
    let service = service_fn(move |request| answer(Rc::clone(&accepted), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut leave = pin!(ending.leave);
    let mut cut = pin!(ending.cut);
    let leaving = Cell::new(false);
    std::future::poll_fn(|cx| {
        if !leaving.get() && leave.as_mut().poll(cx).is_ready() {
            leaving.set(true);
            connection.as_mut().graceful_shutdown();
        }
        if cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        connection.as_mut().poll(cx).map(|ended| {
            if let Err(err) = ended {
                tracing::debug!(error = %err, "http/1.1 connection ended");
            }
        })
    })
    .await;
}

/// One request. An `Err` closes the connection: there is nothing left that could be said.
async fn answer(
    accepted: Rc<Accepted>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let Some(call) = decode(request, &accepted.peer) else {
        let mut refused = Response::new(observe::empty());
        *refused.status_mut() = StatusCode::BAD_REQUEST;
        refused
            .headers_mut()
            .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        return Ok(refused);
    };
    let Reply {
        status,
        mut headers,
        body,
    } = Rc::clone(&accepted.dispatch).dispatch(call).await?;
    super::strip_hop_by_hop(&mut headers);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// `None` for what a proxy must not pass on: no host, two hosts, a tunnel, both length and chunks.
fn decode(request: Request<Incoming>, peer: &Peer) -> Option<Call> {
    let (head, body) = request.into_parts();
    let mut headers = head.headers;
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts
        .next()
        .and_then(|host| host.to_str().ok())
        .map(str::to_owned);
    if hosts.next().is_some()
        || head.method == Method::CONNECT
        || (headers.contains_key("content-length") && headers.contains_key("transfer-encoding"))
    {
        return None;
    }
    let authority = match head.uri.authority() {
        Some(authority)
            if host
                .as_deref()
                .is_none_or(|host| host == authority.as_str()) =>
        {
            authority.as_str().to_owned()
        }
        Some(_) => return None,
        None => host?,
    };
    headers.remove(HOST);
    super::strip_hop_by_hop(&mut headers);
    let uri = head
        .uri
        .into_parts()
        .path_and_query
        .map_or_else(|| Uri::from_static("/"), Uri::from);
    let body = Box::pin(Received {
        body,
        translate: caller_ended,
    });
    Some(Call::arrived(
        Protocol::Http1,
        peer.clone(),
        head.method,
        uri,
        authority,
        headers,
        body,
    ))
}

fn caller_ended(err: hyper::Error) -> Error {
    Error::new(Kind::Cancelled, "the caller did not finish its request").with_source(err)
}
