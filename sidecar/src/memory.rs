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

/// Whether much that was held is gone.
mod peak;

/// Connections in the order in which they came.
mod seat;

/// Where calls are refused.
mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::config::{self, Limits, Process};
use crate::http2;
use crate::http2::meter::Limit;
use crate::stack::Call;

pub(crate) use account::Account;
pub use account::Held;
pub(crate) use allocator::give_back;
pub use level::{Level, Marks};
pub use room::Room;
pub(crate) use seat::Seat;
pub use stage::layer;

use peak::Peak;
use seat::Seats;

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
/// One part in so many of the memory is little.
const LITTLE: u64 = 16;
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
    seats: Arc<Seats>,
    orders: watch::Sender<Order>,
    metrics: http2::Metrics,
}

/// When something was done last.
#[derive(Debug, Default)]
struct Last {
    sent_away: Option<Instant>,
    reset: Option<Instant>,
    given_back: Option<Instant>,
    /// What calls held at most.
    peak: Peak,
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
            seats: Arc::default(),
            orders: watch::Sender::default(),
            bounds,
            metrics,
        }))
    }

    /// Where hits of its bounds are counted, and those of all connections.
    pub(crate) fn metrics(&self) -> &http2::Metrics {
        &self.metrics
    }

    pub(crate) fn bounds(&self) -> &Process {
        &self.bounds
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
            call.room = Room::ask(&self.headers, &call.headers, beside, call.facts.is_known);
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
    pub(crate) fn seat(&self) -> Seat {
        self.seats.take()
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
            self.seats.send_newest_away();
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
                || last.peak.is_over(self.held(), now),
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

    /// What calls hold, of all kinds.
    fn held(&self) -> u64 {
        self.headers.used() + self.buffered.used() + self.calls.used()
    }

    fn hit(&self, limit: Limit) {
        self.metrics.hit_process(limit);
    }
}

/// Whether something may be done again, and then it is.
fn is_due(last: &mut Option<Instant>, now: Instant, every: Duration) -> bool {
    let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= every);
    if is_due {
        *last = Some(now);
    }
    is_due
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
        seat.is_sent_away()
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
        assert!(guard.seats.is_empty());
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

    #[test]
    fn what_many_open_calls_took_is_given_back_once_they_are_gone() {
        let guard = guard(1000);
        let (start, mut last) = (Instant::now(), Last::default());
        let calls: Vec<_> = (0..1000).map(|_| guard.call()).collect();
        guard.look(MIB, start, &mut last);
        assert!(!guard.orders().borrow().give_back);
        drop(calls);
        guard.look(MIB, start + LOOK, &mut last);
        assert!(guard.orders().borrow().give_back);
    }
}
