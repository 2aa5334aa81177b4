//! How long to wait before the next attempt to connect: 100 ms × 1.6 to 10 s, ± 20 %.

use std::time::Duration;

const FACTOR: f64 = 1.6;
const JITTER: f64 = 0.2;

/// Grows with each failure, starts over after a success.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

// === impl Backoff ===

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// One more failure; the wait that follows it. `random` is from 0 to 1.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let exponent = i32::try_from(self.failures.min(64)).unwrap_or(64);
        self.failures = self.failures.saturating_add(1);
        let base =
            (self.first.as_secs_f64() * FACTOR.powi(exponent)).min(self.longest.as_secs_f64());
        Duration::from_secs_f64(base * (1.0 + JITTER * (2.0 * random - 1.0)))
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let millis: Vec<u128> = (0..13).map(|_| backoff.next(0.5).as_millis()).collect();
        assert_eq!(
            millis,
            [
                100, 160, 256, 409, 655, 1048, 1677, 2684, 4294, 6871, 10_000, 10_000, 10_000
            ]
        );
        backoff.reset();
        assert_eq!(backoff.next(0.0).as_millis(), 80);
        backoff.reset();
        assert_eq!(backoff.next(1.0).as_millis(), 120);
    }
}
