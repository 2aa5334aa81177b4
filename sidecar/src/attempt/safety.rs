//! May this attempt be followed by another? One pure decision; the first line that matches names the answer.

use std::time::Duration;

use tokio::time::Instant;

use crate::contract::Class;
use crate::error::Processed;
use crate::grpc::metadata::Pushback;
use crate::outcome::Outcome;
use crate::outcome::consumer::{Condition, Repeat};

/// Why an attempt is the last one, or how the next one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    Stop(Stop),
    /// At once, elsewhere, uncounted and outside the budget.
    Transparent,
    /// After this wait, elsewhere.
    Go(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    Final,
    Committed,
    Buffer,
    Pushback,
    Unsafe,
    NotInPolicy,
    Attempts,
    Deadline,
    Budget,
}

/// What the decision rests on besides the outcome.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub class: Class,
    /// Something of a response was released to the caller.
    pub committed: bool,
    /// The whole request so far can be sent again.
    pub replayable: bool,
    pub transparent_used: bool,
    /// Counted repeats so far.
    pub repeats: u32,
    pub max_repeats: u32,
    pub on: &'a [Condition],
    /// The wait of the backoff, where the peer states none.
    pub backoff: Duration,
    pub deadline: Option<Instant>,
    /// The method's median time here.
    pub median: Duration,
    pub now: Instant,
}

/// Decides; `withdraw` takes one repeat from the budget and is asked last.
pub fn may_retry(
    outcome: &Outcome,
    facts: &Facts<'_>,
    withdraw: impl FnOnce() -> bool,
) -> Decision {
    let repeat = outcome.repeat();
    if repeat == Repeat::Never {
        return Decision::Stop(Stop::Final);
    }
    if facts.committed {
        return Decision::Stop(Stop::Committed);
    }
    if !facts.replayable {
        return Decision::Stop(Stop::Buffer);
    }
    if outcome.pushback == Some(Pushback::Never) {
        return Decision::Stop(Stop::Pushback);
    }
    if repeat == Repeat::Transparent
        && !facts.transparent_used
        && outcome.processed == Processed::No
    {
        return Decision::Transparent;
    }
    if outcome.processed == Processed::Maybe {
        if facts.class == Class::Unknown {
            return Decision::Stop(Stop::Unsafe);
        }
        if !matches!(repeat, Repeat::When(condition) if facts.on.contains(&condition)) {
            return Decision::Stop(Stop::NotInPolicy);
        }
    }
    if facts.repeats >= facts.max_repeats {
        return Decision::Stop(Stop::Attempts);
    }
    let wait = match outcome.pushback {
        Some(Pushback::After(wait)) => wait,
        _ => facts.backoff,
    };
    if facts
        .deadline
        .is_some_and(|deadline| deadline.saturating_duration_since(facts.now) < wait + facts.median)
    {
        return Decision::Stop(Stop::Deadline);
    }
    if !withdraw() {
        return Decision::Stop(Stop::Budget);
    }
    Decision::Go(wait)
}

// === impl Decision ===

impl Decision {
    /// As metrics, trace and log print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transparent => "transparent",
            Self::Go(_) => "go",
            Self::Stop(Stop::Final) => "final",
            Self::Stop(Stop::Committed) => "committed",
            Self::Stop(Stop::Buffer) => "buffer",
            Self::Stop(Stop::Pushback) => "pushback",
            Self::Stop(Stop::Unsafe) => "unsafe",
            Self::Stop(Stop::NotInPolicy) => "not_in_policy",
            Self::Stop(Stop::Attempts) => "attempts",
            Self::Stop(Stop::Deadline) => "deadline",
            Self::Stop(Stop::Budget) => "budget",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Kind as MethodKind;
    use crate::error::{Error, Kind};
    use crate::outcome::judge::Judge;
    use crate::outcome::{By, Ending};
    use tonic::Code;

    const ON: [Condition; 4] = [
        Condition::Unavailable,
        Condition::Transport,
        Condition::Pushback,
        Condition::AttemptTimeout,
    ];

