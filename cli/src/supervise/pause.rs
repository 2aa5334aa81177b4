//! How long a process that ended waits before it starts again: 100 ms, doubled up to 10 s; from the beginning once it ran well.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// The pauses of one process.
#[derive(Debug, Default)]
pub(super) struct Pause {
    last: Option<Duration>,
}

impl Pause {
    /// The pause after an end; `ran` is how long the process had run. One that outlived the longest pause has earned a fresh start.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        let pause = match self.last {
            Some(last) if ran < LONGEST => (last * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_ten_seconds_and_begin_again_after_a_good_run() {
        let (crash, good) = (Duration::from_millis(5), Duration::from_secs(10));
        let mut pause = Pause::default();
        let runs = [
            crash, crash, crash, crash, crash, crash, crash, crash, crash, good, crash,
        ];
        let pauses: Vec<u128> = runs.map(|ran| pause.after(ran).as_millis()).to_vec();
        assert_eq!(
            pauses,
            [100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000, 100, 200]
        );
    }
}
