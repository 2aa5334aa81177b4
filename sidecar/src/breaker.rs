//! Is an endpoint worth asking? A breaker opens after failures in a row or too low a share of successes, and lets one probe through later.
//!
//! Pure `Copy` state in one word, so that all threads share one view without a lock. Time and randomness come in as arguments; a breaker
//! needs no timer: `Open` becomes `HalfOpen` when a call asks after its time is over.

pub mod guard;

pub mod window;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// When a breaker opens and for how long. The default is preset `standard`.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Opens at this many failures in a row.
    pub consecutive: u8,
    /// Opens when fewer than this share of at least `min_calls` calls in the window succeeded.
    pub success_below: f32,
    pub min_calls: u32,
    /// Open for `open_min`, doubled at each further opening up to `open_max`, times 1.0 to 1.0 + `jitter`.
    pub open_min: Duration,
    pub open_max: Duration,
    pub jitter: f32,
    /// A probe without a result after this long has failed.
    pub probe_timeout: Duration,
    /// Closed this long without a new opening: the open time starts from its minimum again.
    pub forgive: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Closed,
    Open,
    HalfOpen,
}

/// The whole state of one breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub mode: Mode,
    failures: u8,
    /// How often it opened without having been forgiven.
    level: u8,
    /// Open: until when. HalfOpen: when the probe counts as failed. Closed: since when.
    instant: u64,
}

/// What the breaker says to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    Yes,
    /// Yes, as the one probe; its result decides.
    Probe,
    No,
}

/// The breaker of one endpoint, shared by all threads.
#[derive(Debug, Default)]
pub struct Breaker {
    word: AtomicU64,
    window: window::Window,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            consecutive: 7,
            success_below: 0.8,
            min_calls: 20,
            open_min: Duration::from_secs(1),
            open_max: Duration::from_secs(60),
            jitter: 0.5,
            probe_timeout: Duration::from_secs(10),
            forgive: Duration::from_secs(60),
        }
    }
}

