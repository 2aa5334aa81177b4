//! Connections to an application that speaks HTTP/1.1: one call at a time on each, kept for the next.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Received;
use crate::error::{Error, Kind};
use crate::http2::Credit;
use crate::stack::{Body, Call, Data, Reply};

/// Idle connections kept, at most.
const KEPT: usize = 64;

/// Connections that wait for a call.
#[derive(Debug, Default)]
pub(crate) struct Idle(RefCell<Vec<Sender>>);

/// A connection that can take one call.
#[derive(Debug)]
pub(crate) struct Sender(SendRequest<Outgoing>);

// === impl Idle ===

impl Idle {
    pub(crate) fn take(&self) -> Option<Sender> {
        let mut idle = self.0.borrow_mut();
        idle.retain(|sender| !sender.0.is_closed());
        let ready = idle.iter().rposition(|sender| sender.0.is_ready())?;
        Some(idle.swap_remove(ready))
    }

    fn give(&self, sender: Sender) {
        let mut idle = self.0.borrow_mut();
        if idle.len() < KEPT && !sender.0.is_closed() {
            idle.push(sender);
        }
    }
}

/// Opens HTTP/1.1 on `io`; the connection is driven by a task of `tasks` until it ends or `cut`.
pub(crate) async fn connect<IO>(
    io: IO,
    tasks: &TaskTracker,
    cut: CancellationToken,
) -> Result<Sender, hyper::Error>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(io)).await?;
    tasks.spawn_local(async move {
        tokio::select! {
            ended = connection => if let Err(err) = ended {
                tracing::debug!(error = %err, "connection to the application ended");
            },
            () = cut.cancelled() => {}
        }
    });
    Ok(Sender(sender))
}

/// A request's body as the library takes it. It asks for the next piece when it has room again: then the one before went onwards.
struct Outgoing {
    body: Body,
    credit: Option<Credit>,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.credit = None;
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            Ok(frame?.map_data(|data| {
                self.credit = Some(data.credit);
                data.bytes
            }))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What became of one attempt: the call comes back if it was not sent.
pub(crate) enum Sent {
    Answered(Reply),
    NotSent(Call),
}

/// One call. Dropping its future or its reply closes the connection, which is HTTP/1.1's only way to cancel.
pub(crate) async fn call(
    idle: &Rc<Idle>,
    mut sender: Sender,
    call: Call,
    cut: &CancellationToken,
) -> Result<Sent, Error> {
    let (request, kept) = encode(call)?;
    match sender.0.try_send_request(request).await {
        Ok(response) => {
            let (mut head, body) = response.into_parts();
            super::strip_hop_by_hop(&mut head.headers);
            let cut = cut.clone();
            let body = Received {
                body,
                translate: move |err| broken(err, &cut),
            };
            let body = Box::pin(Returning {
                body,
                sender: Some(sender),
                idle: Rc::clone(idle),
            });
            Ok(Sent::Answered(Reply {
                status: head.status,
                headers: head.headers,
                body,
            }))
        }
        Err(mut failed) => match failed.take_message() {
            Some(request) => Ok(Sent::NotSent(kept.restore(request))),
            None => Err(broken(failed.into_error(), cut)),
        },
    }
}

/// What a request leaves out of a call.
struct Kept(crate::stack::Parts);

impl Kept {
    fn restore(self, request: Request<Outgoing>) -> Call {
        let (head, body) = request.into_parts();
        let mut headers = head.headers;
        headers.remove(HOST);
        Call::new(crate::stack::Parts {
            headers,
            body: body.body,
            ..self.0
        })
    }
}

fn encode(call: Call) -> Result<(Request<Outgoing>, Kept), Error> {
    let mut parts = call.into_parts();
    let host = HeaderValue::from_str(&parts.authority).map_err(|_| {
        Error::unprocessed(
            Kind::Malformed,
            "the authority of the call is not a valid host",
        )
    })?;
    let body = std::mem::replace(&mut parts.body, crate::observe::empty());
    let mut request = Request::new(Outgoing { body, credit: None });
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = std::mem::take(&mut parts.headers);
    super::strip_hop_by_hop(request.headers_mut());
    request.headers_mut().insert(HOST, host);
    Ok((request, Kept(parts)))
}

fn broken(err: hyper::Error, cut: &CancellationToken) -> Error {
    if cut.is_cancelled() {
        return Error::new(
            Kind::Cut,
            "the sidecar had to end while the call was in progress",
        );
    }
    if err.is_parse() {
        return Error::new(Kind::Protocol, "the application broke HTTP/1.1").with_source(err);
    }
    if err.is_user() || err.is_body_write_aborted() {
        return Error::new(Kind::Cancelled, "the caller did not finish its request")
            .with_source(err);
    }
    Error::new(
        Kind::ConnectionLost,
        "the connection to the application ended",
    )
    .with_source(err)
}

/// A reply's body that gives its connection back at its end.
struct Returning<F> {
    body: Received<F>,
    sender: Option<Sender>,
    idle: Rc<Idle>,
}

impl<F: Fn(hyper::Error) -> Error + Unpin> http_body::Body for Returning<F> {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        let ended = match &frame {
            None => true,
            Some(Ok(_)) => this.body.is_end_stream(),
            Some(Err(_)) => {
                this.sender = None;
                false
            }
        };
        if ended && let Some(sender) = this.sender.take() {
            this.idle.give(sender);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<F> Drop for Returning<F> {
    fn drop(&mut self) {
        // A body without a byte is never polled.
        if let Some(sender) = self.sender.take()
            && Incoming::is_end_stream(&self.body.body)
        {
            self.idle.give(sender);
        }
    }
}
