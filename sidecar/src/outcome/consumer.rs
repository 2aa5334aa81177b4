//! What each consumer makes of an `Outcome`: the breaker, the latency estimate, the retry decision. Total over code, then reason.

use tonic::Code;

use super::{By, Ending, Outcome};
use crate::error::Kind;
use crate::grpc::metadata::Pushback;

/// What an outcome does to an endpoint's breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Success,
    Failure,
    Neutral,
    /// Neutral, and the endpoint gets no new calls for a while: it says it is leaving or not there yet.
    Hold,
}

/// What an outcome adds to an endpoint's latency estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    Full,
    Failure,
    /// Used only if larger than the estimate.
    Censored,
    Nothing,
}

/// A condition a policy may list in `retry.on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    Unavailable,
    Transport,
    Pushback,
    AttemptTimeout,
    ResourceExhausted,
    Aborted,
    Internal,
    Unknown,
    Cancelled,
}

/// Whether an outcome may be followed by another attempt at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    Never,
    /// At once, once, uncounted, whatever the method promises.
    Transparent,
    /// Counted, whatever the method promises: it is proved that nobody acted on the call.
    Any,
    /// By contract, and if the policy lists the condition.
    When(Condition),
}

impl Outcome {
    /// `blamed`: the endpoint had the call for more than half of its time.
    pub fn effect(&self, blamed: bool) -> Effect {
        let deadline = if blamed {
            Effect::Failure
        } else {
            Effect::Neutral
        };
        let Some(reason) = self.reason else {
            return match self.code {
                Code::Ok
                | Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unauthenticated
                | Code::PermissionDenied
                | Code::Aborted
                | Code::Unimplemented => Effect::Success,
                Code::Cancelled | Code::ResourceExhausted => Effect::Neutral,
                Code::DeadlineExceeded => deadline,
                Code::Unknown | Code::Internal | Code::Unavailable | Code::DataLoss => {
                    Effect::Failure
                }
            };
        };
        match reason {
            Kind::Reset if self.calm() => Effect::Neutral,
            Kind::ConnectionLost | Kind::Reset | Kind::MissingTrailers | Kind::Protocol => {
                Effect::Failure
            }
            Kind::NoEndpoint if self.by == By::Peer => Effect::Failure,
            Kind::Draining | Kind::NotReady if self.by == By::Peer => Effect::Hold,
            Kind::DeadlineExceeded => deadline,
            Kind::Stalled => Effect::Failure,
            Kind::Refused
            | Kind::Overloaded
            | Kind::RateLimited
            | Kind::NoEndpoint
            | Kind::BreakerOpen
            | Kind::Draining
            | Kind::NotReady
            | Kind::DeadlineTooShort
            | Kind::RequestTooSlow
            | Kind::Cancelled
            | Kind::Cut
            | Kind::Denied
            | Kind::Unauthenticated
            | Kind::Malformed
            | Kind::NotGrpc
            | Kind::NoSuchMethod
            | Kind::TooLarge
            | Kind::Connect
            | Kind::Handshake
            | Kind::NoRoute
            | Kind::Loop
            | Kind::Internal
            | Kind::FaultInjected => Effect::Neutral,
        }
    }

    pub fn sample(&self) -> Sample {
        let Some(reason) = self.reason else {
            return match self.code {
                Code::Cancelled => Sample::Nothing,
                Code::DeadlineExceeded => Sample::Censored,
                Code::Unknown
                | Code::ResourceExhausted
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss => Sample::Failure,
                Code::Ok
                | Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::Unauthenticated => Sample::Full,
            };
        };
        match (reason, self.by) {
            (Kind::ConnectionLost | Kind::Reset | Kind::MissingTrailers | Kind::Protocol, _) => {
                Sample::Failure
            }
            (Kind::Overloaded | Kind::RateLimited | Kind::NoEndpoint, By::Peer) => Sample::Failure,
            (Kind::DeadlineExceeded | Kind::Cancelled | Kind::Stalled, _) => Sample::Censored,
            _ => Sample::Nothing,
        }
    }

