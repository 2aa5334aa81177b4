//! Whether much that was held is gone: the allocator keeps it for a next time that may not come. Time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes from which on they are many.
const MANY: u64 = 2 << 20;
/// One part in so many of them is little.
const LITTLE: u64 = 8;
/// Giving back takes a thread some milliseconds, so it is not asked for more often.
const EVERY: Duration = Duration::from_secs(5);

/// The most that was held since that was last told to be gone.
#[derive(Debug, Default)]
pub(super) struct Peak {
    most: u64,
    told: Option<Instant>,
}

impl Peak {
    /// Whether little is left of many bytes; said once for each peak.
    pub(super) fn is_over(&mut self, held: u64, now: Instant) -> bool {
        self.most = self.most.max(held);
        let is_gone = self.most >= MANY && held <= self.most / LITTLE;
        let is_over = is_gone && super::is_due(&mut self.told, now, EVERY);
        if is_over {
            self.most = held;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_calls_held_is_told_to_be_gone_once_and_not_too_often() {
        let (start, mut peak) = (Instant::now(), Peak::default());
        for (held, seconds, expected) in [
            (MANY - 1, 0, false),
            (0, 1, false),
            (MANY, 2, false),
            (MANY / LITTLE + 1, 3, false),
            (MANY / LITTLE, 4, true),
            (0, 5, false),
            (2 * MANY, 6, false),
            // Not again so soon, but then.
            (0, 7, false),
            (0, 9, true),
            (0, 20, false),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(
                peak.is_over(held, now),
                expected,
                "{held} after {seconds} s"
            );
        }
    }
}
