//! The streams of one connection, as its driver and its calls share them. Nothing waits here: a call that has to wait leaves its
//! waker in its mailbox, and whoever writes something wakes the driver, which owns the socket.

use std::cell::RefCell;
use std::io;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, StatusCode};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::connection::{ById, Connection, Event, Full};
use super::fields::{Request, Response};
use super::frame::{Code, Fault};
use super::heads::{self, Target};
use super::mailbox::{End, Mailbox};
use super::meter::Limit;
use super::metrics;
use super::stream::Wrong;
use super::waiting::Waiting;
use crate::stack::Headers;

/// Room for output that a thread keeps while no connection has any: so many of them, of these sizes.
const SPARES: usize = 4;
const SPARE_SIZE: RangeInclusive<usize> = 4 << 10..=256 << 10;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A request that came and has no task yet.
pub(super) struct Arrived {
    pub(super) stream: Handle,
    /// `Err` if its head is past its bounds, and whether it is gRPC.
    pub(super) request: Result<Request, bool>,
}

/// Shared by the driver and the calls of one connection.
pub(super) struct Shared(RefCell<State>);

struct State {
    connection: Connection,
    post: Post,
    driver: Option<Waker>,
    /// The driver looks at everything before it sleeps again.
    is_awake: bool,
    /// Nothing is read while more than so much waits.
    pause: Option<u32>,
    /// Bytes that were written to the socket.
    written: u64,
}

/// Where what arrives goes.
#[derive(Default)]
struct Post {
    mailboxes: ById<Rc<Mailbox>>,
    /// Requests of this turn.
    arrived: Vec<(u32, Rc<Mailbox>, Result<Request, bool>)>,
    /// Credit of what passed, or nobody will read.
    done: Vec<(u32, usize)>,
    /// Streams that wait for the connection's window, or the socket.
    waiting: Waiting,
    /// The peer said GOAWAY.
    is_left: bool,
    pong: Option<[u8; 8]>,
    met: Vec<Limit>,
    /// How the peer said goodbye, until it is counted.
    farewell: Option<(Code, &'static str)>,
}

/// One stream, held by its call. Dropping the last of it ends what is not ended.
pub(super) struct Handle {
    shared: Rc<Shared>,
    id: u32,
    mailbox: Rc<Mailbox>,
    /// Where in the connection's output its head begins.
    begins: u64,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(connection: Connection) -> Rc<Self> {
        Rc::new(Self(RefCell::new(State {
            connection,
            post: Post::default(),
            driver: None,
            is_awake: true,
            pause: None,
            written: 0,
        })))
    }

    /// The driver begins a turn, in which so many requests may come.
    pub(super) fn begin_turn(&self, requests: usize, cx: &Context<'_>) {
        let mut state = self.0.borrow_mut();
        state.is_awake = true;
        state.connection.begin_turn();
        state.connection.allow_requests(requests);
        match &mut state.driver {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.driver = Some(cx.waker().clone()),
        }
    }

    /// The driver sleeps from here on: whoever writes wakes it. If there is room for streams that wait, it looks again once they ran.
    pub(super) fn end_turn(&self) {
        let mut state = self.0.borrow_mut();
        state.is_awake = false;
        let room = state.connection.room_for_data();
        if room > 0 && !state.post.waiting.is_empty() {
            state.post.waiting.wake(room);
            state.wake_driver();
        }
    }

    /// Hands what came to the mailboxes; how many bytes of it were whole frames.
    pub(super) fn receive(&self, bytes: &[u8], now: Instant) -> Result<usize, Fault> {
        self.0.borrow_mut().receive(bytes, now)
    }

    /// Requests that came and were not reset meanwhile.
    pub(super) fn take_arrived(self: &Rc<Self>) -> Vec<Arrived> {
        let arrived = std::mem::take(&mut self.0.borrow_mut().post.arrived);
        let mut living = Vec::with_capacity(arrived.len());
        for (id, mailbox, request) in arrived {
            let stream = Handle {
                shared: Rc::clone(self),
                id,
                mailbox,
                begins: 0,
            };
            if !stream.mailbox.is_broken() {
                living.push(Arrived { stream, request });
            }
        }
        living
    }

