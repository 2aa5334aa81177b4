//! What a saga of several steps remembers and owes, without a database: the steps of placing an order, what each
//! outcome obliges to, and how a participant's answer is understood.
//!
//! Three rules carry it. A step's intent is on disk before its request leaves. Undoing is owed from the intent on,
//! not from success: only a definite "no" owes nothing. And undoing before doing is safe at every participant.

use std::fmt;
use std::str::FromStr;

use outrigger_proto::shop::orders::v1::order::Rejection;
use shop_chassis::status;
use tonic::{Code, Status};

/// A remote step of placing an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Look up prices and address.
    Quote,
    /// Hold the goods.
    Reserve,
    /// Hold the money.
    Authorize,
    /// Hold the goods without an end.
    Secure,
    /// Take the money.
    Capture,
}

/// What may have to be undone, latest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Money held or taken.
    Payment,
    /// Goods held.
    Reservation,
}

/// Forward or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Doing.
    Forward,
    /// Undoing.
    Undo,
}

/// How far a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// Its request is on disk and may have left.
    Intent,
    /// It was done.
    Done,
    /// A definite "no".
    Refused,
    /// No definite answer within its time.
    Unknown,
    /// It was undone.
    Undone,
}

/// How far a saga has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Going forward.
    Running,
    /// Undoing; the order's outcome is decided.
    Compensating,
    /// Everything was done.
    Succeeded,
    /// Everything was undone.
    Compensated,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 5] = [
        Self::Quote,
        Self::Reserve,
        Self::Authorize,
        Self::Secure,
        Self::Capture,
    ];

    /// The name in the database, in keys and in failpoints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quote => "quote",
            Self::Reserve => "reserve",
            Self::Authorize => "authorize",
            Self::Secure => "secure",
            Self::Capture => "capture",
        }
    }

    /// Why the order was given up when this step got no definite answer.
    pub fn unavailable(self) -> &'static str {
        match self {
            Self::Quote => "CATALOG_UNAVAILABLE",
            Self::Reserve | Self::Secure => "INVENTORY_UNAVAILABLE",
            Self::Authorize | Self::Capture => "PAYMENTS_UNAVAILABLE",
        }
    }

    /// What the step leaves behind.
    pub fn resource(self) -> Option<Resource> {
        match self {
            Self::Quote => None,
            Self::Reserve | Self::Secure => Some(Resource::Reservation),
            Self::Authorize | Self::Capture => Some(Resource::Payment),
        }
    }
}

impl Resource {
    /// The step that brings it into being, under which its undoing is recorded.
    pub fn step(self) -> Step {
        match self {
            Self::Payment => Step::Authorize,
            Self::Reservation => Step::Reserve,
        }
    }
}

impl Direction {
    /// The name in the database and in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "fwd",
            Self::Undo => "undo",
        }
    }
}

impl StepState {
    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intent => "INTENT",
            Self::Done => "DONE",
            Self::Refused => "REFUSED",
            Self::Unknown => "UNKNOWN",
            Self::Undone => "UNDONE",
        }
    }
}

impl State {
    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Compensating => "COMPENSATING",
            Self::Succeeded => "SUCCEEDED",
            Self::Compensated => "COMPENSATED",
        }
    }
}

/// A name in the database that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown saga name `{0}` in the database")]
pub struct UnknownName(String);

impl FromStr for Step {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|step| step.name() == name)
            .ok_or_else(|| UnknownName(name.to_owned()))
    }
}

impl FromStr for StepState {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        [
            Self::Intent,
            Self::Done,
            Self::Refused,
            Self::Unknown,
            Self::Undone,
        ]
        .into_iter()
        .find(|state| state.name() == name)
        .ok_or_else(|| UnknownName(name.to_owned()))
    }
}

impl FromStr for State {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        [
            Self::Running,
            Self::Compensating,
            Self::Succeeded,
            Self::Compensated,
        ]
        .into_iter()
        .find(|state| state.name() == name)
        .ok_or_else(|| UnknownName(name.to_owned()))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The key a participant sees: no attempt number and nothing random, so every repeat is the same request.
pub fn key(order_id: &str, step: Step, direction: Direction) -> String {
    format!("saga/{order_id}/{}/{}", step.name(), direction.name())
}

/// What is still to be undone, latest first, given how far each step came.
pub fn owed(steps: &[(Step, Direction, StepState)]) -> Vec<Resource> {
    let begun = |resource: Resource| {
        steps.iter().any(|(step, direction, state)| {
            *direction == Direction::Forward
                && *step == resource.step()
                && matches!(
                    state,
                    StepState::Intent | StepState::Done | StepState::Unknown
                )
        })
    };
    let undone = |resource: Resource| {
        steps.iter().any(|(step, direction, state)| {
            *direction == Direction::Undo && *step == resource.step() && *state == StepState::Undone
        })
    };
    [Resource::Payment, Resource::Reservation]
        .into_iter()
        .filter(|resource| begun(*resource) && !undone(*resource))
        .collect()
}

/// How a participant's error is to be taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// A definite business "no".
    Refused(Rejection),
    /// Nobody knows; the same request finds out.
    Again,
    /// A request that should never have been made: a repeat cannot help.
    Defect,
}

