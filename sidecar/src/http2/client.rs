//! Connections we make: calls become streams; how a stream ended becomes evidence.
//!
//! We count open calls ourselves and never exceed what the peer takes: beyond it the library would queue, invisible to balancing. Dropping
//! a call's future or its reply resets its stream with CANCEL.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, PingPong, Reason};
use http::uri::{Authority, Parts as UriParts, Scheme};
use http::{Request, Uri};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::body::Incoming;
use super::cork::{Cork, Passed, Turn, cork};
use super::forward::{Outgoing, Stop};
use super::limits;
use crate::config::Connection;
use crate::error::{Error, Kind, Processed};
use crate::stack::{Body, Call, Data, Reply};

/// The handle of one connection: takes calls until it is closed.
pub(crate) struct Client {
    /// `None` once no further call may be opened; the library then closes when the last one ended.
    sender: RefCell<Option<SendRequest<Bytes>>>,
    open: Cell<usize>,
    /// What the peer takes, as it last said, bounded by our own limit.
    slots: Cell<usize>,
    /// The connection was ended on purpose with calls on it.
    cut: Cell<bool>,
    idle_since: Cell<Instant>,
    passed: Rc<Passed>,
    scheme: Scheme,
    patience: Duration,
}

/// Drives the connection; owned by a task. Ends when the connection did.
pub(crate) struct Driver<IO> {
    connection: h2::client::Connection<Cork<IO>, Bytes>,
    turn: Turn<IO>,
    client: Rc<Client>,
    most: usize,
    liveness: Option<Liveness>,
}

/// Pings while calls are open or not, and the patience for their answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PingTimes {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

struct Liveness {
    ping: PingPong,
    times: PingTimes,
    timer: Pin<Box<Sleep>>,
    sent: Option<Instant>,
}

/// What a connection is made with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) limits: Connection,
    pub(crate) scheme: Scheme,
    pub(crate) ping: Option<PingTimes>,
    pub(crate) patience: Duration,
}

/// Opens HTTP/2 on `io`. Nothing is sent before the driver is polled.
pub(crate) async fn connect<IO>(
    io: IO,
    setup: &Setup,
) -> Result<(Rc<Client>, Driver<IO>), h2::Error>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (io, turn, passed) = cork(io);
    let (sender, mut connection) = limits::client(&setup.limits).handshake(io).await?;
    let liveness = match (setup.ping, connection.ping_pong()) {
        (Some(times), Some(ping)) => Some(Liveness {
            ping,
            times,
            timer: Box::pin(tokio::time::sleep(times.interval)),
            sent: None,
        }),
        _ => None,
    };
    let most = setup.limits.max_concurrent_streams as usize;
    let client = Rc::new(Client {
        sender: RefCell::new(Some(sender)),
        open: Cell::new(0),
        slots: Cell::new(limits::BEFORE_SETTINGS.min(most)),
        cut: Cell::new(false),
        idle_since: Cell::new(Instant::now()),
        passed,
        scheme: setup.scheme.clone(),
        patience: setup.patience,
    });
    Ok((
        Rc::clone(&client),
        Driver {
            connection,
            turn,
            client,
            most,
            liveness,
        },
    ))
}

// === impl Driver ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    /// Ready with `Ok` when the connection closed in order, with the cause when it did not.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.turn.begin();
        let polled = Pin::new(&mut self.connection).poll(cx);
        let drained = self.turn.end(cx);
        self.client.observe(
            cx,
            self.connection.max_concurrent_send_streams().min(self.most),
        );
        match (polled, drained) {
            (Poll::Ready(Ok(())), _) => Poll::Ready(Ok(())),
            (Poll::Ready(Err(err)), _) => Poll::Ready(Err(into_io(err))),
            (Poll::Pending, Poll::Ready(Err(err))) => Poll::Ready(Err(err)),
            (Poll::Pending, _) => match &mut self.liveness {
                Some(liveness) => liveness.poll(cx),
                None => Poll::Pending,
            },
        }
    }

    /// Whether the peer has sent anything: it accepted our certificate and speaks HTTP/2.
    pub(crate) fn heard(&self) -> bool {
        self.client.passed.read.get() > 0
    }
}