    /// Looks at the connection itself.
    pub(super) fn with<T>(&self, look: impl FnOnce(&Connection) -> T) -> T {
        look(&self.0.borrow().connection)
    }

    /// Makes the connection write something, which its driver sends.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut Connection) -> T) -> T {
        let mut state = self.0.borrow_mut();
        state.lend();
        let done = act(&mut state.connection);
        state.wake_driver();
        done
    }

    /// Nothing is read while more than `most` waits: the driver is woken once it does not.
    pub(super) fn pause(&self, most: Option<u32>) {
        self.0.borrow_mut().pause = most;
    }

    /// Lets the driver look again though nothing was written.
    pub(super) fn wake_driver(&self) {
        self.0.borrow_mut().wake_driver();
    }

    /// Writes what waits. Ready once all of it is with the socket.
    pub(super) fn poll_write<IO: AsyncWrite + Unpin>(
        &self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let state = &mut *self.0.borrow_mut();
        let out = state.connection.output();
        let mut written = 0;
        let polled = loop {
            let rest = out.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut *io).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(err)) => break Poll::Ready(Err(err)),
                Poll::Pending => break Poll::Pending,
            }
        };
        out.drain(..written);
        if out.is_empty() {
            put_aside(std::mem::take(out));
        }
        state.written += written as u64;
        polled
    }

    /// Resets the streams whose time has come; when the next one's will have.
    pub(super) fn reset_abandoned(&self, now: Instant) -> Option<Instant> {
        self.0.borrow_mut().connection.reset_abandoned(now)
    }

    /// Bytes that the socket took so far.
    pub(super) fn written(&self) -> u64 {
        self.0.borrow().written
    }

    /// The peer wants no further stream.
    pub(super) fn is_left(&self) -> bool {
        self.0.borrow().post.is_left
    }

    pub(super) fn take_pong(&self) -> Option<[u8; 8]> {
        self.0.borrow_mut().post.pong.take()
    }

    pub(super) fn take_farewell(&self) -> Option<(Code, &'static str)> {
        self.0.borrow_mut().post.farewell.take()
    }

    pub(super) fn take_met(&self) -> Vec<Limit> {
        std::mem::take(&mut self.0.borrow_mut().post.met)
    }

    /// A bound was met, as whoever enforces it saw.
    pub(super) fn met(&self, limit: Limit) {
        self.0.borrow_mut().post.met.push(limit);
    }

    /// The socket is gone: every call on it hears so.
    pub(super) fn end(&self) {
        let mut state = self.0.borrow_mut();
        state.driver = None;
        for mailbox in std::mem::take(&mut state.post.mailboxes).into_values() {
            mailbox.end(End::Lost);
        }
        state.post.waiting.clear();
    }

    /// Resets what holds most of the bytes that nobody took, because of a bound.
    pub(super) fn reset_largest(&self, limit: Limit) {
        let mut state = self.0.borrow_mut();
        let Some(stream) = state.connection.largest_holder() else {
            return;
        };
        state.post.met.push(limit);
        state.connection.reset(stream, Code::ENHANCE_YOUR_CALM);
        if let Some(mailbox) = state.post.mailboxes.remove(&stream) {
            mailbox.end(End::Crowding);
        }
        state.wake_driver();
    }

    /// Opens a stream with a request's head.
    pub(super) fn open(
        self: &Rc<Self>,
        target: Target<'_>,
        headers: &Headers,
        ends: bool,
        now: Instant,
    ) -> Result<Handle, Full> {
        let mut state = self.0.borrow_mut();
        state.lend();
        let begins = state.written + state.connection.waiting() as u64;
        let is_head = target.method == http::Method::HEAD;
        let fields = heads::request(target, headers);
        let id = state.connection.open(fields, is_head, ends, now)?;
        let mailbox = Rc::new(Mailbox::default());
        state.post.mailboxes.insert(id, Rc::clone(&mailbox));
        state.wake_driver();
        drop(state);
        Ok(Handle {
            shared: Rc::clone(self),
            id,
            mailbox,
            begins,
        })
    }

    /// These bytes of a stream went onwards.
    pub(super) fn forwarded(&self, stream: u32, bytes: u32) {
        let mut state = self.0.borrow_mut();
        let before = state.connection.waiting();
        state.connection.forwarded(stream, bytes);
        let is_over = |most| state.connection.held() <= most;
        if state.connection.waiting() > before || state.pause.is_some_and(is_over) {
            state.wake_driver();
        }
    }
}