    fn facts(class: Class) -> Facts<'static> {
        Facts {
            class,
            committed: false,
            replayable: true,
            transparent_used: false,
            repeats: 0,
            max_repeats: 1,
            on: &ON,
            backoff: Duration::from_millis(10),
            deadline: None,
            median: Duration::from_millis(1),
            now: Instant::now(),
        }
    }

    fn failed(kind: Kind, processed: Processed, by: By) -> Outcome {
        let error = if processed == Processed::No {
            Error::unprocessed(kind, "table")
        } else {
            Error::new(kind, "table")
        };
        Outcome {
            by,
            ..Judge::new(true, MethodKind::Unary, Instant::now()).failed(&error, Instant::now())
        }
    }

    fn application(code: Code) -> Outcome {
        Outcome {
            code,
            by: By::App,
            reason: None,
            ending: Ending::TrailersOnly,
            ..failed(Kind::Internal, Processed::Maybe, By::App)
        }
    }

    fn decide(outcome: &Outcome, facts: &Facts<'_>) -> Decision {
        may_retry(outcome, facts, || true)
    }

    #[expect(clippy::too_many_lines, reason = "one table, a row a line")]
    #[tokio::test]
    async fn the_first_line_that_matches_answers() {
        let lost = failed(Kind::ConnectionLost, Processed::Maybe, By::Peer);
        let refused = failed(Kind::Refused, Processed::No, By::Peer);
        let down = failed(Kind::NoEndpoint, Processed::No, By::Peer);
        let base = facts(Class::Idempotent);
        let go = Decision::Go(base.backoff);
        for (line, outcome, facts, expected) in [
            (
                "1",
                application(Code::Ok),
                base,
                Decision::Stop(Stop::Final),
            ),
            (
                "1",
                application(Code::NotFound),
                base,
                Decision::Stop(Stop::Final),
            ),
            (
                "3",
                lost,
                Facts {
                    committed: true,
                    ..base
                },
                Decision::Stop(Stop::Committed),
            ),
            (
                "4",
                lost,
                Facts {
                    replayable: false,
                    ..base
                },
                Decision::Stop(Stop::Buffer),
            ),
            (
                "5",
                Outcome {
                    pushback: Some(Pushback::Never),
                    ..lost
                },
                base,
                Decision::Stop(Stop::Pushback),
            ),
            ("6", refused, facts(Class::Unknown), Decision::Transparent),
            (
                "6, again",
                refused,
                Facts {
                    transparent_used: true,
                    ..facts(Class::Unknown)
                },
                go,
            ),
            (
                "7",
                lost,
                facts(Class::Unknown),
                Decision::Stop(Stop::Unsafe),
            ),
            (
                "7",
                application(Code::Unavailable),
                facts(Class::Unknown),
                Decision::Stop(Stop::Unsafe),
            ),
            (
                "8",
                application(Code::Aborted),
                base,
                Decision::Stop(Stop::NotInPolicy),
            ),
            (
                "9",
                lost,
                Facts { repeats: 1, ..base },
                Decision::Stop(Stop::Attempts),
            ),
            (
                "10",
                lost,
                Facts {
                    deadline: Some(base.now + Duration::from_millis(10)),
                    ..base
                },
                Decision::Stop(Stop::Deadline),
            ),
            (
                "12",
                lost,
                Facts {
                    deadline: Some(base.now + Duration::from_millis(11)),
                    ..base
                },
                go,
            ),
            ("12", application(Code::Unavailable), base, go),
            ("12", down, facts(Class::Unknown), go),
            (
                "12",
                Outcome {
                    pushback: Some(Pushback::After(Duration::from_secs(2))),
                    ..down
                },
                base,
                Decision::Go(Duration::from_secs(2)),
            ),
        ] {
            assert_eq!(
                decide(&outcome, &facts),
                expected,
                "line {line}: {outcome:?}"
            );
        }
        assert_eq!(
            may_retry(&lost, &base, || false),
            Decision::Stop(Stop::Budget)
        );
    }

    #[tokio::test]
    async fn nothing_that_may_have_run_is_repeated_without_a_promise() {
        for kind in Kind::all() {
            for by in [By::App, By::Peer, By::Mesh, By::Caller] {
                for transparent_used in [false, true] {
                    let outcome = failed(kind, Processed::Maybe, by);
                    let decision = decide(
                        &outcome,
                        &Facts {
                            transparent_used,
                            ..facts(Class::Unknown)
                        },
                    );
                    assert!(
                        matches!(decision, Decision::Stop(_)),
                        "{outcome:?} -> {decision:?}"
                    );
                }
            }
        }
        for code in 0..=16 {
            let decision = decide(&application(Code::from_i32(code)), &facts(Class::Unknown));
            assert!(matches!(decision, Decision::Stop(_)), "{code}");
        }
    }
}
