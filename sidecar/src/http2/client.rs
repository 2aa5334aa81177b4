//! Connections we make: calls become streams; how a stream ended becomes evidence.
//!
//! We count open calls ourselves and never exceed what the peer takes: beyond it the library would queue, invisible to balancing. Dropping
//! a call's future or its reply resets its stream with CANCEL.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::body::Incoming;
use super::connection::{Connection as Streams, Full, Role};
use super::driver::{self, Alarm, Over};
use super::forward::{Outgoing, Stop};
use super::frame::Code;
use super::heads::Target;
use super::limits;
use super::mailbox::End;
use super::metrics::Metrics;
use super::streams::{Handle, Shared};
use crate::config::{Connection, Scope};
use crate::error::{Error, Kind, Processed};
use crate::stack::{Body, Call, Data, Parts, Reply};

/// The handle of one connection: takes calls until it is closed.
pub(crate) struct Client {
    shared: Rc<Shared>,
    /// No further call may be opened; the connection ends when the last one did.
    is_closed: Cell<bool>,
    calls: Cell<usize>,
    /// Why the connection is over.
    ended: RefCell<Option<Ended>>,
    idle_since: Cell<Instant>,
    scheme: Scheme,
    patience: Duration,
    metrics: Metrics,
    scope: Scope,
}

/// Why a connection ended with calls on it.
#[derive(Debug)]
enum Ended {
    /// We had to end it.
    Cut,
    Broken(String),
    Lost(String),
}

/// Drives the connection; owned by a task. Ends when the connection did.
pub(crate) struct Driver<IO> {
    inner: driver::Driver<IO>,
    client: Rc<Client>,
    liveness: Option<Liveness>,
    drains_at: Option<u32>,
    /// How it ended, while it closes.
    result: Option<io::Result<()>>,
}

/// Pings while calls are open or not, and the patience for their answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PingTimes {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

struct Liveness {
    times: PingTimes,
    alarm: Alarm,
    /// When the next ping goes out, or its answer has to be there.
    due: Instant,
    is_asked: bool,
}

/// What a connection is made with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) limits: Connection,
    pub(crate) scheme: Scheme,
    pub(crate) ping: Option<PingTimes>,
    pub(crate) patience: Duration,
    pub(crate) metrics: Metrics,
}

/// Opens HTTP/2 on `io`. Nothing is sent before the driver is polled.
pub(crate) fn connect<IO>(io: IO, setup: &Setup) -> (Rc<Client>, Driver<IO>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let config = limits::config(&setup.limits);
    let inner = driver::Driver::new(io, Role::Client, config, setup.limits.connection_buffered);
    let now = Instant::now();
    let client = Rc::new(Client {
        shared: Rc::clone(inner.shared()),
        is_closed: Cell::new(false),
        calls: Cell::new(0),
        ended: RefCell::default(),
        idle_since: Cell::new(now),
        scheme: setup.scheme.clone(),
        patience: setup.patience,
        metrics: setup.metrics.clone(),
        scope: setup.limits.scope,
    });
    let driver = Driver {
        inner,
        client: Rc::clone(&client),
        liveness: setup.ping.map(|times| Liveness {
            times,
            alarm: Alarm::default(),
            due: now + times.interval,
            is_asked: false,
        }),
        drains_at: setup.limits.drains_at(),
        result: None,
    };
    (client, driver)
}

// === impl Driver ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    /// Ready with `Ok` when the connection closed in order, with the cause when it did not.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.result.is_none() {
            let over = ready!(self.poll_open(cx));
            self.result = Some(self.client.over(&over));
            self.inner.begin_close(&over);
            self.client.count_met();
        }
        ready!(self.inner.poll_close(cx));
        Poll::Ready(self.result.take().unwrap_or(Ok(())))
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        if let Poll::Ready(over) = self.inner.poll_read(cx) {
            return Poll::Ready(over);
        }
        self.client.observe(self.drains_at);
        if let Some(liveness) = &mut self.liveness
            && let Poll::Ready(over) = liveness.poll(&self.client.shared, cx)
        {
            return Poll::Ready(over);
        }
        if self.client.is_done() {
            self.client
                .shared
                .act(|connection| connection.go_away(Code::NO_ERROR, ""));
            return Poll::Ready(Over::Closed);
        }
        if let Poll::Ready(over) = self.inner.poll_write(cx) {
            return Poll::Ready(over);
        }
        self.client.shared.end_turn();
        Poll::Pending
    }

    /// Whether the peer has sent anything: it accepted our certificate and speaks HTTP/2.
    pub(crate) fn heard(&self) -> bool {
        self.inner.has_read()
    }
}

impl<IO> Drop for Driver<IO> {
    fn drop(&mut self) {
        self.client.close();
    }
}

// === impl Liveness ===

