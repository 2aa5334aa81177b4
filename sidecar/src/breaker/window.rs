//! The share of successes over the last ten seconds: ten buckets, each epoch and counts in one word.

use std::sync::atomic::{AtomicU64, Ordering};

const BUCKETS: usize = 10;
const BUCKET_MILLIS: u64 = 1_000;
const COUNT_BITS: u32 = 16;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

#[derive(Debug, Default)]
pub struct Window([AtomicU64; BUCKETS]);

impl Window {
    /// Counts one decided call.
    pub fn add(&self, now: u64, success: bool) {
        let epoch = now / BUCKET_MILLIS + 1;
        let slot = &self.0[(epoch % BUCKETS as u64) as usize];
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (good, bad) = if word >> (2 * COUNT_BITS) == epoch & u64::from(u32::MAX) {
                counts(word)
            } else {
                (0, 0)
            };
            let (good, bad) = if success {
                ((good + 1).min(COUNT_MAX), bad)
            } else {
                (good, (bad + 1).min(COUNT_MAX))
            };
            Some((epoch & u64::from(u32::MAX)) << (2 * COUNT_BITS) | good << COUNT_BITS | bad)
        });
    }

    /// Whether at least `min_calls` were decided and fewer than the share `below` of them succeeded.
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    pub fn is_poor(&self, now: u64, below: f32, min_calls: u32) -> bool {
        let epoch = (now / BUCKET_MILLIS + 1) & u64::from(u32::MAX);
        let (good, bad) = self
            .0
            .iter()
            .map(|slot| slot.load(Ordering::Relaxed))
            .filter(|word| epoch.wrapping_sub(word >> (2 * COUNT_BITS)) < BUCKETS as u64)
            .map(counts)
            .fold((0, 0), |(good, bad), (more_good, more_bad)| {
                (good + more_good, bad + more_bad)
            });
        let total = good + bad;
        total >= u64::from(min_calls) && (good as f32) < below * total as f32
    }

    pub fn clear(&self) {
        for slot in &self.0 {
            slot.store(0, Ordering::Relaxed);
        }
    }
}

fn counts(word: u64) -> (u64, u64) {
    (word >> COUNT_BITS & COUNT_MAX, word & COUNT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_needs_enough_calls_and_forgets_after_ten_seconds() {
        let window = Window::default();
        for call in 0..19 {
            window.add(call * 100, call % 2 == 0);
        }
        assert!(!window.is_poor(1_900, 0.8, 20));
        window.add(1_900, true);
        assert!(window.is_poor(1_900, 0.8, 20));
        assert!(window.is_poor(9_999, 0.8, 20));
        assert!(!window.is_poor(12_000, 0.8, 20));
    }

    #[test]
    fn four_of_five_is_good_enough() {
        let window = Window::default();
        for call in 0..100 {
            window.add(5, call % 5 != 0);
        }
        assert!(!window.is_poor(5, 0.8, 20));
        window.add(5, false);
        assert!(window.is_poor(5, 0.8, 20));
    }
}
