//! Waiting without sleeping: a claim that becomes true before a deadline, or a failure that says what was seen last.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// How long `eventually` waits: far more than anything here takes on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(10);

/// Asks until the answer is `Ok`, for 20 seconds.
pub async fn eventually<T, E: Display>(what: &str, check: impl AsyncFnMut() -> Result<T, E>) -> T {
    within(PATIENCE, what, check).await
}

/// Asks until the answer is `Ok`, for as long as the test allows.
pub async fn within<T, E: Display>(
    patience: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + patience;
    let mut ticks = interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = "nothing was answered".to_owned();
    loop {
        ticks.tick().await;
        match timeout_at(deadline, check()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => panic!("{what}: not within {patience:?}; last: {last} (and then no answer)"),
        }
        assert!(
            Instant::now() < deadline,
            "{what}: not within {patience:?}; last: {last}"
        );
    }
}

/// Load runs until then.
pub async fn reached(end: Instant) {
    let left = end.saturating_duration_since(Instant::now());
    within(left + PATIENCE, "time passes", async || {
        holds(Instant::now() >= end, "not yet")
    })
    .await;
}

/// Turns a condition into the answer `eventually` asks for.
pub fn holds(condition: bool, seen: impl Display) -> Result<(), String> {
    if condition {
        Ok(())
    } else {
        Err(seen.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_end_far_away_is_reached() {
        let end = Instant::now() + 3 * PATIENCE;
        reached(end).await;
        let late = end.elapsed();
        assert!(late <= 2 * STEP, "{late:?}");
    }
}
