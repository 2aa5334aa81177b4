//! How much memory the process has left, and what it gives up as it runs out, so that the kernel does not end it: first new calls,
//! then the newest connections, then the largest streams. The data path reads atomics only; who counts is a task of its own.

/// What the allocator keeps.
mod allocator;

/// What is given up when.
mod level;

/// What there is.
mod limit;

/// Bytes that calls hold.
mod account;

/// What heads of calls hold.
mod room;

/// Where calls are refused.
mod stage;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Limits, Process};
use crate::http2;
use crate::http2::meter::Limit;
use crate::stack::Call;

pub(crate) use account::Account;
pub use account::Held;
pub(crate) use allocator::give_back;
pub use level::{Level, Marks};
pub use room::Room;
pub use stage::layer;

/// Between two looks at what is used; while much is, they are closer.
const LOOK: Duration = Duration::from_millis(100);
const CLOSE_LOOK: Duration = Duration::from_millis(20);
/// Percent of the limit that are much.
const MUCH: u64 = 60;
/// Connections are sent away, and streams reset, no more often: what the last ones held has to come back first.
const SENT_AWAY_EVERY: Duration = Duration::from_secs(1);
const RESET_EVERY: Duration = Duration::from_millis(100);
/// While calls are refused, the allocator gives back what it keeps: nothing else would, where nothing is done.
const GIVEN_BACK_EVERY: Duration = Duration::from_millis(250);
/// What a call takes besides its head and what waits of it: a task, two streams, a body a stage.
const CALL: u64 = 8 << 10;
/// Bytes that calls held together and hold no more: from so many on the allocator gives back what it kept for them.
const MANY: u64 = 2 << 20;
/// And no more often: it takes a thread some milliseconds.
const FALLEN_EVERY: Duration = Duration::from_secs(5);
/// One part in so many of the memory is little.
const LITTLE: u64 = 16;
/// Of the connections, one in so many is sent away.
const SENT_AWAY: usize = 8;

/// What the threads are to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// Streams that hold at least so many bytes together are reset.
    pub(crate) free: u64,
    /// Nobody gets credit back.
    pub(crate) keep_credit: bool,
    /// The allocator gives back what it keeps.
    pub(crate) give_back: bool,
}

/// The state all threads share.
#[derive(Debug)]
pub struct Guard {
    bounds: Process,
    marks: Marks,
    level: AtomicU8,
    used: AtomicU64,
    headers: Arc<Account>,
    buffered: Arc<Account>,
    /// What calls take besides, without a bound of its own: it tells when much of it has come back.
    calls: Arc<Account>,
    open: Mutex<Open>,
    orders: watch::Sender<Order>,
    metrics: http2::Metrics,
}

/// Accepted connections that were not sent away, the newest last.
#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, CancellationToken>,
}

/// An accepted connection's place among them.
#[derive(Debug)]
pub(crate) struct Seat {
    guard: Arc<Guard>,
    number: u64,
    leave: CancellationToken,
}

/// When something was done last.
#[derive(Debug, Default)]
struct Last {
    sent_away: Option<Instant>,
    reset: Option<Instant>,
    given_back: Option<Instant>,
    fallen: Option<Instant>,
    /// The most that was held since then.
    most_held: u64,
}

// === impl Guard ===

impl Guard {
    /// By what is configured and what the cgroup says.
    pub(crate) fn new(limits: &Limits, has_edge: bool) -> Result<Arc<Self>, config::Error> {
        let bounds = limits.process(has_edge, limit::of_cgroup())?;
        let buffered = Account::new(bounds.buffered_bytes);
        let headers = Account::new(bounds.header_memory);
        let metrics = http2::Metrics::new(Arc::clone(&buffered), Arc::clone(&headers));
        metrics.state(limits, &bounds);
        Ok(Arc::new(Self {
            marks: Marks {
                refuse: bounds.memory_guard,
                leave: bounds.memory_guard_leave,
                reset: bounds.memory_guard_reset,
            },
            level: AtomicU8::new(0),
            used: AtomicU64::new(0),
            headers,
            buffered,
            calls: Arc::default(),
            open: Mutex::default(),
            orders: watch::Sender::default(),
            bounds,
            metrics,
        }))
    }

    /// Where hits of its bounds are counted, and those of all connections.
    pub(crate) fn metrics(&self) -> &http2::Metrics {
        &self.metrics
    }

    /// New calls are to be refused.
    pub(crate) fn is_short(&self) -> bool {
        let is_short = self.level.load(Ordering::Relaxed) > 0 || self.buffered.is_short();
        if is_short {
            self.hit(Limit::MemoryGuard);
        }
        is_short
    }