impl Config {
    fn open_for(&self, level: u8, random: f32) -> u64 {
        let factor = 1_u32
            .checked_shl(u32::from(level.saturating_sub(1)))
            .unwrap_or(u32::MAX);
        millis(
            self.open_min
                .saturating_mul(factor)
                .min(self.open_max)
                .mul_f32(1.0 + self.jitter * random.clamp(0.0, 1.0)),
        )
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

// === impl State ===

impl State {
    /// What a call may do now; `Probe` and a changed state go together.
    #[must_use]
    pub fn permits(self, config: &Config, now: u64) -> (Permit, Self) {
        match self.mode {
            Mode::Closed => (Permit::Yes, self),
            Mode::Open if now >= self.instant => (
                Permit::Probe,
                Self {
                    mode: Mode::HalfOpen,
                    instant: now + millis(config.probe_timeout),
                    ..self
                },
            ),
            Mode::Open | Mode::HalfOpen => (Permit::No, self),
        }
    }

    /// A HalfOpen whose probe never reported fails.
    #[must_use]
    pub fn overdue(self, config: &Config, now: u64, random: f32) -> Self {
        if self.mode == Mode::HalfOpen && now >= self.instant {
            self.open(config, now, random)
        } else {
            self
        }
    }

    /// A success in a row of calls, or of the probe.
    #[must_use]
    pub fn success(self, config: &Config, now: u64) -> Self {
        match self.mode {
            Mode::Closed => {
                let forgiven =
                    self.level > 0 && now.saturating_sub(self.instant) >= millis(config.forgive);
                Self {
                    failures: 0,
                    level: if forgiven { 0 } else { self.level },
                    ..self
                }
            }
            Mode::HalfOpen => Self {
                mode: Mode::Closed,
                failures: 0,
                instant: now,
                ..self
            },
            Mode::Open => self,
        }
    }

    /// A failure; `poor`: the window's share of successes is too low.
    #[must_use]
    pub fn failure(self, config: &Config, poor: bool, now: u64, random: f32) -> Self {
        match self.mode {
            Mode::Closed => {
                let failures = self.failures.saturating_add(1);
                if failures >= config.consecutive || poor {
                    let forgiven = now.saturating_sub(self.instant) >= millis(config.forgive);
                    Self {
                        level: if forgiven { 0 } else { self.level },
                        ..self
                    }
                    .open(config, now, random)
                } else {
                    Self { failures, ..self }
                }
            }
            Mode::HalfOpen => self.open(config, now, random),
            Mode::Open => self,
        }
    }

    /// The probe said nothing either way: its slot is free again for the next call.
    #[must_use]
    pub fn undecided(self, now: u64) -> Self {
        if self.mode == Mode::HalfOpen {
            Self {
                mode: Mode::Open,
                instant: now,
                ..self
            }
        } else {
            self
        }
    }

    fn open(self, config: &Config, now: u64, random: f32) -> Self {
        let level = self.level.saturating_add(1).min(15);
        Self {
            mode: Mode::Open,
            failures: 0,
            level,
            instant: now + config.open_for(level, random),
        }
    }

    /// Until when an open breaker stays open, or a probe has time.
    pub fn until(self) -> u64 {
        self.instant
    }

    /// Open: until when.
    pub fn open_until(self) -> Option<u64> {
        (self.mode == Mode::Open).then_some(self.instant)
    }

    fn pack(self) -> u64 {
        let mode = match self.mode {
            Mode::Closed => 0,
            Mode::Open => 1,
            Mode::HalfOpen => 2,
        };
        mode | u64::from(self.failures) << 2
            | u64::from(self.level) << 10
            | self.instant.min((1 << 50) - 1) << 14
    }

    fn unpack(word: u64) -> Self {
        let mode = match word & 3 {
            1 => Mode::Open,
            2 => Mode::HalfOpen,
            _ => Mode::Closed,
        };
        Self {
            mode,
            failures: (word >> 2 & 0xff) as u8,
            level: (word >> 10 & 0xf) as u8,
            instant: word >> 14,
        }
    }
}

// === impl Breaker ===

impl Breaker {
    pub fn state(&self) -> State {
        State::unpack(self.word.load(Ordering::Acquire))
    }

    /// Whether a call could go now, without taking the probe.
    pub fn would_permit(&self, config: &Config, now: u64) -> bool {
        self.state()
            .overdue(config, now, 0.0)
            .permits(config, now)
            .0
            != Permit::No
    }

    /// Asks for this call, taking the probe if it is due. Two threads cannot both get it.
    pub fn permit(&self, config: &Config, now: u64, random: f32) -> Permit {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let state = State::unpack(word).overdue(config, now, random);
            let (permit, next) = state.permits(config, now);
            match self.word.compare_exchange_weak(
                word,
                next.pack(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return permit,
                Err(current) => word = current,
            }
        }
    }

    /// Records a success; returns the mode it changed to, if it changed.
    pub fn success(&self, config: &Config, now: u64) -> Option<Mode> {
        self.window.add(now, true);
        self.change(|state| state.success(config, now))
    }

    /// Records a failure; returns the mode it changed to, if it changed.
    pub fn failure(&self, config: &Config, now: u64, random: f32) -> Option<Mode> {
        self.window.add(now, false);
        let poor = self
            .window
            .is_poor(now, config.success_below, config.min_calls);
        let changed = self.change(|state| state.failure(config, poor, now, random));
        if changed == Some(Mode::Open) {
            // The old share must not open it again right after the probe closed it.
            self.window.clear();
        }
        changed
    }

    /// A probe ended without a verdict.
    pub fn undecided(&self, now: u64) {
        self.change(|state| state.undecided(now));
    }

    fn change(&self, update: impl Fn(State) -> State) -> Option<Mode> {
        let before = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                Some(update(State::unpack(word)).pack())
            })
            .unwrap_or_else(|word| word);
        let before = State::unpack(before);
        let after = update(before);
        (after.mode != before.mode).then_some(after.mode)
    }
}

#[cfg(test)]
mod tests;
