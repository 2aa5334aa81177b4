//! A reservation's states and what each request does to them, without a database.
//!
//! `PENDING -> CONFIRMED -> COMMITTED`, or `RELEASED` by the order's compensation, or `EXPIRED` by the sweeper.
//! Releasing an order nobody reserved for leaves a RELEASED row behind: a tombstone, so that a reservation that
//! arrives late is refused instead of holding stock for an order that was given up.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How long stock is held for an order that has not been secured: longer than any order may take to be decided.
pub const TIME_TO_LIVE_MICROS: i64 = 15 * 60 * 1_000_000;

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Stock is held, for a limited time.
    Pending,
    /// Stock is held until the goods leave or the order is undone.
    Confirmed,
    /// The goods have left; nothing is held any more.
    Committed,
    /// Given back, or a tombstone for an order that never reserved.
    Released,
    /// Given back by the sweeper.
    Expired,
}

impl State {
    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Confirmed => "CONFIRMED",
            Self::Committed => "COMMITTED",
            Self::Released => "RELEASED",
            Self::Expired => "EXPIRED",
        }
    }

    /// Whether this state still keeps units away from others.
    pub fn holds_stock(self) -> bool {
        matches!(self, Self::Pending | Self::Confirmed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A state name the code does not know: the row was written by something newer, or damaged.
#[derive(Debug, thiserror::Error)]
#[error("unknown reservation state `{0}`")]
pub struct UnknownState(String);

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [
            Self::Pending,
            Self::Confirmed,
            Self::Committed,
            Self::Released,
            Self::Expired,
        ]
        .into_iter()
        .find(|state| state.name() == name)
        .ok_or_else(|| UnknownState(name.to_owned()))
    }
}

/// What is asked of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Hold every line, or none.
    Create,
    /// Hold without an end.
    Confirm,
    /// Give back whatever is held.
    Release,
    /// The sweeper found it too old.
    Expire,
}

/// What the request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Move to this state, with the stock movement that belongs to it.
    Become(State),
    /// It already happened; answer what is there.
    Nothing,
    /// A rule says no.
    Refuse(Refusal),
}

/// Why a rule says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody reserved for this order.
    Unknown,
    /// The order was undone before this request arrived.
    Revoked,
    /// The reservation was given back because it was not confirmed in time.
    Expired,
    /// The goods have left.
    Dispatched,
}

/// The whole state machine.
pub fn decide(current: Option<State>, request: Request) -> Decision {
    use Decision::{Become, Nothing, Refuse};
    match (request, current) {
        (Request::Create, None) => Become(State::Pending),
        (Request::Create, Some(State::Pending | State::Confirmed | State::Committed)) => Nothing,
        (Request::Confirm, Some(State::Pending)) => Become(State::Confirmed),
        (Request::Confirm, Some(State::Confirmed | State::Committed)) => Nothing,
        (Request::Create | Request::Confirm, Some(State::Released)) => Refuse(Refusal::Revoked),
        (Request::Create | Request::Confirm, Some(State::Expired)) => Refuse(Refusal::Expired),
        (Request::Confirm, None) => Refuse(Refusal::Unknown),
        (Request::Release, None | Some(State::Pending | State::Confirmed)) => {
            Become(State::Released)
        }
        (Request::Release, Some(State::Committed)) => Refuse(Refusal::Dispatched),
        (Request::Expire, Some(State::Pending)) => Become(State::Expired),
        (Request::Release, Some(State::Released | State::Expired))
        | (
            Request::Expire,
            None | Some(State::Confirmed | State::Committed | State::Released | State::Expired),
        ) => Nothing,
    }
}

/// So many units of one article.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The article.
    pub sku: String,
    /// How many units, at least one.
    pub quantity: i64,
}

/// Lines in the order in which rows are locked, one per article: two reservations over the same articles then never
/// wait for each other in a circle.
pub fn sorted(lines: impl IntoIterator<Item = Line>) -> Vec<Line> {
    let mut by_sku = BTreeMap::<String, i64>::new();
    for line in lines {
        let sum = by_sku.entry(line.sku).or_default();
        *sum = sum.saturating_add(line.quantity);
    }
    by_sku
        .into_iter()
        .map(|(sku, quantity)| Line { sku, quantity })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [Option<State>; 6] = [
        None,
        Some(State::Pending),
        Some(State::Confirmed),
        Some(State::Committed),
        Some(State::Released),
        Some(State::Expired),
    ];

    fn check(request: Request, expected: [Decision; 6]) {
        for (current, expected) in STATES.into_iter().zip(expected) {
            assert_eq!(
                decide(current, request),
                expected,
                "{request:?} on {current:?}"
            );
        }
    }

    #[test]
    fn every_request_in_every_state_has_one_answer() {
        use Decision::{Become, Nothing, Refuse};
        let revoked = Refuse(Refusal::Revoked);
        let expired = Refuse(Refusal::Expired);
        check(
            Request::Create,
            [
                Become(State::Pending),
                Nothing,
                Nothing,
                Nothing,
                revoked,
                expired,
            ],
        );
        check(
            Request::Confirm,
            [
                Refuse(Refusal::Unknown),
                Become(State::Confirmed),
                Nothing,
                Nothing,
                revoked,
                expired,
            ],
        );
        check(
            Request::Release,
            [
                Become(State::Released),
                Become(State::Released),
                Become(State::Released),
                Refuse(Refusal::Dispatched),
                Nothing,
                Nothing,
            ],
        );
        check(
            Request::Expire,
            [
                Nothing,
                Become(State::Expired),
                Nothing,
                Nothing,
                Nothing,
                Nothing,
            ],
        );
    }

    #[test]
    fn names_survive_a_round_trip() {
        for state in STATES.into_iter().flatten() {
            assert_eq!(state.name().parse::<State>().unwrap(), state);
        }
        assert!("HELD".parse::<State>().is_err());
    }

    #[test]
    fn lines_are_sorted_and_merged() {
        let line = |sku: &str, quantity| Line {
            sku: sku.to_owned(),
            quantity,
        };
        assert_eq!(
            sorted([line("P-2", 1), line("4521", 2), line("P-2", 3)]),
            vec![line("4521", 2), line("P-2", 4)]
        );
    }
}
