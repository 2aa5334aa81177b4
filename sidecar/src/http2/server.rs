//! Connections others make to us: streams become calls, replies go back.
//!
//! Each stream is one task, which moves both directions. It ends early when the caller resets the stream or its connection ends: the
//! dispatch future or the reply is dropped, and with it everything below. `accept` is called until it says none is left, also while
//! leaving: calls opened before the peer saw GOAWAY are served.

/// How many calls begin at a time.
mod turn;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::body::Incoming;
use super::connection::{Connection as Streams, Role};
use super::driver::{Driver, Over};
use super::fields::Request;
use super::forward::{Outgoing, Stop};
use super::frame::Code;
use super::limits;
use super::mailbox::End;
use super::meter::Limit;
use super::metrics::Metrics;
use super::streams::{Arrived, Handle};
use crate::config::Connection;
use crate::connect::Line;
use crate::error::{Error, Kind};
use crate::grpc::is_grpc;
use crate::memory::Room;
use crate::observe::{Facts, trace};
use crate::outcome::judge::REASON;
use crate::stack::{Body, Call, Dispatch, Early, Parts, Peer, Protocol, Reply};
use turn::{Turn, Turns};

/// What the streams of one connection share.
pub(crate) struct Accepted {
    pub(crate) dispatch: Rc<dyn Dispatch>,
    pub(crate) peer: Peer,
    pub(crate) limits: Connection,
    /// No call open for this long: the connection is closed.
    pub(crate) idle: Duration,
    /// The preface must have come by then.
    pub(crate) preface: Duration,
    /// A block of fields must have ended by then.
    pub(crate) header_block: Duration,
    /// A window may stay closed for this long while bytes wait.
    pub(crate) patience: Duration,
    pub(crate) metrics: Metrics,
}

/// When a connection has to end.
pub(crate) struct Ending<L, C> {
    /// GOAWAY; calls in progress, and calls the peer opened before it saw it, are served.
    pub(crate) leave: L,
    /// The connection ends with everything on it.
    pub(crate) cut: C,
}

/// A connection on which so many calls got their answers is known: its streams get wider windows where the first ones were narrow, and
/// its calls may wait where those of others are too many.
const KNOWN: u32 = 10;

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
    let config = limits::config(&accepted.limits);
    let mut serving = Serving {
        driver: Driver::new(
            io,
            Role::Server,
            config,
            accepted.limits.connection_buffered,
            accepted.patience,
            &accepted.metrics,
        ),
        accepted,
        calls: Rc::default(),
        was: Waiting::Preface,
        since: Instant::now(),
        empty: "".into(),
        is_known: false,
        turns: Turns::default(),
        line: Line::default(),
        tasks,
    };
    let mut leave = pin!(ending.leave);
    let mut cut = pin!(ending.cut);
    let over = std::future::poll_fn(|cx| {
        if !serving.driver.is_leaving() && leave.as_mut().poll(cx).is_ready() {
            serving.driver.leave();
        }
        if cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        serving.poll(cx).map(Some)
    })
    .await;
    if let Some(over) = over {
        tracing::debug!(error = %over, "http/2 connection ended");
        // Its last words may take a second: room is for those who go on.
        serving.turns = Turns::default();
        serving.driver.begin_close(&over);
        serving.count_met();
        std::future::poll_fn(|cx| serving.driver.poll_close(cx)).await;
    }
}

struct Serving<IO> {
    driver: Driver<IO>,
    accepted: Rc<Accepted>,
    calls: Rc<Calls>,
    /// Since when the connection waits for what its timer is about.
    was: Waiting,
    since: Instant,
    empty: Arc<str>,
    is_known: bool,
    turns: Turns,
    line: Line,
    tasks: TaskTracker,
}

/// Calls of one connection.
#[derive(Debug, Default)]
struct Calls {
    open: Cell<usize>,
    answered: Cell<u32>,
}

/// What a connection waits for, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// Preface and SETTINGS.
    Preface,
    /// The end of a block of fields.
    HeaderBlock,
    /// A call.
    Call,
    Nothing,
}

