//! Connections we make: calls become streams; how a stream ended becomes evidence.
//!
//! We count open calls ourselves and never exceed what the peer takes: beyond it they would queue, invisible to balancing. Dropping
//! a call's future or its reply resets its stream with CANCEL.

/// What owns the socket.
mod drive;

/// What a call gets back.
mod reply;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use drive::{Driver, PingTimes};

use super::body::Incoming;
use super::connection::{Connection as Streams, Full, Role};
use super::driver::{self, Over};
use super::forward::Outgoing;
use super::frame::Code;
use super::heads::Target;
use super::limits;
use super::mailbox::End;
use super::metrics::Metrics;
use super::streams::{Handle, Shared};
use crate::config::{Connection, Scope};
use crate::error::{Error, Kind, Processed};
use crate::grpc::is_grpc;
use crate::stack::{Body, Call, Parts, Reply};
use reply::{Download, Upload, poll_upload};

/// The handle of one connection: takes calls until it is closed.
pub(crate) struct Client {
    shared: Rc<Shared>,
    /// No further call may be opened; the connection ends when the last one did.
    is_closed: Cell<bool>,
    calls: Cell<usize>,
    /// Why the connection is over.
    ended: RefCell<Option<Ended>>,
    idle_since: Cell<Instant>,
    /// A head that waits may look whether it can be written.
    drained: Notify,
    scheme: Scheme,
    patience: Duration,
    metrics: Metrics,
    scope: Scope,
    /// With more calls open, answers whose receivers stopped could hold all that may wait, and everybody else would wait too.
    ample: usize,
}

/// How much of a connection a call may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    All,
    /// An eighth is left for callers that have been served before.
    OfTheUnknown,
}

/// Why a connection ended with calls on it.
#[derive(Debug)]
enum Ended {
    /// We had to end it.
    Cut,
    Broken(String),
    Lost(String),
}

/// What a connection is made with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) limits: Connection,
    pub(crate) scheme: Scheme,
    pub(crate) ping: Option<PingTimes>,
    pub(crate) patience: Duration,
    /// The peer's SETTINGS must have come by then.
    pub(crate) preface: Duration,
    /// A block of fields must have ended by then.
    pub(crate) header_block: Duration,
    pub(crate) metrics: Metrics,
}

#[cfg(any(test, feature = "fuzzing"))]
impl Setup {
    /// Of a mesh peer without pings, and times that a test does not wait for.
    pub(crate) fn of(limits: Connection) -> Self {
        Self {
            limits,
            scheme: Scheme::HTTPS,
            ping: None,
            patience: Duration::from_secs(60),
            preface: Duration::from_secs(5),
            header_block: Duration::from_secs(10),
            metrics: Metrics::default(),
        }
    }
}

/// Opens HTTP/2 on `io`. Nothing is sent before the driver is polled.
pub(crate) fn connect<IO>(io: IO, setup: &Setup) -> (Rc<Client>, Driver<IO>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let config = limits::config(&setup.limits);
    let most_held = setup.limits.connection_buffered;
    let inner = driver::Driver::new(
        io,
        Role::Client,
        config,
        most_held,
        setup.patience,
        &setup.metrics,
    );
    let now = Instant::now();
    let client = Rc::new(Client {
        shared: Rc::clone(inner.shared()),
        is_closed: Cell::new(false),
        calls: Cell::new(0),
        ended: RefCell::default(),
        idle_since: Cell::new(now),
        drained: Notify::new(),
        scheme: setup.scheme.clone(),
        patience: setup.patience,
        metrics: setup.metrics.clone(),
        scope: setup.limits.scope,
        ample: (most_held / setup.limits.stream_window).max(1) as usize,
    });
    let driver = Driver::new(inner, &client, setup, now);
    (client, driver)
}

// === impl Share ===

impl Share {
    pub(crate) fn of_caller(is_known: bool) -> Self {
        match is_known {
            true => Self::All,
            false => Self::OfTheUnknown,
        }
    }

    /// Of so many streams. A server that takes one at a time takes it from anybody.
    fn of(self, slots: usize) -> usize {
        match self {
            Self::All => slots,
            Self::OfTheUnknown => slots - slots / 8,
        }
    }
}

// === impl Client ===

