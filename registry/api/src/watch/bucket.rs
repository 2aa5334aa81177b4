//! The token bucket in front of every request of a watch: ten at once, five a second after that.

use std::time::Duration;

use tokio::time::Instant;

const BURST: f64 = 10.0;
const PER_SECOND: f64 = 5.0;

#[derive(Debug)]
pub(super) struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            at: now,
        }
    }

    /// Takes one token and says how long to wait before using it.
    pub(super) fn take(&mut self, now: Instant) -> Duration {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * PER_SECOND).min(BURST) - 1.0;
        self.at = now;
        if self.tokens >= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(-self.tokens / PER_SECOND)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_ten_is_free_and_then_five_pass_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        for _ in 0..10 {
            assert_eq!(bucket.take(start), Duration::ZERO);
        }
        assert_eq!(bucket.take(start), Duration::from_millis(200));
        assert_eq!(
            bucket.take(start + Duration::from_millis(200)),
            Duration::from_millis(200)
        );
        assert_eq!(bucket.take(start + Duration::from_secs(60)), Duration::ZERO);
    }
}