// === impl Serving ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Serving<IO> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let is_tight = self.accepted.metrics.headers().is_tight();
        let mut turn = self.turns.poll(self.is_known, is_tight, cx);
        let requests = match &turn {
            Poll::Ready(turn) => turn.requests(),
            Poll::Pending => 0,
        };
        if let Poll::Ready(over) = self.driver.poll_read(requests, cx) {
            return Poll::Ready(over);
        }
        if let Poll::Ready(turn) = &mut turn {
            self.open_arrived(turn);
        }
        // Room that it did not need is another's.
        drop(turn);
        self.adapt();
        if let Poll::Ready(over) = self.poll_time(cx) {
            return Poll::Ready(over);
        }
        if self.driver.poll_leaving(cx).is_ready() {
            return Poll::Ready(Over::Closed);
        }
        if let Poll::Ready(over) = self.driver.poll_write(cx) {
            return Poll::Ready(over);
        }
        self.driver.shared().end_turn();
        Poll::Pending
    }

    /// What the connection has shown so far changes what it gets.
    fn adapt(&mut self) {
        let limits = &self.accepted.limits;
        self.count_met();
        if !self.is_known && self.calls.answered.get() >= KNOWN {
            self.is_known = true;
            let wide = limits.known_stream_window;
            if wide > limits.stream_window {
                self.driver
                    .shared()
                    .act(|connection| connection.widen_streams(wide));
            }
        }
        let resets = self.driver.shared().with(Streams::library_resets);
        if let Some(most) = limits.drains_at() {
            if resets >= most {
                self.driver.leave();
            }
            if resets >= most.saturating_mul(2) {
                self.driver.leave_unanswered();
            }
        }
    }

    fn count_met(&self) {
        let accepted = &self.accepted;
        for limit in self.driver.shared().take_met() {
            let scope = accepted.limits.scope;
            accepted.metrics.met(scope, limit, &accepted.peer);
        }
    }

    fn waiting(&self) -> (Waiting, Duration) {
        let accepted = &self.accepted;
        self.driver.shared().with(|connection| {
            if !connection.has_settings() {
                (Waiting::Preface, accepted.preface)
            } else if connection.is_in_block() {
                (Waiting::HeaderBlock, accepted.header_block)
            } else if self.calls.open.get() == 0 && !self.driver.is_leaving() {
                (Waiting::Call, accepted.idle)
            } else {
                (Waiting::Nothing, Duration::MAX)
            }
        })
    }

    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let (waiting, patience) = self.waiting();
        if waiting != self.was {
            self.was = waiting;
            self.since = Instant::now();
        }
        if waiting == Waiting::Nothing {
            return Poll::Pending;
        }
        std::task::ready!(self.driver.alarm.poll(self.since + patience, cx));
        self.driver.alarm.clear();
        match waiting {
            Waiting::Preface => return Poll::Ready(Over::Late(Limit::Preface)),
            Waiting::HeaderBlock => return Poll::Ready(Over::Late(Limit::HeaderBlock)),
            Waiting::Call => {
                self.driver.shared().met(Limit::ConnectionIdle);
                self.driver.leave();
            }
            Waiting::Nothing => {}
        }
        Poll::Pending
    }

    /// Those that the peer takes back in what was read already never begin.
    fn open_arrived(&mut self, turn: &mut Turn) {
        let arrived = self.driver.shared().take_arrived();
        if arrived.is_empty() {
            return;
        }
        let taken_back = self.driver.taken_back();
        for arrived in arrived {
            match taken_back.contains(&arrived.stream.id()) {
                true => arrived.stream.leave_to_peer(),
                false => self.open(arrived, turn),
            }
        }
    }

    fn open(&mut self, arrived: Arrived, turn: &mut Turn) {
        let Arrived { stream, request } = arrived;
        let accepted = Rc::clone(&self.accepted);
        let request = match request {
            Ok(request) => request,
            Err(is_grpc) => return refuse_headers(is_grpc, &stream, &accepted.limits),
        };
        let (guard, waits) = (Open::new(&self.calls), turn.waits());
        let stream = Rc::new(stream);
        let facts = Facts {
            is_known: self.is_known,
            line: (!self.is_known).then(|| self.line.clone()),
            ..Facts::default()
        };
        let call = decode(request, &stream, &accepted, Arc::clone(&self.empty), facts);
        self.tasks.spawn_local(async move {
            drop(waits);
            if serve_stream(&accepted, call, stream).await {
                guard.answered();
            }
        });
    }
}

struct Open(Rc<Calls>);

impl Open {
    fn new(calls: &Rc<Calls>) -> Self {
        calls.open.set(calls.open.get() + 1);
        Self(Rc::clone(calls))
    }