    /// Room for a call's head; `false`: there is none left.
    pub(crate) fn has_room(&self, call: &mut Call) -> bool {
        if let Room::Unasked = call.room {
            let beside = call.authority.len() + call.uri.path().len();
            call.room = Room::ask(&self.headers, &call.headers, beside);
        }
        let is_refused = matches!(call.room, Room::Refused);
        if is_refused {
            self.hit(Limit::HeaderMemory);
        }
        !is_refused
    }

    /// A call is open for as long as it is held.
    pub(crate) fn call(&self) -> Option<Held> {
        self.calls.hold(CALL)
    }

    /// A connection was accepted.
    pub(crate) fn seat(self: &Arc<Self>) -> Seat {
        let leave = CancellationToken::new();
        let mut open = self.open();
        open.next += 1;
        let number = open.next;
        open.connections.insert(number, leave.clone());
        drop(open);
        Seat {
            guard: Arc::clone(self),
            number,
            leave,
        }
    }

    /// What a thread has to do, as it changes.
    pub(crate) fn orders(&self) -> watch::Receiver<Order> {
        self.orders.subscribe()
    }

    /// Looks at what is used for as long as the process runs.
    pub(crate) async fn watch(&self) {
        let mut last = Last::default();
        loop {
            let used = limit::resident().unwrap_or_default();
            self.look(used, Instant::now(), &mut last);
            let is_much =
                u128::from(used) * 100 >= u128::from(self.bounds.memory) * u128::from(MUCH);
            let wait = match self.bounds.memory > 0 && is_much {
                true => CLOSE_LOOK,
                false => LOOK,
            };
            sleep(wait).await;
        }
    }

    fn look(&self, used: u64, now: Instant, last: &mut Last) {
        self.used.store(used, Ordering::Relaxed);
        let was = Level::from_number(self.level.load(Ordering::Relaxed));
        let level = Level::next(was, used, self.bounds.memory, self.marks);
        self.level.store(level as u8, Ordering::Relaxed);
        if level != was {
            let limit = self.bounds.memory;
            tracing::warn!(?was, now = ?level, used, limit, "what is given up for want of memory");
        }
        self.mark_buffers(used);
        self.tell_usage(used);
        if level >= Level::Leave && is_due(&mut last.sent_away, now, SENT_AWAY_EVERY) {
            self.send_newest_away();
        }
        let is_over = self.buffered.is_over();
        let resets = level == Level::Reset && is_due(&mut last.reset, now, RESET_EVERY);
        let order = Order {
            free: match resets {
                true => level::excess(used, self.bounds.memory, self.marks),
                false => 0,
            },
            keep_credit: is_over,
            give_back: level >= Level::Refuse
                && is_due(&mut last.given_back, now, GIVEN_BACK_EVERY)
                || self.has_fallen(now, last),
        };
        if is_over && !self.orders.borrow().keep_credit {
            self.hit(Limit::BufferedBytes);
        }
        // Also again while it stands: connections may be new, and those that read nothing are to look again.
        let is_paused = self.buffered.take_paused();
        let stands = is_paused || order != Order::default();
        if stands || *self.orders.borrow() != order {
            self.orders.send_replace(order);
        }
    }

    /// What is buffered can grow by more than is left between two looks, so whoever reads and whoever takes calls is told beforehand
    /// how much more there may be. Where little is buffered, reading less would not help.
    fn mark_buffers(&self, used: u64) {
        let limit = self.bounds.memory;
        if limit == 0 {
            return;
        }
        let buffered = self.buffered.used();
        let until = |mark: u64| buffered + (limit / 100 * mark).saturating_sub(used);
        let full_at = until(self.marks.reset).max(limit / LITTLE);
        self.buffered.mark(until(self.marks.refuse), full_at);
    }

    fn send_newest_away(&self) {
        let mut open = self.open();
        for _ in 0..open.connections.len().div_ceil(SENT_AWAY) {
            if let Some((_, leave)) = open.connections.pop_last() {
                leave.cancel();
            }
        }
    }

    fn tell_usage(&self, used: u64) {
        let metrics = &self.metrics;
        metrics.uses(http2::PROCESS, "memory", used);
        metrics.uses(
            http2::PROCESS,
            Limit::HeaderMemory.name(),
            self.headers.used(),
        );
        metrics.uses(
            http2::PROCESS,
            Limit::BufferedBytes.name(),
            self.buffered.used(),
        );
        if let Some(percent) = used.saturating_mul(100).checked_div(self.bounds.memory) {
            metrics.uses(http2::PROCESS, Limit::MemoryGuard.name(), percent);
        }
    }