// === impl State ===

/// Room that was used and is empty.
fn put_aside(room: Vec<u8>) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARES && SPARE_SIZE.contains(&room.capacity()) {
            spare.push(room);
        }
    });
}

impl State {
    /// Output begins in room that another connection is done with: it has the size that output usually has.
    fn lend(&mut self) {
        if self.connection.has_output() {
            return;
        }
        let out = self.connection.output();
        if out.capacity() == 0
            && let Some(spare) = SPARE.with_borrow_mut(Vec::pop)
        {
            *out = spare;
        }
    }

    fn receive(&mut self, bytes: &[u8], now: Instant) -> Result<usize, Fault> {
        self.lend();
        let Self {
            connection, post, ..
        } = self;
        let taken = connection.receive(bytes, now, &mut |event| post.deliver(event));
        for (stream, bytes) in post.done.drain(..) {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            connection.forwarded(stream, bytes);
        }
        taken
    }

    fn wake_driver(&mut self) {
        if !std::mem::replace(&mut self.is_awake, true)
            && let Some(driver) = &self.driver
        {
            driver.wake_by_ref();
        }
    }
}

// === impl Post ===

impl Post {
    fn deliver(&mut self, event: Event<'_>) {
        match event {
            Event::Request {
                stream,
                request,
                ends_stream,
            } => self.arrive(stream, Ok(request), ends_stream),
            Event::TooLarge { stream, is_grpc } => self.arrive(stream, Err(is_grpc), false),
            Event::Response {
                stream,
                response,
                ends_stream,
            } => self.head(stream, response, ends_stream),
            Event::Data {
                stream,
                data,
                ends_stream,
            } => self.data(stream, data, ends_stream),
            Event::Trailers { stream, trailers } => {
                if let Some(mailbox) = self.mailboxes.get(&stream) {
                    mailbox.trailers(trailers);
                }
            }
            Event::Reset { stream, code } => self.end(stream, End::Reset(code)),
            Event::Failed { stream, code, why } => {
                tracing::debug!(stream, code = code.0, why, "stream reset for what came");
                self.end(stream, End::Failed(code, why));
            }
            Event::Untaken { stream } => self.end(stream, End::Untaken),
            // Whoever waits for the connection's is woken at the end of the turn.
            Event::Room { stream } => {
                if let Some(mailbox) = self.mailboxes.get(&stream) {
                    mailbox.room();
                }
            }
            Event::GoAway {
                last_stream,
                code,
                debug,
            } => self.farewell(last_stream, code, debug),
            Event::Pong(payload) => self.pong = Some(payload),
            Event::Met(limit) => self.met.push(limit),
        }
    }

    fn arrive(&mut self, stream: u32, request: Result<Request, bool>, ends_stream: bool) {
        let mailbox = Rc::new(Mailbox::default());
        if ends_stream {
            mailbox.end(End::Complete);
        }
        if request.is_err() {
            mailbox.discard();
        }
        self.mailboxes.insert(stream, Rc::clone(&mailbox));
        self.arrived.push((stream, mailbox, request));
    }

    fn head(&mut self, stream: u32, response: Response, ends_stream: bool) {
        if let Some(mailbox) = self.mailboxes.get(&stream) {
            mailbox.head(response);
            if ends_stream {
                mailbox.end(End::Complete);
            }
        }
    }

    fn data(&mut self, stream: u32, data: &[u8], ends_stream: bool) {
        let mailbox = self.mailboxes.get(&stream);
        let done = mailbox.map_or(data.len(), |mailbox| mailbox.data(data, ends_stream));
        if done > 0 {
            self.done.push((stream, done));
        }
        if let Some(mailbox) = mailbox.filter(|_| ends_stream) {
            mailbox.end(End::Complete);
        }
    }

    fn end(&mut self, stream: u32, end: End) {
        if let Some(mailbox) = self.mailboxes.remove(&stream) {
            mailbox.end(end);
        }
    }