impl Liveness {
    fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<Over> {
        if self.is_asked && shared.take_pong().is_some() {
            self.is_asked = false;
            self.due = Instant::now() + self.times.interval;
        }
        while self.alarm.poll(self.due, cx).is_ready() {
            self.alarm.clear();
            if self.is_asked {
                let late = io::Error::new(io::ErrorKind::TimedOut, "the peer answers no pings");
                return Poll::Ready(Over::Io(late));
            }
            shared.act(|connection| connection.ping(*b"liveness"));
            self.is_asked = true;
            self.due = Instant::now() + self.times.timeout;
        }
        Poll::Pending
    }
}

// === impl Client ===

impl Client {
    /// Whether a call can be opened now.
    pub(crate) fn has_room(&self) -> bool {
        let has_slot = |connection: &Streams| connection.open_streams() < connection.slots();
        !self.is_closed.get() && self.shared.with(has_slot)
    }

    /// Whether no further call will be taken, ever.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    pub(crate) fn open_calls(&self) -> usize {
        self.calls.get()
    }

    /// Since when nothing is open, if so.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.calls.get() == 0).then(|| self.idle_since.get())
    }

    /// Takes no further call; those in progress end as they do, then the connection closes.
    pub(crate) fn close(&self) {
        if !self.is_closed.replace(true) {
            self.shared.wake_driver();
        }
    }

    /// What breaks off from now on was cut by us: the connection had to end.
    pub(crate) fn cut(&self) {
        self.ended.borrow_mut().get_or_insert(Ended::Cut);
        self.close();
    }

    /// After a turn: the peer may want no further calls, or the connection may be worn out.
    fn observe(&self, drains_at: Option<u32>) {
        self.count_met();
        let is_worn = || {
            let resets = self.shared.with(Streams::library_resets);
            drains_at.is_some_and(|most| resets >= most)
        };
        if self.shared.farewell().is_some() || is_worn() {
            self.is_closed.set(true);
        }
    }

    fn count_met(&self) {
        for limit in self.shared.take_met() {
            self.metrics.hit(self.scope, limit, &"an upstream");
        }
    }

    fn is_done(&self) -> bool {
        self.is_closed.get()
            && self.calls.get() == 0
            && self.shared.with(Streams::open_streams) == 0
    }

    fn over(&self, over: &Over) -> io::Result<()> {
        let (ended, result) = match over {
            Over::Closed => (None, Ok(())),
            Over::Io(err) => {
                let same = io::Error::new(err.kind(), err.to_string());
                (Some(Ended::Lost(err.to_string())), Err(same))
            }
            Over::Fault(_) | Over::Late(_) => {
                let text = over.to_string();
                (
                    Some(Ended::Broken(text.clone())),
                    Err(io::Error::other(text)),
                )
            }
        };
        if let Some(ended) = ended {
            self.ended.borrow_mut().get_or_insert(ended);
        }
        self.is_closed.set(true);
        result
    }

    /// One call on one stream. Before the head has come back a drop resets the stream with CANCEL; afterwards the reply's body owns it.
    pub(crate) async fn call(self: &Rc<Self>, call: Call) -> Result<Reply, Error> {
        let slot = Slot::take(self);
        let parts = call.into_parts();
        let is_ended = parts.body.is_end_stream();
        let stream = Rc::new(self.open(&parts, is_ended)?);
        let mut upload =
            (!is_ended).then(|| Outgoing::new(parts.body, Rc::clone(&stream), self.patience));
        let head = poll_fn(|cx| {
            poll_upload(&mut upload, cx)?;
            while let Some(early) = stream.mailbox().take_early() {
                parts.early.tell(early.status, &early.headers);
            }
            let head = stream.mailbox().poll_head(cx);
            head.map_err(|end| self.before_head(&stream, end))
        })
        .await?;
        let client = Rc::clone(self);
        let incoming = Incoming::new(stream, move |_: &Handle, end| client.after_head(end));
        let body: Body = match http_body::Body::is_end_stream(&incoming) {
            true => drained(slot),
            false => Box::pin(Download {
                incoming,
                upload: upload.map(Upload::spawn),
                slot: Some(slot),
            }),
        };
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    fn open(self: &Rc<Self>, parts: &Parts, is_ended: bool) -> Result<Handle, Error> {
        if self.is_closed.get() {
            return Err(Error::unsent("the connection takes no further calls"));
        }
        if Authority::try_from(parts.authority.as_str()).is_err() {
            return Err(Error::unprocessed(
                Kind::Malformed,
                "the authority of the call is not a valid host",
            ));
        }
        let target = Target {
            method: &parts.method,
            scheme: self.scheme.as_str(),
            authority: &parts.authority,
            path: parts.uri.path_and_query().map_or("/", |path| path.as_str()),
        };
        let opened = self
            .shared
            .open(target, &parts.headers, is_ended, Instant::now());
        opened.map_err(|full| {
            if full == Full::Ids {
                self.close();
            }
            Error::unsent(full.to_string())
        })
    }

    fn before_head(&self, stream: &Handle, end: End) -> Error {
        match end {
            End::Reset(code) => {
                let processed = match code == Code::REFUSED_STREAM {
                    true => Processed::No,
                    false => Processed::Maybe,
                };
                Error::reset(code.0, processed)
            }
            End::Untaken => Error::unprocessed(
                Kind::Refused,
                "the peer is closing the connection and did not take the call",
            ),
            End::Lost if stream.is_unsent() => {
                Error::unsent("the connection ended before the call left")
            }
            End::Lost | End::Failed(..) | End::Complete => self.broken(end),
        }
    }

    fn after_head(&self, end: End) -> Error {
        match end {
            End::Reset(code) => Error::reset(code.0, Processed::Maybe),
            _ => self.broken(end),
        }
    }

    fn broken(&self, end: End) -> Error {
        if let End::Failed(_, why) = end {
            return Error::new(Kind::Protocol, format!("the peer broke HTTP/2: {why}"));
        }
        match &*self.ended.borrow() {
            Some(Ended::Cut) => Error::new(
                Kind::Cut,
                "the connection had to end while the call was in progress",
            ),
            Some(Ended::Broken(why)) => Error::new(Kind::Protocol, why.clone()),
            Some(Ended::Lost(why)) => Error::new(
                Kind::ConnectionLost,
                format!("the connection to the peer ended: {why}"),
            ),
            None => Error::new(Kind::ConnectionLost, "the connection to the peer ended"),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("calls", &self.calls)
            .field("is_closed", &self.is_closed)
            .finish_non_exhaustive()
    }
}

/// The reply ended with its head: nothing is left to be read, so the stream is let go.
fn drained(slot: Slot) -> Body {
    drop(slot);
    Box::pin(Nothing)
}

/// No frame at all.
struct Nothing;

impl http_body::Body for Nothing {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// Sends what can be sent. A sink that takes no more is no error here: the receiving half says how the call ended.
fn poll_upload(upload: &mut Option<Outgoing>, cx: &mut Context<'_>) -> Result<(), Error> {
    let Some(outgoing) = upload else {
        return Ok(());
    };
    match outgoing.poll(cx) {
        Poll::Pending => {}
        Poll::Ready(Ok(()) | Err(Stop::Sink)) => *upload = None,
        Poll::Ready(Err(Stop::Source(err))) => {
            outgoing.reset(err.reset.unwrap_or(Code::CANCEL.0));
            *upload = None;
            return Err(err);
        }
    }
    Ok(())
}

/// What is left of a request once its response has begun: a task of its own, so that a caller who reads slowly does not stop what he
/// sends. It ends with the response's body.
struct Upload(JoinHandle<Result<(), Error>>);

// === impl Upload ===

impl Upload {
    fn spawn(outgoing: Outgoing) -> Self {
        let mut upload = Some(outgoing);
        Self(tokio::task::spawn_local(poll_fn(move |cx| {
            poll_upload(&mut upload, cx)?;
            match upload {
                Some(_) => Poll::Pending,
                None => Poll::Ready(Ok(())),
            }
        })))
    }

    /// Ready once nothing is left; an error is the call's.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // It does not panic, and only its owner aborts it.
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|joined| joined.unwrap_or(Ok(())))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A call counted as open on its connection.
struct Slot(Rc<Client>);

// === impl Slot ===

impl Slot {
    fn take(client: &Rc<Client>) -> Self {
        client.calls.set(client.calls.get() + 1);
        Self(Rc::clone(client))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let calls = self.0.calls.get() - 1;
        self.0.calls.set(calls);
        if calls == 0 {
            self.0.idle_since.set(Instant::now());
            if self.0.is_closed.get() {
                self.0.shared.wake_driver();
            }
        }
    }
}

/// A reply's body; polling it sends what is left of the request.
struct Download<F> {
    incoming: Incoming<F>,
    upload: Option<Upload>,
    slot: Option<Slot>,
}

impl<F: Fn(&Handle, End) -> Error + Unpin> http_body::Body for Download<F> {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = self.get_mut();
        if let Some(upload) = &mut this.upload
            && let Poll::Ready(sent) = upload.poll(cx)
        {
            this.upload = None;
            if let Err(err) = sent {
                return Poll::Ready(Some(Err(err)));
            }
        }
        let polled = Pin::new(&mut this.incoming).poll_frame(cx);
        let is_over = matches!(polled, Poll::Ready(None | Some(Err(_))))
            || (polled.is_ready() && http_body::Body::is_end_stream(&this.incoming));
        if is_over {
            // The answer is complete, so the rest of the request is not wanted.
            this.upload = None;
            this.slot = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.incoming)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.incoming)
    }
}