/// Reads the reason first, then the code.
pub fn classify(error: &Status) -> Verdict {
    let info = status::error_info(error).filter(|info| info.domain == status::DOMAIN);
    match (error.code(), info) {
        (Code::FailedPrecondition | Code::NotFound, Some(info)) => Verdict::Refused(Rejection {
            reason: info.reason,
            message: error.message().to_owned(),
            metadata: info.metadata,
        }),
        (
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::ResourceExhausted
            | Code::Internal
            | Code::Unknown
            | Code::Cancelled,
            _,
        ) => Verdict::Again,
        _ => Verdict::Defect,
    }
}

/// The rejection of an order whose step got no definite answer.
pub fn given_up(step: Step) -> Rejection {
    let service = match step.unavailable() {
        "CATALOG_UNAVAILABLE" => "the catalogue",
        "INVENTORY_UNAVAILABLE" => "the warehouse",
        _ => "the payment service",
    };
    Rejection {
        reason: step.unavailable().to_owned(),
        message: format!(
            "{service} gave no answer in time and everything was undone; place a new order with a new key"
        ),
        metadata: [("step".to_owned(), step.name().to_owned())].into(),
    }
}

/// The rejection of an order whose address could not be looked up.
pub fn no_identity() -> Rejection {
    Rejection {
        reason: "IDENTITY_UNAVAILABLE".to_owned(),
        message: "the users' addresses could not be read in time and everything was undone; \
                  place a new order with a new key"
            .to_owned(),
        metadata: [("step".to_owned(), Step::Quote.name().to_owned())].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Forward, Undo};
    use Resource::{Payment, Reservation};
    use StepState::{Done, Intent, Refused, Undone, Unknown};
    use shop_chassis::Failure;

    #[test]
    fn undoing_is_owed_from_the_intent_on() {
        let reserved = (Step::Reserve, Forward, Done);
        let paid = (Step::Authorize, Forward, Done);
        type Case<'a> = (&'a [(Step, Direction, StepState)], &'a [Resource]);
        let cases: &[Case<'_>] = &[
            (&[], &[]),
            (&[(Step::Quote, Forward, Done)], &[]),
            (&[(Step::Reserve, Forward, Intent)], &[Reservation]),
            (&[(Step::Reserve, Forward, Unknown)], &[Reservation]),
            (&[(Step::Reserve, Forward, Refused)], &[]),
            (
                &[reserved, (Step::Authorize, Forward, Refused)],
                &[Reservation],
            ),
            (
                &[reserved, (Step::Authorize, Forward, Intent)],
                &[Payment, Reservation],
            ),
            (
                &[reserved, paid, (Step::Secure, Forward, Refused)],
                &[Payment, Reservation],
            ),
            (
                &[reserved, paid, (Step::Capture, Forward, Refused)],
                &[Payment, Reservation],
            ),
            (
                &[reserved, paid, (Step::Authorize, Undo, Undone)],
                &[Reservation],
            ),
            (
                &[reserved, paid, (Step::Authorize, Undo, Intent)],
                &[Payment, Reservation],
            ),
            (
                &[
                    reserved,
                    paid,
                    (Step::Authorize, Undo, Undone),
                    (Step::Reserve, Undo, Undone),
                ],
                &[],
            ),
        ];
        for (steps, expected) in cases {
            assert_eq!(owed(steps), *expected, "{steps:?}");
        }
    }

    #[test]
    fn an_answer_is_read_by_reason_then_by_code() {
        let refusal = Failure::new(Code::FailedPrecondition, "OUT_OF_STOCK", "none left");
        assert!(matches!(
            classify(&refusal.with("sku", "4521").into()),
            Verdict::Refused(rejection)
                if rejection.reason == "OUT_OF_STOCK" && rejection.metadata["sku"] == "4521"
        ));
        for (code, expected) in [
            (Code::Unavailable, Verdict::Again),
            (Code::DeadlineExceeded, Verdict::Again),
            (Code::Aborted, Verdict::Again),
            (Code::ResourceExhausted, Verdict::Again),
            (Code::Internal, Verdict::Again),
            (Code::Unknown, Verdict::Again),
            (Code::Cancelled, Verdict::Again),
            (Code::InvalidArgument, Verdict::Defect),
            (Code::Unimplemented, Verdict::Defect),
            (Code::PermissionDenied, Verdict::Defect),
            // Without a reason of the shop's own, a code alone is no business answer.
            (Code::FailedPrecondition, Verdict::Defect),
        ] {
            assert_eq!(classify(&Status::new(code, "x")), expected, "{code:?}");
        }
    }

    #[test]
    fn keys_are_the_same_at_every_attempt() {
        assert_eq!(key("0197", Step::Reserve, Undo), "saga/0197/reserve/undo");
    }
}
