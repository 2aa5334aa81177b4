//! Named points at which a test lets the process die, as `kill -9` would:
//! `OUTRIGGER_CRASH_AT=point[:nth]` aborts at the nth time the point is
//! reached (default the first). Nothing is armed unless `main` finds the
//! variable, so a point costs one load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static ARMED: OnceLock<Failpoint> = OnceLock::new();

#[derive(Debug, thiserror::Error)]
#[error("OUTRIGGER_CRASH_AT = {0:?}: expected point or point:nth, nth from 1")]
pub struct Error(String);

#[derive(Debug)]
struct Failpoint {
    point: String,
    left: AtomicU32,
}

/// Aborts the process when `point` is the armed one and its turn has come.
pub fn reached(point: &str) {
    if let Some(armed) = ARMED.get()
        && armed.fires(point)
    {
        tracing::warn!(point, "crashing as told");
        std::process::abort();
    }
}

pub(crate) fn arm(setting: Option<&str>) -> Result<(), Error> {
    if let Some(text) = setting {
        let failpoint = Failpoint::parse(text)?;
        tracing::warn!(setting = text, "this process will crash at a failpoint");
        ARMED.get_or_init(|| failpoint);
    }
    Ok(())
}

impl Failpoint {
    fn parse(text: &str) -> Result<Self, Error> {
        let (point, nth) = match text.rsplit_once(':') {
            Some((point, nth)) => (point, nth.parse().map_err(|_| Error(text.to_owned()))?),
            None => (text, 1),
        };
        if point.is_empty() || nth == 0 {
            return Err(Error(text.to_owned()));
        }
        Ok(Self {
            point: point.to_owned(),
            left: AtomicU32::new(nth),
        })
    }

    fn fires(&self, point: &str) -> bool {
        self.point == point
            && self
                .left
                .try_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                == Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_time_fires_once() {
        let failpoint = Failpoint::parse("orders.reserve.sent:2").unwrap();
        let reached = [
            "orders.reserve.sent",
            "other",
            "orders.reserve.sent",
            "orders.reserve.sent",
        ];
        assert_eq!(
            reached.map(|point| failpoint.fires(point)),
            [false, false, true, false]
        );
    }

    #[test]
    fn what_is_no_failpoint_is_refused() {
        for text in ["", ":1", "a:0", "a:b", "a:"] {
            assert!(Failpoint::parse(text).is_err(), "{text}");
        }
    }
}
