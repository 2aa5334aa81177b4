//! How many repeats an upstream gets: a share of its calls plus a floor, over a sliding window. Never blocks.
//!
//! One budget a process and upstream; buckets of a second, each epoch and counts in one word, so that no lock is needed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How generous the budget is.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Repeats per call in the window.
    pub ratio: f64,
    /// Repeats per second on top, so that a quiet upstream may be tried again too.
    pub floor: u32,
    /// Length of the window in seconds, which is also its number of buckets.
    pub window: u64,
}

/// Ten slots would do for the default window; the bound is the largest window allowed.
const SLOTS: usize = 60;

/// The budget of one upstream.
#[derive(Debug)]
pub struct Budget {
    config: Config,
    start: Instant,
    calls: [AtomicU64; SLOTS],
    repeats: [AtomicU64; SLOTS],
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            ratio: 0.2,
            floor: 10,
            window: 10,
        }
    }
}

// === impl Budget ===

impl Budget {
    pub fn new(config: Config, now: Instant) -> Self {
        let empty = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            config,
            start: now,
            calls: empty(),
            repeats: empty(),
        }
    }

    /// A first attempt was made.
    pub fn deposit(&self, now: Instant) {
        add(&self.calls, self.second(now), 1);
    }

    /// Takes one repeat if the window allows it.
    pub fn withdraw(&self, now: Instant) -> bool {
        let second = self.second(now);
        add(&self.repeats, second, 1);
        // Added first and undone, so that two threads cannot both take the last one.
        if self.sum(&self.repeats, second) <= self.allowed(second) {
            return true;
        }
        add(&self.repeats, second, -1);
        false
    }

    /// What is left now.
    pub fn remaining(&self, now: Instant) -> u64 {
        let second = self.second(now);
        self.allowed(second)
            .saturating_sub(self.sum(&self.repeats, second))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "counts of a few seconds are far below 2^52"
    )]
    fn allowed(&self, second: u64) -> u64 {
        let calls = self.sum(&self.calls, second);
        (calls as f64 * self.config.ratio).floor() as u64
            + u64::from(self.config.floor) * self.config.window
    }

    fn sum(&self, slots: &[AtomicU64; SLOTS], second: u64) -> u64 {
        slots
            .iter()
            .map(|slot| slot.load(Ordering::Relaxed))
            .filter(|word| {
                let age = (second as u32).wrapping_sub(epoch(*word));
                u64::from(age) < self.config.window
            })
            .map(|word| word & u64::from(u32::MAX))
            .sum()
    }

    /// Seconds since the start, from 1, so that an unused slot (epoch 0) is told apart from the first second.
    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() + self.config.window + 1
    }
}

fn epoch(word: u64) -> u32 {
    (word >> 32) as u32
}

fn add(slots: &[AtomicU64; SLOTS], second: u64, change: i64) {
    let slot = &slots[(second % SLOTS as u64) as usize];
    let current = u64::from(second as u32) << 32;
    let update = |word: u64| {
        let count = if word >> 32 == current >> 32 {
            word & u64::from(u32::MAX)
        } else {
            0
        };
        Some(current | count.saturating_add_signed(change).min(u64::from(u32::MAX)))
    };
    // The closure always answers, so this cannot fail.
    let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
}

/// Full jitter: uniform between nothing and `min(max, base × 2^(repeat-1))`, before repeat number `repeat` (from 1).
pub fn backoff(repeat: u32, base: Duration, max: Duration, random: f64) -> Duration {
    let cap = base
        .saturating_mul(
            1_u32
                .checked_shl(repeat.saturating_sub(1))
                .unwrap_or(u32::MAX),
        )
        .min(max);
    cap.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_window_allows_a_share_and_a_floor() {
        for (calls, allowed) in [(0, 100), (100, 120), (1000, 300), (5000, 1100)] {
            let now = Instant::now();
            let budget = Budget::new(Config::default(), now);
            for call in 0..calls {
                budget.deposit(now + Duration::from_millis(call * 9000 / 5000));
            }
            let then = now + Duration::from_secs(9);
            assert_eq!(budget.remaining(then), allowed, "{calls} calls");
            let taken = (0..allowed + 50).filter(|_| budget.withdraw(then)).count() as u64;
            assert_eq!(taken, allowed, "{calls} calls");
        }
    }

    #[tokio::test]
    async fn what_was_taken_returns_after_the_window() {
        let now = Instant::now();
        let budget = Budget::new(Config::default(), now);
        while budget.withdraw(now) {}
        assert!(!budget.withdraw(now + Duration::from_millis(9999)));
        assert_eq!(budget.remaining(now + Duration::from_secs(10)), 100);
        // A minute later the same slots are in use again.
        assert_eq!(budget.remaining(now + Duration::from_secs(60)), 100);
    }

    #[test]
    fn backoff_doubles_up_to_its_cap() {
        let (base, max) = (Duration::from_millis(25), Duration::from_millis(250));
        for (repeat, cap) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (40, 250)] {
            assert_eq!(
                backoff(repeat, base, max, 1.0),
                Duration::from_millis(cap),
                "repeat {repeat}"
            );
            assert_eq!(backoff(repeat, base, max, 0.0), Duration::ZERO);
        }
    }
}