impl<IO> Drop for Driver<IO> {
    fn drop(&mut self) {
        self.client.close();
    }
}

fn into_io(err: h2::Error) -> io::Error {
    if err.is_io() {
        err.into_io()
            .unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
    } else {
        io::Error::other(err)
    }
}

// === impl Liveness ===

impl Liveness {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(sent) = self.sent {
            match self.ping.poll_pong(cx) {
                Poll::Ready(Ok(_)) => {
                    self.sent = None;
                    self.timer.as_mut().reset(sent + self.times.interval);
                }
                Poll::Ready(Err(err)) => return Poll::Ready(Err(into_io(err))),
                Poll::Pending => {}
            }
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.sent.is_some() {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the peer answers no pings",
                )));
            }
            if self.ping.send_ping(Ping::opaque()).is_ok() {
                self.sent = Some(now);
                // Registers for the answer.
                let _: Poll<Result<h2::Pong, h2::Error>> = self.ping.poll_pong(cx);
            }
            self.timer.as_mut().reset(
                now + if self.sent.is_some() {
                    self.times.timeout
                } else {
                    self.times.interval
                },
            );
        }
        Poll::Pending
    }
}

// === impl Client ===

impl Client {
    /// Whether a call can be opened now.
    pub(crate) fn has_room(&self) -> bool {
        self.sender.borrow().is_some() && self.open.get() < self.slots.get()
    }

    /// Whether no further call will be taken, ever.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.borrow().is_none()
    }

    pub(crate) fn open_calls(&self) -> usize {
        self.open.get()
    }

    /// Since when nothing is open, if so.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.open.get() == 0).then(|| self.idle_since.get())
    }

    /// Takes no further call; those in progress end as they do, then the connection closes.
    pub(crate) fn close(&self) {
        self.sender.borrow_mut().take();
    }

    /// What breaks off from now on was cut by us: the connection had to end.
    pub(crate) fn cut(&self) {
        self.cut.set(true);
        self.close();
    }

    /// After a turn: learns the peer's limit, and that it wants no further calls.
    fn observe(&self, cx: &mut Context<'_>, slots: usize) {
        self.slots.set(slots);
        let mut sender = self.sender.borrow_mut();
        if let Some(open) = sender.as_mut()
            && matches!(open.poll_ready(cx), Poll::Ready(Err(_)))
        {
            sender.take();
        }
    }

    /// One call on one stream. Before the head has come back a drop resets the stream with CANCEL; afterwards the reply's body owns it.
    pub(crate) async fn call(self: &Rc<Self>, call: Call) -> Result<Reply, Error> {
        let slot = Slot::take(self);
        let parts = call.into_parts();
        let mut head = Request::new(());
        *head.uri_mut() = self.target(&parts.uri, parts.authority)?;
        *head.method_mut() = parts.method;
        *head.headers_mut() = parts.headers;
        let ended = parts.body.is_end_stream();
        let before = self.passed.written.get();
        let sent = match self.sender.borrow_mut().as_mut() {
            Some(sender) => sender.send_request(head, ended),
            None => return Err(Error::unsent("the connection takes no further calls")),
        };
        let (response, sink) = sent.map_err(|err| refused_here(&err))?;
        let mut upload = (!ended).then(|| Outgoing::new(parts.body, sink, self.patience));
        let evidence = Evidence {
            client: Rc::clone(self),
            before,
        };
        let mut response = pin!(response);
        let head = std::future::poll_fn(|cx| {
            poll_upload(&mut upload, cx)?;
            response
                .as_mut()
                .poll(cx)
                .map_err(|err| evidence.before_head(&err))
        })
        .await?;
        let (head, stream) = head.into_parts();
        let stream = Incoming::new(stream, move |err: &h2::Error| evidence.after_head(err));
        let body = if http_body::Body::is_end_stream(&stream) {
            drained(slot)
        } else {
            Box::pin(Download {
                stream,
                upload,
                slot: Some(slot),
            })
        };
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    fn target(&self, uri: &Uri, authority: String) -> Result<Uri, Error> {
        let malformed = || {
            Error::unprocessed(
                Kind::Malformed,
                "the authority of the call is not a valid host",
            )
        };
        let mut parts = UriParts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority =
            Some(Authority::from_maybe_shared(Bytes::from(authority)).map_err(|_| malformed())?);
        parts.path_and_query = uri.path_and_query().cloned();
        Uri::from_parts(parts).map_err(|_| malformed())
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("open", &self.open)
            .field("slots", &self.slots)
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

fn refused_here(err: &h2::Error) -> Error {
    if err.is_io() || err.is_go_away() || err.is_reset() {
        return Error::unsent(format!("the connection took no call: {err}"));
    }
    Error::unprocessed(
        Kind::Malformed,
        format!("the call cannot be sent over HTTP/2: {err}"),
    )
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
            outgoing.reset(err.reset.unwrap_or_else(|| Reason::CANCEL.into()));
            *upload = None;
            return Err(err);
        }
    }
    Ok(())
}

