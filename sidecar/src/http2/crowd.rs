//! Whether a connection may be read while so much of what it brought waits for those it is sent to.
//!
//! Past the bound reading pauses. Senders that keep to their credit may well have more on its way than the bound: streams times window
//! is more. As long as receivers take what waits, that only slows the connection down. When they hardly do, whoever holds most has to go,
//! down to half of the bound, so that neighbours do not pay for it again at once.

use std::time::Duration;

use tokio::time::Instant;

/// How long receivers are given to show that they take what waits.
const PERIOD: Duration = Duration::from_secs(1);
/// Of the bound, this part has to leave in that time: of 16 MiB, 256 KiB.
const LEAST: u64 = 64;

/// What is known of one connection.
#[derive(Debug)]
pub(super) struct Crowd {
    /// Bytes.
    most: u32,
    /// When it was last looked how much had left in all, and how much that was.
    looked: Option<(Instant, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Read,
    /// Not before less waits; look again then.
    PauseUntil(Instant),
    /// The largest holders go, until no more than this waits.
    ResetDownTo(u32),
}

// === impl Crowd ===

impl Crowd {
    pub(super) fn new(most: u32) -> Self {
        Self { most, looked: None }
    }

    pub(super) fn most(&self) -> u32 {
        self.most
    }

    /// `held`: bytes that wait. `left`: bytes that have left over the connection's life.
    pub(super) fn judge(&mut self, held: u32, left: u64, now: impl FnOnce() -> Instant) -> Verdict {
        if held <= self.most {
            if held <= self.most / 2 {
                self.looked = None;
            }
            return Verdict::Read;
        }
        let now = now();
        // It was well below the bound meanwhile, or nobody would have let so much time pass.
        self.looked.take_if(|(at, _)| now >= *at + 2 * PERIOD);
        let (at, before) = *self.looked.get_or_insert((now, left));
        if now < at + PERIOD {
            return Verdict::PauseUntil(at + PERIOD);
        }
        if left - before >= u64::from(self.most) / LEAST {
            self.looked = Some((now, left));
            return Verdict::PauseUntil(now + PERIOD);
        }
        self.looked = None;
        Verdict::ResetDownTo(self.most / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 6400;

    fn at(start: Instant, millis: u64) -> impl FnOnce() -> Instant {
        move || start + Duration::from_millis(millis)
    }

    #[test]
    fn up_to_the_bound_nothing_is_asked() {
        let mut crowd = Crowd::new(MOST);
        let start = Instant::now();
        for held in [0, MOST] {
            assert_eq!(crowd.judge(held, 0, at(start, 0)), Verdict::Read);
        }
    }

    #[test]
    fn past_it_reading_pauses_while_a_64th_leaves_in_each_second() {
        let mut crowd = Crowd::new(MOST);
        let start = Instant::now();
        let until = |millis| Verdict::PauseUntil(start + Duration::from_millis(millis));
        assert_eq!(crowd.judge(MOST + 1, 0, at(start, 0)), until(1000));
        assert_eq!(crowd.judge(MOST, 50, at(start, 100)), Verdict::Read);
        assert_eq!(crowd.judge(MOST + 1, 99, at(start, 999)), until(1000));
        assert_eq!(crowd.judge(MOST + 1, 100, at(start, 1000)), until(2000));
        assert_eq!(
            crowd.judge(MOST + 1, 199, at(start, 2000)),
            Verdict::ResetDownTo(3200)
        );
        assert_eq!(crowd.judge(MOST + 1, 199, at(start, 2000)), until(3000));
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut crowd = Crowd::new(MOST);
        let start = Instant::now();
        crowd.judge(MOST + 1, 0, at(start, 0));
        assert_eq!(crowd.judge(MOST, 1, at(start, 500)), Verdict::Read);
        let until = Verdict::PauseUntil(start + Duration::from_millis(3000));
        assert_eq!(crowd.judge(MOST + 1, 1, at(start, 2000)), until);
    }

    #[test]
    fn once_half_of_it_left_what_was_is_forgotten() {
        let mut crowd = Crowd::new(MOST);
        let start = Instant::now();
        crowd.judge(MOST + 1, 0, at(start, 0));
        assert_eq!(crowd.judge(MOST / 2, 3201, at(start, 999)), Verdict::Read);
        let until = Verdict::PauseUntil(start + Duration::from_millis(2100));
        assert_eq!(crowd.judge(MOST + 1, 3201, at(start, 1100)), until);
    }
}
