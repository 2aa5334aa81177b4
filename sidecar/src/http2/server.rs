//! Connections others make to us: streams become calls, replies go back.
//!
//! Each stream is one task, which moves both directions. It ends early when the caller resets the stream or its connection ends: the
//! dispatch future or the reply is dropped, and with it everything below. `accept` is called until it says none is left, also while
//! leaving: calls opened before the peer saw GOAWAY are served.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::task::TaskTracker;

use super::body::Incoming;
use super::cork::{Turn, cork};
use super::forward::{Outgoing, Stop};
use super::limits;
use crate::config::Connection;
use crate::error::{Error, Kind};
use crate::grpc::is_grpc;
use crate::observe::trace;
use crate::stack::{Body, Call, Dispatch, Parts, Peer, Protocol, Reply};

/// What the streams of one connection share.
pub(crate) struct Accepted {
    pub(crate) dispatch: Rc<dyn Dispatch>,
    pub(crate) peer: Peer,
    pub(crate) limits: Connection,
    /// No call open for this long: the connection is closed.
    pub(crate) idle: Duration,
    /// The preface must have come by then.
    pub(crate) preface: Duration,
    /// A window may stay closed for this long while bytes wait.
    pub(crate) patience: Duration,
}

/// When a connection has to end.
pub(crate) struct Ending<L, C> {
    /// GOAWAY; calls in progress, and calls the peer opened before it saw it, are served.
    pub(crate) leave: L,
    /// The connection ends with everything on it.
    pub(crate) cut: C,
}

/// Serves one connection to its end.
pub(crate) async fn serve<IO, L, C>(
    io: IO,
    accepted: Rc<Accepted>,
    ending: Ending<L, C>,
    tasks: TaskTracker,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
    L: Future<Output = ()>,
    C: Future<Output = ()>,
{
    let (io, turn, _) = cork(io);
    let handshake = pin!(limits::server(&accepted.limits).handshake::<_, Bytes>(io));
    let connection = match tokio::time::timeout(accepted.preface, within(&turn, handshake)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(err)) => return tracing::debug!(error = %err, "http/2 preface refused"),
        Err(_) => return tracing::debug!("no http/2 preface in time"),
    };
    let open = Rc::new(Cell::new(0));
    let mut driver = Driver {
        connection,
        turn,
        accepted,
        open,
        idle: None,
        leaving: false,
        empty: "".into(),
        tasks,
    };
    let mut leave = pin!(ending.leave);
    let mut cut = pin!(ending.cut);
    std::future::poll_fn(|cx| {
        if !driver.leaving && leave.as_mut().poll(cx).is_ready() {
            driver.leave();
        }
        if cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        driver.poll(cx)
    })
    .await;
}

/// Polls `future`, which works on the corked half, and drains after each poll.
async fn within<IO, F, T>(turn: &Turn<IO>, mut future: Pin<&mut F>) -> Result<T, h2::Error>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<T, h2::Error>>,
{
    std::future::poll_fn(|cx| {
        turn.begin();
        let polled = future.as_mut().poll(cx);
        // A socket that fails here fails the next read too.
        let _: Poll<std::io::Result<()>> = turn.end(cx);
        polled
    })
    .await
}

struct Driver<IO> {
    connection: h2::server::Connection<super::cork::Cork<IO>, Bytes>,
    turn: Turn<IO>,
    accepted: Rc<Accepted>,
    open: Rc<Cell<usize>>,
    idle: Option<Pin<Box<Sleep>>>,
    leaving: bool,
    empty: Arc<str>,
    tasks: TaskTracker,
}

// === impl Driver ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    fn leave(&mut self) {
        self.leaving = true;
        self.connection.graceful_shutdown();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.turn.begin();
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.open(request, respond),
                Poll::Ready(Some(Err(err))) => {
                    tracing::debug!(error = %err, "http/2 connection ended");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(Err(err)) = self.turn.end(cx) {
            tracing::debug!(error = %err, "http/2 connection lost");
            return Poll::Ready(());
        }
        self.poll_idle(cx)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.open.get() > 0 || self.leaving {
            self.idle = None;
            return Poll::Pending;
        }
        let timer = self
            .idle
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(self.accepted.idle)));
        if timer.as_mut().poll(cx).is_ready() {
            self.leave();
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn open(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let accepted = Rc::clone(&self.accepted);
        if request.headers().len() > accepted.limits.header_count {
            refuse_headers(
                request.headers(),
                &mut respond,
                accepted.limits.header_count,
            );
            return;
        }
        self.open.set(self.open.get() + 1);
        let guard = Open(Rc::clone(&self.open));
        let call = decode(request, &accepted.peer, Arc::clone(&self.empty));
        self.tasks.spawn_local(async move {
            stream(&accepted, call, respond).await;
            drop(guard);
        });
    }
}

