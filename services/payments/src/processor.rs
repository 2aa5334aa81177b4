//! The card processor as this service sees it. Every call carries a key; the processor keeps what it did under a
//! key and answers a repeat with it, so a call whose outcome is unknown is simply made again.

mod embedded;

use std::fmt;

pub use embedded::Embedded;
pub(crate) use embedded::schema as embedded_schema;

/// What is charged, to what, and for what.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Charge {
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// The card's token.
    pub payment_method: String,
    /// The order, for reconciliation.
    pub reference: String,
}

/// The processor's promise to pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// `TX89123`.
    pub transaction_id: String,
}

/// What cancelling a key did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// There was nothing under the key, and now there never will be.
    Nothing,
    /// An authorisation was voided.
    Voided,
    /// A captured amount was paid back.
    Refunded,
}

/// The processor's definite "no".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decline {
    /// `card_declined`.
    Card,
    /// `insufficient_funds`.
    InsufficientFunds,
    /// `expired_card`.
    Expired,
    /// `payment_method_unknown`: the token is not one of the processor's.
    UnknownMethod,
    /// `capture_failed`.
    Capture,
    /// `key_cancelled`: the key was cancelled before it was used.
    KeyCancelled,
}

impl Decline {
    const ALL: [Self; 6] = [
        Self::Card,
        Self::InsufficientFunds,
        Self::Expired,
        Self::UnknownMethod,
        Self::Capture,
        Self::KeyCancelled,
    ];

    /// The processor's own code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Card => "card_declined",
            Self::InsufficientFunds => "insufficient_funds",
            Self::Expired => "expired_card",
            Self::UnknownMethod => "payment_method_unknown",
            Self::Capture => "capture_failed",
            Self::KeyCancelled => "key_cancelled",
        }
    }

    /// The decline a code stands for.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|decline| decline.code() == code)
    }
}

impl fmt::Display for Decline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// Why the processor did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It will not, and a repeat gets the same answer.
    #[error("the processor declined: {0}")]
    Declined(Decline),
    /// Nobody knows whether it did: repeat with the same key, or cancel the key.
    #[error("the processor gave no answer: {0}")]
    Unknown(String),
}

/// A card processor.
#[async_trait::async_trait]
pub trait Processor: fmt::Debug + Send + Sync {
    /// Holds the amount.
    async fn authorize(&self, key: &str, charge: &Charge) -> Result<Authorization, Error>;

    /// Takes what an authorisation holds.
    async fn capture(&self, key: &str, transaction_id: &str) -> Result<(), Error>;

    /// Undoes whatever was made under `cancelled`, or will be: void, refund or tombstone.
    async fn cancel_by_key(&self, key: &str, cancelled: &str) -> Result<Cancelled, Error>;
}
