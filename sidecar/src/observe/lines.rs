//! Lines of the access log: so many a second, whatever is sent at us.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// Of all threads. At the turn of a second a thread may still count in the one before: a few lines more, and nobody waits for anybody.
#[derive(Debug)]
pub(crate) struct Lines {
    most: u64,
    begun: Instant,
    second: AtomicU64,
    written: AtomicU64,
}

// === impl Lines ===

impl Lines {
    pub(crate) fn new(most: u64, begun: Instant) -> Self {
        Self {
            most,
            begun,
            second: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    /// Whether one more is written.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let second = now.saturating_duration_since(self.begun).as_secs();
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.written.store(0, Ordering::Relaxed);
        }
        self.written.fetch_add(1, Ordering::Relaxed) < self.most
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_has_its_lines_and_the_next_has_them_anew() {
        let begun = Instant::now();
        let lines = Lines::new(3, begun);
        let at = [0, 10, 999, 999, 1000, 1001, 1999, 1999, 60_000];
        let taken = at.map(|millis| lines.take(begun + Duration::from_millis(millis)));
        let (yes, no) = (true, false);
        assert_eq!(taken, [yes, yes, yes, no, yes, yes, yes, no, yes]);
    }
}