    /// Whether what was held is gone for the most part, once.
    fn has_fallen(&self, now: Instant, last: &mut Last) -> bool {
        let held = self.headers.used() + self.buffered.used() + self.calls.used();
        last.most_held = last.most_held.max(held);
        let has_fallen =
            is_little_of(held, last.most_held) && is_due(&mut last.fallen, now, FALLEN_EVERY);
        if has_fallen {
            last.most_held = held;
        }
        has_fallen
    }

    fn hit(&self, limit: Limit) {
        self.metrics.hit_process(limit);
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether little is left of the many bytes that were held.
fn is_little_of(held: u64, most: u64) -> bool {
    most >= MANY && held <= most / 8
}

/// Whether something may be done again, and then it is.
fn is_due(last: &mut Option<Instant>, now: Instant, every: Duration) -> bool {
    let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= every);
    if is_due {
        *last = Some(now);
    }
    is_due
}

// === impl Seat ===

impl Seat {
    /// Ready when this connection is to be sent away.
    pub(crate) fn sent_away(&self) -> impl Future<Output = ()> + use<> {
        self.leave.clone().cancelled_owned()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.guard.open().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn guard(memory: u64) -> Arc<Guard> {
        let text = format!(
            "[process]\nmemory = {}\nheader_memory = 1000\nbuffered_bytes = 5000\n",
            memory * MIB
        );
        let limits: Limits = toml::from_str(&text).unwrap();
        Guard::new(&limits, false).unwrap()
    }

    fn is_sent_away(seat: &Seat) -> bool {
        seat.leave.is_cancelled()
    }

    #[test]
    fn new_calls_then_new_connections_then_large_streams_are_given_up() {
        let guard = guard(100);
        let orders = guard.orders();
        let seats: Vec<_> = (0..16).map(|_| guard.seat()).collect();
        let gone = || seats.iter().filter(|seat| is_sent_away(seat)).count();
        let (start, mut last) = (Instant::now(), Last::default());
        let mut look = |mib: u64, millis: u64| {
            guard.look(mib * MIB, start + Duration::from_millis(millis), &mut last);
        };
        look(79, 0);
        assert!(!guard.is_short());
        look(80, 20);
        assert!(guard.is_short());
        assert_eq!((gone(), orders.borrow().free), (0, 0));
        assert!(orders.borrow().give_back);
        look(90, 40);
        assert_eq!(gone(), 2);
        assert!(!orders.borrow().give_back, "not again so soon");
        assert!(seats.iter().rev().take(2).all(is_sent_away), "the newest");
        // Not again within a second.
        look(94, 1039);
        assert_eq!((gone(), orders.borrow().free), (2, 0));
        look(96, 1040);
        assert_eq!((gone(), orders.borrow().free), (4, 6 * MIB));
        look(96, 1060);
        assert_eq!(orders.borrow().free, 0, "what was reset comes back first");
        look(70, 1080);
        assert!(!guard.is_short());
        drop(seats);
        assert!(guard.open().connections.is_empty());
    }

    #[test]
    fn what_many_calls_held_is_given_back_once_they_are_gone() {
        let guard = guard(1000);
        let (start, mut last) = (Instant::now(), Last::default());
        let orders = guard.orders();
        let mut look = |calls: u64, seconds: u64| {
            let held: Vec<_> = (0..calls).map(|_| guard.call()).collect();
            let now = start + Duration::from_secs(seconds);
            guard.look(MIB, now, &mut last);
            drop(held);
            orders.borrow().give_back
        };
        let many = MANY / CALL;
        for (calls, seconds, expected) in [
            (many - 1, 0, false),
            (0, 1, false),
            (many, 2, false),
            (many / 8 + 1, 3, false),
            (many / 8, 4, true),
            (0, 5, false),
            (2 * many, 6, false),
            // Not again so soon, but then.
            (0, 7, false),
            (0, 9, true),
            (0, 20, false),
        ] {
            assert_eq!(look(calls, seconds), expected, "{calls} after {seconds} s");
        }
    }

    #[test]
    fn credit_is_kept_while_too_much_waits() {
        let guard = guard(100);
        let orders = guard.orders();
        let (now, mut last) = (Instant::now(), Last::default());
        for (buffered, expected) in [(5000, false), (5001, true), (4000, false)] {
            let before = u32::try_from(guard.buffered.used()).unwrap();
            guard.buffered.move_by(before, buffered);
            guard.look(MIB, now, &mut last);
            assert_eq!(orders.borrow().keep_credit, expected, "{buffered}");
        }
    }
}