    fn farewell(&mut self, last_stream: u32, code: Code, debug: &[u8]) {
        let text = String::from_utf8_lossy(debug.get(..64).unwrap_or(debug));
        tracing::debug!(last_stream, code = code.0, text = %text, "the peer goes away");
        // The second GOAWAY of an ordered end is the same farewell.
        if !std::mem::replace(&mut self.is_left, true) || code != Code::NO_ERROR {
            self.farewell = Some((code, metrics::farewell(debug)));
        }
    }
}

// === impl Handle ===

impl Handle {
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// Lets it go, and leaves its end to the peer: a reset of it has come and was not looked at.
    pub(super) fn leave_to_peer(self) {
        self.shared.0.borrow_mut().post.mailboxes.remove(&self.id);
    }

    /// The head provably never left us: not a byte of it reached the socket.
    pub(super) fn is_unsent(&self) -> bool {
        self.shared.0.borrow().written <= self.begins
    }

    pub(super) fn send_head(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        ends: bool,
    ) -> Result<(), Wrong> {
        let fields = heads::response(&status, headers);
        let informational = status.is_informational();
        self.shared
            .act(|connection| connection.send_fields(self.id, fields, informational, ends))
            .map(|_| ())
    }

    pub(super) fn send_trailers(&self, trailers: &HeaderMap) -> Result<(), Wrong> {
        let fields = heads::fields(trailers);
        self.shared
            .act(|connection| connection.send_fields(self.id, fields, false, true))
            .map(|_| ())
    }

    /// Sends what there is room for, and says how much. Where that is not all, the task is woken when there is more room.
    pub(super) fn send_data(
        &self,
        data: &[u8],
        ends: bool,
        cx: &mut Context<'_>,
    ) -> Result<usize, Wrong> {
        let mut state = self.shared.0.borrow_mut();
        state.lend();
        let sent = state.connection.send_data(self.id, data, ends)?;
        if sent > 0 || data.is_empty() {
            state.wake_driver();
        }
        if sent < data.len() {
            self.mailbox.wait_for_room(cx);
            if !state.connection.is_stream_full(self.id) {
                state.post.waiting.insert(self.id, &self.mailbox, sent > 0);
            }
        }
        Ok(sent)
    }

    /// Sends what there is room for at once, and says how much.
    pub(super) fn pass(&self, data: &[u8]) -> usize {
        // A stream linked to one of its own connection, which is being read.
        let Ok(mut state) = self.shared.0.try_borrow_mut() else {
            return 0;
        };
        state.lend();
        let sent = state.connection.send_data(self.id, data, false);
        // The task hears of it.
        let sent = sent.unwrap_or(0);
        if sent > 0 {
            state.wake_driver();
        }
        sent
    }

    pub(super) fn reset(&self, code: Code) {
        self.shared
            .act(|connection| connection.reset(self.id, code));
    }

    /// Nobody reads what still comes: its credit goes back at once.
    pub(super) fn discard(&self) {
        let bytes = self.mailbox.discard();
        self.shared.forwarded(self.id, bytes);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.shared.0.borrow_mut();
        state.post.waiting.remove(self.id);
        if state.post.mailboxes.remove(&self.id).is_some() {
            state.connection.abandon(self.id, Instant::now());
            state.wake_driver();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker;
    use http::Method;

    use super::*;
    use crate::config::{self, Scope};
    use crate::http2::connection::Role;
    use crate::http2::limits;

    /// However often it asks, and it leaves nothing behind.
    #[test]
    fn a_stream_waits_for_the_connection_once() {
        let limits = limits::config(&config::Connection::new(Scope::Mesh));
        let shared = Shared::new(Connection::new(Role::Client, limits));
        let target = Target {
            method: &Method::POST,
            scheme: "http",
            authority: "orders",
            path: "/a.B/C",
        };
        let open = || shared.open(target, &Headers::default(), false, Instant::now());
        let (first, second) = (open().unwrap(), open().unwrap());
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        // The first takes the connection's whole window; the second has its own left.
        let data = [0; 70_000];
        assert_eq!(first.send_data(&data, false, &mut cx), Ok(65_535));
        for _ in 0..1000 {
            assert_eq!(second.send_data(&data, false, &mut cx), Ok(0));
        }
        let nobody_waits = || shared.0.borrow().post.waiting.is_empty();
        assert!(!nobody_waits());
        drop(second);
        assert!(nobody_waits());
    }
}