struct Open(Rc<Cell<usize>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// One call, from its head to the last byte of its reply.
async fn stream(accepted: &Accepted, call: Call, mut respond: SendResponse<Bytes>) {
    let mut dispatched = Rc::clone(&accepted.dispatch).dispatch(call);
    let reply = std::future::poll_fn(|cx| match respond.poll_reset(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => dispatched.as_mut().poll(cx).map(Some),
    })
    .await;
    match reply {
        // The caller went away: dropping `dispatched` ends whatever it still holds.
        None => {}
        Some(Err(err)) => respond.send_reset(Reason::from(
            err.reset.unwrap_or_else(|| Reason::INTERNAL_ERROR.into()),
        )),
        Some(Ok(reply)) => {
            drop(dispatched);
            answer(accepted, reply, respond).await;
        }
    }
}

async fn answer(accepted: &Accepted, reply: Reply, mut respond: SendResponse<Bytes>) {
    let Reply {
        status,
        headers,
        body,
    } = reply;
    let ended = body.is_end_stream();
    let mut head = Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = headers;
    let sink = match respond.send_response(head, ended) {
        Ok(sink) if !ended => sink,
        Ok(_) => return,
        Err(err) => {
            tracing::debug!(error = %err, "response head not sent");
            return respond.send_reset(Reason::INTERNAL_ERROR);
        }
    };
    pump(body, sink, accepted.patience).await;
}

async fn pump(body: Body, sink: SendStream<Bytes>, patience: Duration) {
    let mut outgoing = Outgoing::new(body, sink, patience);
    let stopped = std::future::poll_fn(|cx| match outgoing.poll(cx) {
        Poll::Pending if outgoing.poll_reset(cx).is_ready() => Poll::Ready(Err(Stop::Sink)),
        polled => polled,
    })
    .await;
    if let Err(Stop::Source(err)) = stopped {
        outgoing.reset(err.reset.unwrap_or_else(|| Reason::CANCEL.into()));
    }
}

fn decode(request: Request<RecvStream>, peer: &Peer, service: Arc<str>) -> Call {
    let (head, stream) = request.into_parts();
    let authority = match head.uri.authority() {
        Some(authority) => authority.as_str().to_owned(),
        None => head
            .headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
    };
    let uri = head
        .uri
        .into_parts()
        .path_and_query
        .map_or_else(|| Uri::from_static("/"), Uri::from);
    let protocol = if is_grpc(&head.headers) {
        Protocol::Grpc
    } else {
        Protocol::Http2
    };
    Call::new(Parts {
        method: head.method,
        uri,
        authority,
        headers: head.headers,
        body: Box::pin(Incoming::new(stream, caller_ended)),
        protocol,
        peer: peer.clone(),
        received: Instant::now(),
        service,
        promise: None,
        deadline: None,
        attempt: 1,
        trace: trace::Context::default(),
        facts: Rc::default(),
    })
}

/// The request stopped coming: the caller reset it, or is gone.
fn caller_ended(err: &h2::Error) -> Error {
    let mut error = Error::new(
        Kind::Cancelled,
        format!("the caller ended the request: {err}"),
    );
    error.reset = err
        .reason()
        .filter(|_| err.is_reset() && err.is_remote())
        .map(u32::from);
    error
}

fn refuse_headers(headers: &HeaderMap, respond: &mut SendResponse<Bytes>, limit: usize) {
    let mut head = Response::new(());
    if is_grpc(headers) {
        let fields = head.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert("grpc-status", HeaderValue::from_static("8"));
        fields.insert("x-outrigger-reason", HeaderValue::from_static("too_large"));
        if let Ok(message) = HeaderValue::try_from(format!(
            "more than {limit} header fields; limits.header_count"
        )) {
            fields.insert("grpc-message", message);
        }
    } else {
        *head.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    }
    // A stream that is gone needs no answer.
    let _: Result<_, h2::Error> = respond.send_response(head, true);
}
