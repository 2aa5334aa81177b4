//! Peak-sensitive moving average of an endpoint's latency, in one word shared by all threads.
//!
//! A slower answer counts at once, a faster one pulls the estimate down over the decay time; reading decays towards zero, so that an
//! endpoint that was slow or failed is asked again later.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time in which an old estimate loses weight (to 1/e).
pub const DECAY: Duration = Duration::from_secs(10);

/// What an endpoint without history is taken for.
pub const START: Duration = Duration::from_millis(30);

/// No failure raises an estimate beyond this.
const PENALTY_CAP: f32 = 5_000.0;

/// The estimate in milliseconds and when it was made, in milliseconds of the process's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub millis: f32,
    pub at: u32,
}

/// An estimate that several threads update; empty until the endpoint is first considered.
#[derive(Debug, Default)]
pub struct Shared(AtomicU64);

// === impl Estimate ===

impl Estimate {
    /// The estimate as of `now`.
    pub fn read(self, now: u32) -> f32 {
        self.millis * weight(self.at, now)
    }

    /// Takes in one measured time.
    #[must_use]
    pub fn observe(self, now: u32, millis: f32) -> Self {
        if millis > self.millis {
            return Self { millis, at: now };
        }
        let kept = weight(self.at, now);
        Self {
            millis: self.millis * kept + millis * (1.0 - kept),
            at: now,
        }
    }

    /// A failure raises the estimate, whatever time it took: a fast failure must not attract calls.
    #[must_use]
    pub fn penalise(self, now: u32, elapsed: f32) -> Self {
        self.observe(now, PENALTY_CAP.min(elapsed.max(2.0 * self.read(now))))
    }

    /// A time that says only "at least this long".
    #[must_use]
    pub fn censor(self, now: u32, elapsed: f32) -> Self {
        if elapsed > self.millis {
            self.observe(now, elapsed)
        } else {
            self
        }
    }
}

fn weight(since: u32, now: u32) -> f32 {
    // Wraps after 49 days, and a reader may be a moment behind a writer.
    let elapsed = now.wrapping_sub(since) as i32;
    (-(elapsed.max(0) as f32) / DECAY.as_millis() as f32).exp()
}

// === impl Shared ===

impl Shared {
    pub fn load(&self) -> Option<Estimate> {
        unpack(self.0.load(Ordering::Relaxed))
    }

    /// The estimate, started with `start` milliseconds where there is none.
    pub fn load_or_start(&self, now: u32, start: impl FnOnce() -> f32) -> Estimate {
        if let Some(estimate) = self.load() {
            return estimate;
        }
        let fresh = Estimate {
            millis: start(),
            at: now,
        };
        match self
            .0
            .compare_exchange(0, pack(fresh), Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => fresh,
            Err(word) => unpack(word).unwrap_or(fresh),
        }
    }

    pub fn update(&self, now: u32, change: impl Fn(Estimate) -> Estimate) {
        let start = Estimate {
            millis: START.as_millis() as f32,
            at: now,
        };
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                Some(pack(change(unpack(word).unwrap_or(start))))
            });
    }
}

fn pack(estimate: Estimate) -> u64 {
    // Never zero for a real estimate: zero means "none yet".
    let millis = estimate.millis.max(f32::MIN_POSITIVE);
    u64::from(millis.to_bits()) << 32 | u64::from(estimate.at)
}

fn unpack(word: u64) -> Option<Estimate> {
    let millis = (word >> 32) as u32;
    (millis != 0).then(|| Estimate {
        millis: f32::from_bits(millis),
        at: word as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f32, expected: f32) {
        assert!(
            (actual - expected).abs() < 0.0005,
            "{actual} is not {expected}"
        );
    }

    #[test]
    fn the_estimate_follows_the_vector() {
        let mut estimate = Estimate {
            millis: 30.0,
            at: 0,
        };
        for (at, millis, expected) in [
            (500, 5.0, 28.780_74),
            (1000, 5.0, 27.620_94),
            (1100, 100.0, 100.0),
            (2000, 5.0, 91.823_46),
            (12000, 5.0, 36.940_57),
        ] {
            estimate = estimate.observe(at, millis);
            close(estimate.millis, expected);
        }
        close(estimate.read(12_500), 35.138_95);
    }

    #[test]
    fn failures_raise_and_censored_times_only_raise() {
        let estimate = Estimate {
            millis: 10.0,
            at: 0,
        };
        close(estimate.penalise(0, 0.5).millis, 20.0);
        close(estimate.penalise(0, 50.0).millis, 50.0);
        close(
            Estimate {
                millis: 4000.0,
                at: 0,
            }
            .penalise(0, 1.0)
            .millis,
            5000.0,
        );
        close(estimate.censor(0, 3.0).millis, 10.0);
        close(estimate.censor(0, 30.0).millis, 30.0);
    }

    #[test]
    fn a_shared_estimate_starts_once() {
        let shared = Shared::default();
        assert_eq!(shared.load(), None);
        close(shared.load_or_start(7, || 30.0).millis, 30.0);
        close(shared.load_or_start(9, || 99.0).millis, 30.0);
        shared.update(7, |estimate| estimate.observe(7, 200.0));
        assert_eq!(
            shared.load(),
            Some(Estimate {
                millis: 200.0,
                at: 7
            })
        );
    }

    #[test]
    fn the_clock_may_wrap() {
        let estimate = Estimate {
            millis: 10.0,
            at: u32::MAX - 100,
        };
        close(
            estimate.read(u32::MAX.wrapping_add(9_900)),
            10.0 * (-1.0_f32).exp(),
        );
        close(
            Estimate {
                millis: 10.0,
                at: 50,
            }
            .read(0),
            10.0,
        );
    }
}
