//! So many a second, and no more: each taker is told how long it has to wait. Time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// A second's worth may go at once; then they follow evenly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Between two of them.
    every: Duration,
    /// When the next one would be due if nothing could go at once.
    next: Option<Instant>,
}

impl Rate {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            every: Duration::from_secs(1) / per_second.max(1),
            next: None,
        }
    }

    /// Takes a place; how long until it is there.
    pub(crate) fn take(&mut self, now: Instant) -> Duration {
        let ahead = Duration::from_secs(1).saturating_sub(self.every);
        let next = self.next.map_or(now, |next| next.max(now));
        self.next = Some(next + self.every);
        next.saturating_duration_since(now + ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(rate: &mut Rate, now: Instant, count: usize) -> Vec<u128> {
        (0..count).map(|_| rate.take(now).as_millis()).collect()
    }

    #[test]
    fn a_seconds_worth_goes_at_once_and_the_rest_evenly() {
        let start = Instant::now();
        let mut rate = Rate::new(5);
        assert_eq!(waits(&mut rate, start, 7), [0, 0, 0, 0, 0, 200, 400]);
        // Two are owed for; what has passed since pays for them first.
        let later = start + Duration::from_millis(600);
        assert_eq!(waits(&mut rate, later, 3), [0, 200, 400]);
        let quiet = start + Duration::from_secs(60);
        assert_eq!(waits(&mut rate, quiet, 6), [0, 0, 0, 0, 0, 200]);
        assert_eq!(waits(&mut Rate::new(1), start, 3), [0, 1000, 2000]);
    }
}