    fn answered(&self) {
        let answered = &self.0.answered;
        answered.set(answered.get().saturating_add(1));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// One call, from its head to the last byte of its reply; whether that was sent whole. An error of ours is no service: whoever asked for
/// too much would be known by it.
async fn serve_stream(accepted: &Accepted, call: Call, stream: Rc<Handle>) -> bool {
    let mut dispatched = Rc::clone(&accepted.dispatch).dispatch(call);
    let reply = std::future::poll_fn(|cx| match stream.mailbox().poll_broken(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => dispatched.as_mut().poll(cx).map(Some),
    })
    .await;
    match reply {
        // The caller went away: dropping `dispatched` ends whatever it still holds.
        None => false,
        Some(Err(err)) => {
            stream.reset(err.reset.map_or(Code::INTERNAL_ERROR, Code));
            false
        }
        Some(Ok(reply)) => {
            drop(dispatched);
            let is_answer = !reply.headers.contains_key(REASON);
            answer(accepted, reply, stream).await && is_answer
        }
    }
}

async fn answer(accepted: &Accepted, reply: Reply, stream: Rc<Handle>) -> bool {
    let Reply {
        status,
        headers,
        body,
    } = reply;
    let ended = body.is_end_stream();
    match stream.send_head(status, &headers, ended) {
        Ok(()) if ended => true,
        Ok(()) => pump(body, stream, accepted.patience).await,
        Err(err) => {
            tracing::debug!(error = %err, "response head not sent");
            false
        }
    }
}

async fn pump(body: Body, stream: Rc<Handle>, patience: Duration) -> bool {
    let mut outgoing = Outgoing::new(body, stream, patience);
    let stopped = std::future::poll_fn(|cx| match outgoing.poll(cx) {
        Poll::Pending if outgoing.poll_broken(cx).is_ready() => Poll::Ready(Err(Stop::Sink)),
        polled => polled,
    })
    .await;
    if let Err(Stop::Source(err)) = &stopped {
        outgoing.reset(err.reset.unwrap_or(Code::CANCEL.0));
    }
    stopped.is_ok()
}

fn decode(
    mut request: Request,
    stream: &Rc<Handle>,
    accepted: &Accepted,
    service: Arc<str>,
    facts: Facts,
) -> Call {
    let protocol = if is_grpc(&request.headers) {
        Protocol::Grpc
    } else {
        Protocol::Http2
    };
    // Asked for at once: all heads of a read are there before the first of their calls runs.
    let authority = request.authority.as_ref().map_or(0, String::len);
    let beside = authority + request.path.as_str().len();
    let room = Room::ask(
        accepted.metrics.headers(),
        &request.headers,
        beside,
        facts.is_known,
    );
    if matches!(room, Room::Refused) {
        request.headers = HeaderMap::new();
        request.authority = None;
    }
    Call::new(Parts {
        method: request.method,
        uri: Uri::from(request.path),
        authority: request.authority.unwrap_or_default(),
        headers: request.headers.into(),
        body: Box::pin(Incoming::new(Rc::clone(stream), caller_ended)),
        protocol,
        peer: accepted.peer.clone(),
        received: Instant::now(),
        service,
        promise: None,
        deadline: None,
        attempt: 1,
        trace: trace::Context::default(),
        facts: Rc::new(facts),
        early: early(Rc::clone(stream)),
        room,
    })
}

/// A head that can no longer be sent is none the caller waits for.
fn early(stream: Rc<Handle>) -> Early {
    Early::new(move |status, headers| {
        if let Err(err) = stream.send_head(status, headers, false) {
            tracing::debug!(error = %err, status = status.as_u16(), "1xx head not sent");
        }
    })
}

/// The request stopped coming: the caller reset it, or is gone.
fn caller_ended(_: &Handle, end: End) -> Error {
    let mut error = Error::new(
        Kind::Cancelled,
        format!("the caller ended the request: {end:?}"),
    );
    if let End::Reset(code) = end {
        error.reset = Some(code.0);
    }
    error
}

fn refuse_headers(is_grpc: bool, stream: &Handle, limits: &Connection) {
    let mut fields = HeaderMap::new();
    let mut status = StatusCode::OK;
    if is_grpc {
        let message = format!(
            "more than {} header fields or {} bytes of them; limits.header_count, limits.header_list",
            limits.header_count, limits.header_list
        );
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert("grpc-status", HeaderValue::from_static("8"));
        fields.insert(REASON, HeaderValue::from_static("too_large"));
        if let Ok(message) = HeaderValue::try_from(message) {
            fields.insert("grpc-message", message);
        }
    } else {
        status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    }
    if let Err(err) = stream.send_head(status, &fields, true) {
        tracing::debug!(error = %err, "the stream was gone before its head could be refused");
    }
}