/// What can be proved when a stream ends early.
struct Evidence {
    client: Rc<Client>,
    /// Bytes the connection had sent when the call was queued.
    before: u64,
}

// === impl Evidence ===

impl Evidence {
    fn before_head(&self, err: &h2::Error) -> Error {
        if err.is_reset() && err.is_remote() {
            let code = err.reason().map_or(2, u32::from);
            let processed = if err.reason() == Some(Reason::REFUSED_STREAM) {
                Processed::No
            } else {
                Processed::Maybe
            };
            return Error::reset(code, processed);
        }
        if err.is_go_away() && err.is_remote() {
            return Error::unprocessed(
                Kind::Refused,
                "the peer is closing the connection and did not take the call",
            );
        }
        if self.client.passed.written.get() == self.before {
            return Error::unsent("the connection ended before the call left");
        }
        self.broken(err)
    }

    fn after_head(&self, err: &h2::Error) -> Error {
        if err.is_reset() && err.is_remote() {
            return Error::reset(err.reason().map_or(2, u32::from), Processed::Maybe);
        }
        self.broken(err)
    }

    fn broken(&self, err: &h2::Error) -> Error {
        if self.client.cut.get() {
            return Error::new(
                Kind::Cut,
                "the connection had to end while the call was in progress",
            );
        }
        if err.is_library() {
            return Error::new(Kind::Protocol, format!("the peer broke HTTP/2: {err}"));
        }
        Error::new(
            Kind::ConnectionLost,
            format!("the connection to the peer ended: {err}"),
        )
    }
}

/// A call counted as open on its connection.
struct Slot(Rc<Client>);

// === impl Slot ===

impl Slot {
    fn take(client: &Rc<Client>) -> Self {
        client.open.set(client.open.get() + 1);
        Self(Rc::clone(client))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let open = self.0.open.get() - 1;
        self.0.open.set(open);
        if open == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

/// A reply's body; polling it sends what is left of the request.
struct Download<F> {
    stream: Incoming<F>,
    upload: Option<Outgoing>,
    slot: Option<Slot>,
}

impl<F: Fn(&h2::Error) -> Error + Unpin> http_body::Body for Download<F> {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = self.get_mut();
        if let Err(err) = poll_upload(&mut this.upload, cx) {
            return Poll::Ready(Some(Err(err)));
        }
        let polled = Pin::new(&mut this.stream).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_))))
            || (polled.is_ready() && http_body::Body::is_end_stream(&this.stream))
        {
            // The answer is complete, so the rest of the request is not wanted.
            this.upload = None;
            this.slot = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.stream)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.stream)
    }
}