    pub fn repeat(&self) -> Repeat {
        let Some(reason) = self.reason else {
            return match self.code {
                Code::Unavailable => Repeat::When(Condition::Unavailable),
                Code::ResourceExhausted if matches!(self.pushback, Some(Pushback::After(_))) => {
                    Repeat::When(Condition::Pushback)
                }
                Code::ResourceExhausted => Repeat::When(Condition::ResourceExhausted),
                Code::Aborted => Repeat::When(Condition::Aborted),
                Code::Internal => Repeat::When(Condition::Internal),
                Code::Unknown => Repeat::When(Condition::Unknown),
                Code::Cancelled => Repeat::When(Condition::Cancelled),
                Code::Ok
                | Code::InvalidArgument
                | Code::DeadlineExceeded
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::DataLoss
                | Code::Unauthenticated => Repeat::Never,
            };
        };
        match (reason, self.by) {
            (Kind::Refused, _) | (Kind::Draining | Kind::NotReady, By::Peer) => Repeat::Transparent,
            (Kind::Reset, _) if self.calm() => Repeat::Never,
            (Kind::ConnectionLost | Kind::Reset | Kind::MissingTrailers | Kind::Cut, _) => {
                Repeat::When(Condition::Transport)
            }
            (Kind::Overloaded | Kind::RateLimited | Kind::NoEndpoint, By::Peer)
            | (Kind::Connect | Kind::Handshake, _) => Repeat::Any,
            (Kind::DeadlineExceeded, _) if self.ending == Ending::AttemptTimeout => {
                Repeat::When(Condition::AttemptTimeout)
            }
            _ => Repeat::Never,
        }
    }