impl Client {
    /// Bytes that came and were not forwarded.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held(&self) -> u32 {
        self.shared.with(Streams::held)
    }

    /// Whether a call can be opened now.
    pub(crate) fn has_slot(&self, share: Share) -> bool {
        self.takes_within(usize::MAX, share)
    }

    /// Whether it can, and neighbours that take nothing cannot hold it up.
    pub(crate) fn has_room(&self, share: Share) -> bool {
        self.takes_within(self.ample, share)
    }

    /// Whether hardly any of that room is taken.
    pub(crate) fn is_light(&self) -> bool {
        let is_light = |connection: &Streams| {
            8 * connection.open_streams() < connection.slots().min(self.ample)
        };
        !self.is_closed.get() && self.shared.with(is_light)
    }

    fn takes_within(&self, most: usize, share: Share) -> bool {
        let has_slot = |connection: &Streams| {
            connection.open_streams() < share.of(connection.slots().min(most))
        };
        !self.is_closed.get() && self.shared.with(has_slot)
    }

    /// Whether a head is written soon; else it would pile up behind others, where nobody counts it.
    pub(crate) fn takes_heads(&self) -> bool {
        self.is_closed.get() || self.shared.with(Streams::takes_data)
    }

    /// Waits until it is, or the connection is closed. One wakes the next.
    pub(crate) async fn until_takes_heads(&self) {
        while !self.takes_heads() {
            self.drained.notified().await;
        }
        self.drained.notify_one();
    }

    /// Whether the peer has said how many streams it takes.
    pub(crate) fn is_greeted(&self) -> bool {
        self.shared.with(Streams::has_settings)
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
        self.drained.notify_waiters();
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
        if self.shared.is_left() || is_worn() {
            self.is_closed.set(true);
        }
    }

    fn count_met(&self) {
        for limit in self.shared.take_met() {
            self.metrics.met_by_upstream(self.scope, limit);
        }
        if let Some((code, debug)) = self.shared.take_farewell() {
            self.metrics.left(code, debug);
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
            // It went silent, as one does that is gone.
            Over::Late(_) | Over::Deaf => {
                let text = over.to_string();
                let late = io::Error::new(io::ErrorKind::TimedOut, text.clone());
                (Some(Ended::Lost(text)), Err(late))
            }
            Over::Fault(_) => {
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
        // The end of a gRPC request is the flag of a DATA frame, be it an empty one ("EOS" in gRPC over HTTP/2): servers wait for it.
        let is_ended = parts.body.is_end_stream() && !is_grpc(&parts.headers);
        let stream = Rc::new(self.open(&parts, is_ended)?);
        // It is written: a call that waits long for its answer holds no head.
        drop((parts.headers, parts.authority, parts.uri, parts.room));
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
            // Nothing is left to be read.
            true => crate::observe::empty(),
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
            return Err(self.closed());
        }
        if !is_authority(&parts.authority) {
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

    fn closed(&self) -> Error {
        match &*self.ended.borrow() {
            Some(Ended::Broken(why) | Ended::Lost(why)) => Error::unsent(format!(
                "the connection to the peer ended before the call left: {why}"
            )),
            Some(Ended::Cut) | None => Error::unsent("the connection takes no further calls"),
        }
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
            End::Lost | End::Failed(..) | End::Crowding | End::Complete => self.broken(end),
        }
    }

    fn after_head(&self, end: End) -> Error {
        match end {
            End::Reset(code) => Error::reset(code.0, Processed::Maybe),
            _ => self.broken(end),
        }
    }

    fn broken(&self, end: End) -> Error {
        match end {
            End::Failed(_, why) => {
                return Error::new(Kind::Protocol, format!("the peer broke HTTP/2: {why}"));
            }
            // Nothing the peer has done: whoever should take it did not.
            End::Crowding => {
                let why = "the answer held most of what waits for its receivers; limits.connection_buffered, or the memory guard";
                return Error::new(Kind::Overloaded, why);
            }
            End::Complete | End::Reset(_) | End::Untaken | End::Lost => {}
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

/// Most authorities are a plain host and port, which needs no parser.
fn is_authority(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let (host, port) = text.split_once(':').unwrap_or((text, ""));
    let is_usual = !host.is_empty()
        && host.bytes().all(is_plain)
        && port.len() <= 5
        && port.bytes().all(|byte| byte.is_ascii_digit());
    is_usual || Authority::try_from(text).is_ok()
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
