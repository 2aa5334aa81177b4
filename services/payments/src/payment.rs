//! A payment's states and what each request does to them, without a database.
//!
//! `PENDING -> AUTHORIZED -> CAPTURED`, or `DECLINED`; and from every one of them `CANCELLING -> CANCELLED`, which
//! undoes whatever happened. Cancelling an order nobody charged leaves a CANCELLED row behind: a tombstone, so that
//! a charge that arrives late is refused.

use std::fmt;
use std::str::FromStr;

/// Where a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The processor was asked, or is about to be; its answer is not known.
    Pending,
    /// The money is held for us.
    Authorized,
    /// The money is ours.
    Captured,
    /// The processor said no.
    Declined,
    /// Being undone; the processor has not acknowledged it yet.
    Cancelling,
    /// Undone, or a tombstone.
    Cancelled,
}

impl State {
    const ALL: [Self; 6] = [
        Self::Pending,
        Self::Authorized,
        Self::Captured,
        Self::Declined,
        Self::Cancelling,
        Self::Cancelled,
    ];

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Authorized => "AUTHORIZED",
            Self::Captured => "CAPTURED",
            Self::Declined => "DECLINED",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A name in the database that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown {kind} `{name}` in the database")]
pub struct UnknownName {
    /// What the name should have named.
    pub kind: &'static str,
    /// The name.
    pub name: String,
}

impl FromStr for State {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or_else(|| UnknownName {
                kind: "payment state",
                name: name.to_owned(),
            })
    }
}

/// What is asked of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Hold the money.
    Authorize,
    /// Take the money that is held.
    Capture,
    /// Undo whatever happened.
    Cancel,
}

/// What the request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Ask the processor, with the key that belongs to the request; a repeat asks with the same key.
    Ask,
    /// It already happened; answer what is there.
    Nothing,
    /// A rule says no.
    Refuse(Refusal),
}

/// Why a rule says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody asked for this order's money.
    Unknown,
    /// The order was undone before this request arrived.
    Revoked,
    /// The processor declined the charge; its reason is on the row.
    Declined,
    /// There is no authorisation to capture.
    NotAuthorized,
}

/// The whole state machine.
pub fn decide(current: Option<State>, request: Request) -> Decision {
    use Decision::{Ask, Nothing, Refuse};
    match (request, current) {
        (Request::Authorize, None | Some(State::Pending))
        | (Request::Capture, Some(State::Authorized))
        | (
            Request::Cancel,
            None | Some(State::Pending | State::Authorized | State::Captured | State::Cancelling),
        ) => Ask,
        (Request::Authorize, Some(State::Authorized | State::Captured))
        | (Request::Capture, Some(State::Captured))
        // A declined charge moved nothing, and the same key is declined again.
        | (Request::Cancel, Some(State::Declined | State::Cancelled)) => Nothing,
        (Request::Authorize, Some(State::Declined)) => Refuse(Refusal::Declined),
        (Request::Authorize | Request::Capture, Some(State::Cancelling | State::Cancelled)) => {
            Refuse(Refusal::Revoked)
        }
        (Request::Capture, None) => Refuse(Refusal::Unknown),
        (Request::Capture, Some(State::Pending | State::Declined)) => {
            Refuse(Refusal::NotAuthorized)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_in_every_state_has_one_answer() {
        use Decision::{Ask, Nothing, Refuse};
        let revoked = Refuse(Refusal::Revoked);
        let declined = Refuse(Refusal::Declined);
        let not_authorized = Refuse(Refusal::NotAuthorized);
        let unknown = Refuse(Refusal::Unknown);
        // Columns: no row, PENDING, AUTHORIZED, CAPTURED, DECLINED, CANCELLING, CANCELLED.
        let table = [
            (
                Request::Authorize,
                [Ask, Ask, Nothing, Nothing, declined, revoked, revoked],
            ),
            (
                Request::Capture,
                [
                    unknown,
                    not_authorized,
                    Ask,
                    Nothing,
                    not_authorized,
                    revoked,
                    revoked,
                ],
            ),
            (Request::Cancel, [Ask, Ask, Ask, Ask, Nothing, Ask, Nothing]),
        ];
        for (request, answers) in table {
            let states = std::iter::once(None).chain(State::ALL.into_iter().map(Some));
            for (current, expected) in states.zip(answers) {
                assert_eq!(
                    decide(current, request),
                    expected,
                    "{request:?} on {current:?}"
                );
            }
        }
    }

    #[test]
    fn names_survive_a_round_trip() {
        for state in State::ALL {
            assert_eq!(state.name().parse::<State>().unwrap(), state);
        }
        assert!("PAID".parse::<State>().is_err());
    }
}
