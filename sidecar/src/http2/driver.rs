//! Between a socket and its streams: one task a connection reads, lets the calls run, and writes what they left, once a turn.

use std::cell::RefCell;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::connection::{self, Config, Connection, Role};
use super::crowd::{Crowd, Verdict};
use super::frame::{Code, Fault};
use super::meter::Limit;
use super::metrics::Metrics;
use super::streams::Shared;
use crate::memory::{Account, Order};

/// Bytes of one read.
const READ: usize = 64 << 10;
/// Bytes that are looked at in one turn before the calls, and other connections, run.
const SLICE: usize = 64 << 10;
/// Bytes behind what a turn took that are looked at all the same: whether the peer takes back what it asked, or is gone.
const AHEAD: usize = 16 << 10;
/// A peer that does not answer the ping behind our first GOAWAY is told the last stream without it.
const FAREWELL: Duration = Duration::from_secs(1);
/// What is written when a connection ends gets so long to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The ping behind our first GOAWAY.
const FAREWELL_PING: [u8; 8] = *b"farewell";

thread_local! {
    /// Where every connection of the thread reads into; what is not a whole frame is kept by the connection.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ + super::frame::LARGEST_READ]);
    /// The thread's connections, for what concerns all of them.
    static OPEN: RefCell<Vec<Weak<Shared>>> = const { RefCell::new(Vec::new()) };
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Over {
    /// In order.
    #[error("closed")]
    Closed,
    #[error(transparent)]
    Io(io::Error),
    /// The peer broke the protocol.
    #[error("the peer broke HTTP/2: {0}")]
    Fault(Fault),
    /// Something did not come.
    #[error("{}", .0.debug())]
    Late(Limit),
    /// The peer reads nothing of what waits for it.
    #[error("the peer reads nothing")]
    Deaf,
}

/// How far leaving has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// The first GOAWAY is out; the second one follows then at the latest.
    Announced(Instant),
    /// The last stream is told.
    Told,
}

/// A timer that is only ever moved to an earlier moment; what it is for is looked up when it fires.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

/// The socket's side of a connection.
pub(super) struct Driver<IO> {
    io: IO,
    shared: Rc<Shared>,
    /// Bytes of a frame that is not whole, or of all that a turn left.
    unread: BytesMut,
    /// A turn left whole frames.
    has_more: bool,
    crowd: Crowd,
    /// For the time that it takes to see who takes nothing.
    crowded: Alarm,
    /// What is held by all connections, and how much of that was counted for this one.
    buffered: Arc<Account>,
    counted: u32,
    leaving: Leaving,
    has_read: bool,
    /// Nothing was read because too much waits to be written.
    is_behind: bool,
    /// What was written is not known to be with the socket.
    flush: bool,
    /// How much had been written, and since when that is all, while more waits.
    stuck: Option<(u64, Instant)>,
    /// A socket may take nothing for so long.
    patience: Duration,
    deaf: Alarm,
    /// The last words have time until then.
    closing: Option<Instant>,
    pub(super) alarm: Alarm,
}

// === impl Alarm ===

impl Alarm {
    /// Ready at `at`.
    pub(crate) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if at < sleep.deadline() {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }

    /// It has been seen: the next one is set anew.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

// === impl Driver ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    pub(super) fn new(
        io: IO,
        role: Role,
        config: Config,
        most_held: u32,
        patience: Duration,
        metrics: &Metrics,
    ) -> Self {
        let shared = Shared::new(Connection::new(role, config));
        OPEN.with_borrow_mut(|open| open.push(Rc::downgrade(&shared)));
        Self {
            io,
            shared,
            unread: BytesMut::new(),
            has_more: false,
            crowd: Crowd::new(most_held),
            crowded: Alarm::default(),
            buffered: Arc::clone(metrics.buffered()),
            counted: 0,
            leaving: Leaving::No,
            has_read: false,
            is_behind: false,
            flush: false,
            stuck: None,
            patience,
            deaf: Alarm::default(),
            closing: None,
            alarm: Alarm::default(),
        }
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// Whether the peer has sent anything.
    pub(super) fn has_read(&self) -> bool {
        self.has_read
    }

    /// Reads one slice, with no more than so many requests; nothing at all if there may be none. Ready when the connection is over; the
    /// calls then hear of it by [`Self::begin_close`].
    pub(super) fn poll_read(&mut self, requests: usize, cx: &mut Context<'_>) -> Poll<Over> {
        self.shared.begin_turn(requests, cx);
        if requests == 0 {
            return Poll::Pending;
        }
        let mut read = 0;
        while read < SLICE {
            if self.buffered.is_full() {
                // Whoever looks after the memory wakes us.
                return Poll::Pending;
            }
            if self.shared.with(Connection::is_behind) {
                self.is_behind = true;
                return Poll::Pending;
            }
            ready!(self.poll_crowd(cx));
            match ready!(self.poll_more(cx)) {
                Ok(count) => read += count,
                Err(over) => return Poll::Ready(over),
            }
            if self.has_more {
                return self.poll_ahead(cx);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Streams that are reset among what this turn leaves.
    pub(super) fn taken_back(&self) -> Vec<u32> {
        let ahead = self.unread.get(..AHEAD).unwrap_or(&self.unread);
        connection::resets(ahead).collect()
    }

    /// Behind what this turn leaves: of a peer that has hung up nothing more is to begin. Else the turn ends, and another one follows.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        cx.waker().wake_by_ref();
        while self.unread.len() < AHEAD {
            if let Err(over) = ready!(self.poll_read_behind(cx)) {
                return Poll::Ready(over);
            }
        }
        Poll::Pending
    }

    fn poll_read_behind(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Over>> {
        BUFFER.with_borrow_mut(|buffer| {
            let room = AHEAD.saturating_sub(self.unread.len());
            let mut into = ReadBuf::new(buffer.get_mut(..room).unwrap_or_default());
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut into)).map_err(Over::Io)?;
            if into.filled().is_empty() {
                return Poll::Ready(Err(self.peer_ended()));
            }
            self.unread.extend_from_slice(into.filled());
            Poll::Ready(Ok(()))
        })
    }

    /// Ready if what waits leaves room for more.
    fn poll_crowd(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let (held, left) = self.shared.with(|all| (all.held(), all.left()));
            match self.crowd.judge(held, left, Instant::now) {
                Verdict::Read => {
                    self.shared.pause(None);
                    return Poll::Ready(());
                }
                Verdict::PauseUntil(until) => {
                    self.shared.pause(Some(self.crowd.most()));
                    ready!(self.crowded.poll(until, cx));
                    self.crowded.clear();
                }
                Verdict::ResetDownTo(most) => self.reset_down_to(most),
            }
        }
    }

    fn reset_down_to(&self, most: u32) {
        while self.shared.with(Connection::held) > most {
            self.shared.reset_largest(Limit::ConnectionBuffered);
        }
    }

    fn peer_ended(&self) -> Over {
        match self.shared.with(Connection::open_streams) == 0 && self.unread.is_empty() {
            true => Over::Closed,
            false => Over::Io(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// What the last turn left, else what the socket has.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Over>> {
        match self.has_more {
            true => Poll::Ready(self.look_again()),
            false => self.poll_read_once(cx),
        }
    }

    /// One read, and what it came to.
    fn poll_read_once(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Over>> {
        BUFFER.with_borrow_mut(|buffer| {
            let kept = self.unread.len();
            let (front, behind) = buffer.split_at_mut(kept);
            front.copy_from_slice(&self.unread);
            let mut into = ReadBuf::new(behind);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut into)).map_err(Over::Io)?;
            let count = into.filled().len();
            if count == 0 {
                return Poll::Ready(Err(self.peer_ended()));
            }
            self.has_read = true;
            let filled = buffer.get(..kept + count).unwrap_or_default();
            let taken = self.shared.receive(filled, Instant::now());
            let taken = taken.map_err(Over::Fault)?;
            self.unread.clear();
            self.unread
                .extend_from_slice(filled.get(taken..).unwrap_or_default());
            self.has_more = self.shared.with(Connection::has_enough);
            Poll::Ready(Ok(count))
        })
    }

    /// At what the last turn left, before anything else is read.
    fn look_again(&mut self) -> Result<usize, Over> {
        let taken = self.shared.receive(&self.unread, Instant::now());
        let taken = taken.map_err(Over::Fault)?;
        self.unread.advance(taken);
        self.has_more = self.shared.with(Connection::has_enough);
        if !self.has_more {
            self.unread = BytesMut::from(&*self.unread);
        }
        Ok(taken)
    }

    /// Writes what there is. Ready when the socket takes no more, ever, or has not for too long.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let polled = self.poll_write_out(cx);
        self.count_held();
        match polled {
            Poll::Pending => self.poll_deaf(cx),
            over @ Poll::Ready(_) => over,
        }
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        if !self.shared.with(Connection::has_output) && !self.flush {
            return Poll::Pending;
        }
        self.flush = true;
        match ready!(self.shared.poll_write(&mut self.io, cx)) {
            Ok(()) => {}
            Err(err) => return Poll::Ready(Over::Io(err)),
        }
        match ready!(Pin::new(&mut self.io).poll_flush(cx)) {
            Ok(()) => self.flush = false,
            Err(err) => return Poll::Ready(Over::Io(err)),
        }
        if std::mem::take(&mut self.is_behind) {
            // There is room again, and nobody else would make us read.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// What came and what goes: both wait in our memory.
    fn count_held(&mut self) {
        let held = self.shared.with(|connection| {
            let beside = connection.waiting() + self.unread.len();
            let beside = u32::try_from(beside).unwrap_or(u32::MAX);
            connection.held().saturating_add(beside)
        });
        if held != self.counted {
            self.buffered.move_by(self.counted, held);
            self.counted = held;
        }
    }

    /// Ready once a socket that has something to take has taken nothing for too long.
    fn poll_deaf(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        if !self.flush {
            self.stuck = None;
            self.deaf.clear();
            return Poll::Pending;
        }
        let written = self.shared.written();
        let since = match self.stuck {
            Some((before, since)) if before == written => since,
            _ => Instant::now(),
        };
        self.stuck = Some((written, since));
        ready!(self.deaf.poll(since + self.patience, cx));
        Poll::Ready(Over::Deaf)
    }

    /// Goes away in two steps: streams that the peer opened before it saw the first are served.
    pub(super) fn leave(&mut self) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Announced(Instant::now() + FAREWELL);
            self.shared.act(|connection| {
                connection.announce_go_away();
                connection.ping(FAREWELL_PING);
            });
        }
    }

    /// The same, and whoever was told goes on with what it is left for: its answer is not waited for.
    pub(super) fn leave_unanswered(&mut self) {
        self.leave();
        if let Leaving::Announced(until) = &mut self.leaving {
            *until = Instant::now().min(*until);
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving != Leaving::No
    }

    /// Takes the second step when it is time; ready when nothing is left to be served.
    pub(super) fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Leaving::Announced(until) = self.leaving {
            let answered = self.shared.take_pong() == Some(FAREWELL_PING);
            if answered || self.alarm.poll(until, cx).is_ready() {
                self.alarm.clear();
                self.leaving = Leaving::Told;
                self.shared
                    .act(|connection| connection.go_away(Code::NO_ERROR, ""));
            }
        }
        let is_done = self.leaving == Leaving::Told
            && self.shared.with(|connection| connection.open_streams()) == 0;
        match is_done {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Says why, if there is something to say. The calls hear of it at once; [`Self::poll_close`] does the rest.
    pub(super) fn begin_close(&mut self, over: &Over) {
        self.shared.end();
        match over {
            Over::Late(limit) | Over::Fault(Fault::Excess(limit)) => self.shared.met(*limit),
            Over::Deaf => self.shared.met(Limit::StreamProgress),
            Over::Closed | Over::Io(_) | Over::Fault(_) => {}
        }
        self.alarm.clear();
        let last = Instant::now() + LAST_WORDS;
        self.closing = match over {
            // It would not hear them.
            Over::Io(_) | Over::Deaf => None,
            Over::Closed => Some(last),
            Over::Late(limit) => {
                let code = Code::ENHANCE_YOUR_CALM;
                self.shared
                    .act(|connection| connection.go_away(code, limit.debug()));
                Some(last)
            }
            Over::Fault(fault) => {
                self.shared.act(|connection| connection.give_up(*fault));
                Some(last)
            }
        };
    }

    /// Ready when the last words are out, or the peer would not take them.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.closing else {
            return Poll::Ready(());
        };
        if self.poll_last_words(cx).is_pending() && self.alarm.poll(until, cx).is_pending() {
            return Poll::Pending;
        }
        self.closing = None;
        Poll::Ready(())
    }

    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.shared.poll_write(&mut self.io, cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<IO> Drop for Driver<IO> {
    fn drop(&mut self) {
        self.shared.end();
        self.buffered.move_by(self.counted, 0);
        let ours = Rc::as_ptr(&self.shared);
        OPEN.with_borrow_mut(|open| open.retain(|other| other.as_ptr() != ours));
    }
}

/// Does with all connections of the thread what the process's memory asks for.
pub(crate) fn obey(order: &Order) {
    let open: Vec<_> = OPEN.with_borrow(|open| open.iter().filter_map(Weak::upgrade).collect());
    for shared in &open {
        shared.act(|connection| connection.keep_credit(order.keep_credit));
    }
    let held = |shared: &Rc<Shared>| shared.with(Connection::largest_held);
    let mut freed = 0;
    while freed < order.free
        && let Some(shared) = open.iter().max_by_key(|shared| held(shared))
        && held(shared) > 0
    {
        freed += u64::from(held(shared));
        shared.reset_largest(Limit::MemoryGuard);
    }
}