    /// The peer asked for calm (ENHANCE_YOUR_CALM): repeating is the opposite.
    fn calm(&self) -> bool {
        self.ending == Ending::Reset(11)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;
    use crate::error::{Error, Processed};
    use crate::outcome::judge::Judge;
    use tokio::time::Instant;

    fn judge() -> Judge {
        Judge::new(true, contract::Kind::Unknown, Instant::now())
    }

    fn application(code: Code) -> Outcome {
        let base = judge().dropped(Instant::now());
        Outcome {
            code,
            by: By::App,
            reason: None,
            ending: Ending::Trailers,
            ..base
        }
    }

    fn reasoned(kind: Kind, by: By) -> Outcome {
        let base = judge().failed(&Error::new(kind, "table"), Instant::now());
        Outcome { by, ..base }
    }

    fn check(outcome: &Outcome, effect: Effect, sample: Sample, repeat: Repeat) {
        assert_eq!(
            (outcome.effect(true), outcome.sample(), outcome.repeat()),
            (effect, sample, repeat),
            "{outcome:?}"
        );
    }

    #[expect(clippy::too_many_lines, reason = "one table, a row a line")]
    #[tokio::test]
    async fn an_applications_codes_move_the_consumers_as_the_table_says() {
        use Code::*;
        for (code, effect, sample, repeat) in [
            (Ok, Effect::Success, Sample::Full, Repeat::Never),
            (
                Cancelled,
                Effect::Neutral,
                Sample::Nothing,
                Repeat::When(Condition::Cancelled),
            ),
            (
                Unknown,
                Effect::Failure,
                Sample::Failure,
                Repeat::When(Condition::Unknown),
            ),
            (
                InvalidArgument,
                Effect::Success,
                Sample::Full,
                Repeat::Never,
            ),
            (NotFound, Effect::Success, Sample::Full, Repeat::Never),
            (AlreadyExists, Effect::Success, Sample::Full, Repeat::Never),
            (
                FailedPrecondition,
                Effect::Success,
                Sample::Full,
                Repeat::Never,
            ),
            (OutOfRange, Effect::Success, Sample::Full, Repeat::Never),
            (
                Unauthenticated,
                Effect::Success,
                Sample::Full,
                Repeat::Never,
            ),
            (
                PermissionDenied,
                Effect::Success,
                Sample::Full,
                Repeat::Never,
            ),
            (
                DeadlineExceeded,
                Effect::Failure,
                Sample::Censored,
                Repeat::Never,
            ),
            (
                ResourceExhausted,
                Effect::Neutral,
                Sample::Failure,
                Repeat::When(Condition::ResourceExhausted),
            ),
            (
                Aborted,
                Effect::Success,
                Sample::Full,
                Repeat::When(Condition::Aborted),
            ),
            (Unimplemented, Effect::Success, Sample::Full, Repeat::Never),
            (
                Internal,
                Effect::Failure,
                Sample::Failure,
                Repeat::When(Condition::Internal),
            ),
            (
                Unavailable,
                Effect::Failure,
                Sample::Failure,
                Repeat::When(Condition::Unavailable),
            ),
            (DataLoss, Effect::Failure, Sample::Failure, Repeat::Never),
        ] {
            check(&application(code), effect, sample, repeat);
        }
        assert_eq!(application(DeadlineExceeded).effect(false), Effect::Neutral);
        let pushed = Outcome {
            pushback: Some(Pushback::After(std::time::Duration::ZERO)),
            ..application(ResourceExhausted)
        };
        assert_eq!(pushed.repeat(), Repeat::When(Condition::Pushback));
    }

    #[expect(clippy::too_many_lines, reason = "one table, a row a line")]
    #[tokio::test]
    async fn reasons_move_the_consumers_as_the_table_says() {
        let transport = Repeat::When(Condition::Transport);
        for (kind, by, effect, sample, repeat) in [
            (
                Kind::Refused,
                By::Peer,
                Effect::Neutral,
                Sample::Nothing,
                Repeat::Transparent,
            ),
            (
                Kind::ConnectionLost,
                By::Peer,
                Effect::Failure,
                Sample::Failure,
                transport,
            ),
            (
                Kind::Reset,
                By::Peer,
                Effect::Failure,
                Sample::Failure,
                transport,
            ),
            (
                Kind::MissingTrailers,
                By::Peer,
                Effect::Failure,
                Sample::Failure,
                transport,
            ),
            (
                Kind::Protocol,
                By::Peer,
                Effect::Failure,
                Sample::Failure,
                Repeat::Never,
            ),
            (
                Kind::Overloaded,
                By::Peer,
                Effect::Neutral,
                Sample::Failure,
                Repeat::Any,
            ),
            (
                Kind::RateLimited,
                By::Peer,
                Effect::Neutral,
                Sample::Failure,
                Repeat::Any,
            ),
            (
                Kind::NoEndpoint,
                By::Peer,
                Effect::Failure,
                Sample::Failure,
                Repeat::Any,
            ),
            (
                Kind::Draining,
                By::Peer,
                Effect::Hold,
                Sample::Nothing,
                Repeat::Transparent,
            ),
            (
                Kind::NotReady,
                By::Peer,
                Effect::Hold,
                Sample::Nothing,
                Repeat::Transparent,
            ),
            (
                Kind::NoEndpoint,
                By::Mesh,
                Effect::Neutral,
                Sample::Nothing,
                Repeat::Never,
            ),
            (
                Kind::BreakerOpen,
                By::Mesh,
                Effect::Neutral,
                Sample::Nothing,
                Repeat::Never,
            ),
            (
                Kind::Overloaded,
                By::Mesh,
                Effect::Neutral,
                Sample::Nothing,
                Repeat::Never,
            ),
            (
                Kind::DeadlineExceeded,
                By::Mesh,
                Effect::Failure,
                Sample::Censored,
                Repeat::Never,
            ),
            (
                Kind::DeadlineTooShort,
                By::Mesh,
                Effect::Neutral,
                Sample::Nothing,
                Repeat::Never,
            ),
            (
                Kind::Cancelled,
                By::Caller,
                Effect::Neutral,
                Sample::Censored,
                Repeat::Never,
            ),
            (
                Kind::Stalled,
                By::Mesh,
                Effect::Failure,
                Sample::Censored,
                Repeat::Never,
            ),
            (
                Kind::Cut,
                By::Mesh,
                Effect::Neutral,
                Sample::Nothing,
                transport,
            ),
            (
                Kind::Denied,
                By::Peer,
                Effect::Neutral,
                Sample::Nothing,
                Repeat::Never,
            ),
            (
                Kind::Unauthenticated,
                By::Peer,
                Effect::Neutral,
                Sample::Nothing,
                Repeat::Never,
            ),
            (
                Kind::Malformed,
                By::Peer,
                Effect::Neutral,
                Sample::Nothing,
                Repeat::Never,
            ),
            (
                Kind::TooLarge,
                By::Peer,
                Effect::Neutral,
                Sample::Nothing,
                Repeat::Never,
            ),
            (
                Kind::NoSuchMethod,
                By::Peer,
                Effect::Neutral,
                Sample::Nothing,
                Repeat::Never,
            ),
        ] {
            check(&reasoned(kind, by), effect, sample, repeat);
        }
        let calm = judge().failed(&Error::reset(11, Processed::Maybe), Instant::now());
        assert_eq!(
            (calm.effect(true), calm.sample(), calm.repeat()),
            (Effect::Neutral, Sample::Failure, Repeat::Never)
        );
        let timed_out = Outcome {
            ending: Ending::AttemptTimeout,
            ..reasoned(Kind::DeadlineExceeded, By::Mesh)
        };
        assert_eq!(timed_out.repeat(), Repeat::When(Condition::AttemptTimeout));
    }
}
