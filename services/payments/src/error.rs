//! What can go wrong here, and the one table that turns it into an answer.

use sea_orm::DbErr;
use shop_chassis::database::{self, WriteError};
use shop_chassis::{Failure, money};
use tonic::{Code, Status};

use crate::payment::{Refusal, UnknownName};
use crate::processor::Decline;

/// Why a request did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user cannot pay with this.
    #[error("the user has no such payment method")]
    UnknownMethod,
    /// The processor said no, now or before.
    #[error("the payment was declined: {0}")]
    Declined(Decline),
    /// The wallet holds less than the order costs.
    #[error("the wallet holds {available} minor units, {wanted} are wanted")]
    WalletTooSmall {
        /// What the order costs, in minor units.
        wanted: i64,
        /// What the wallet holds, in minor units.
        available: i64,
    },
    /// A rule of the payment's state says no.
    #[error("payment of order {order_id}: {refusal:?}")]
    Refused {
        /// The order.
        order_id: String,
        /// Which rule.
        refusal: Refusal,
    },
    /// The same order was to be charged differently before.
    #[error("order {order_id} has another payment")]
    Different {
        /// The order.
        order_id: String,
    },
    /// The user has no such payment.
    #[error("there is no payment {0}")]
    UnknownPayment(String),
    /// The processor may or may not have done it; the same request finds out.
    #[error("the payment processor gave no answer: {0}")]
    NoAnswer(String),
    /// The amount is none.
    #[error(transparent)]
    Money(#[from] money::Error),
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// A row holds a name this version does not know.
    #[error(transparent)]
    Name(#[from] UnknownName),
    /// What goes to the processor cannot be written.
    #[error("processor request: {0}")]
    Encode(#[from] serde_json::Error),
    /// A row's time cannot be read.
    #[error("time of a row: {0}")]
    Time(#[from] jiff::Error),
}

impl WriteError for Error {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_conflict())
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Database(error.into())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let refused = |reason| Self::new(Code::FailedPrecondition, reason, message.clone());
        match error {
            Error::UnknownMethod => refused("PAYMENT_METHOD_UNKNOWN"),
            Error::Declined(decline) => refused(reason(decline)).with("decline_code", decline),
            Error::WalletTooSmall { wanted, available } => refused("INSUFFICIENT_FUNDS")
                .with("wanted", wanted)
                .with("available", available),
            Error::Refused { order_id, refusal } => state(refusal).with("order_id", order_id),
            Error::Different { order_id } => {
                Self::new(Code::AlreadyExists, "PAYMENT_EXISTS", message).with("order_id", order_id)
            }
            Error::UnknownPayment(id) => {
                Self::new(Code::NotFound, "PAYMENT_NOT_FOUND", message).with("payment_id", id)
            }
            Error::NoAnswer(_) => {
                tracing::warn!(
                    reason = "PROCESSOR_UNAVAILABLE",
                    error = message,
                    "no answer"
                );
                Self::new(
                    Code::Unavailable,
                    "PROCESSOR_UNAVAILABLE",
                    "the payment processor gave no answer; repeat the same request",
                )
            }
            Error::Money(error) => error.into(),
            Error::Database(error) => error.into(),
            Error::Name(_) | Error::Encode(_) | Error::Time(_) => Self::internal(&message),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

/// The published reason of a processor's "no".
pub fn reason(decline: Decline) -> &'static str {
    match decline {
        Decline::Card => "CARD_DECLINED",
        Decline::InsufficientFunds => "INSUFFICIENT_FUNDS",
        Decline::Expired => "CARD_EXPIRED",
        Decline::UnknownMethod => "PAYMENT_METHOD_UNKNOWN",
        Decline::Capture => "CAPTURE_FAILED",
        Decline::KeyCancelled => "OPERATION_REVOKED",
    }
}

fn state(refusal: Refusal) -> Failure {
    let (code, reason, message) = match refusal {
        Refusal::Unknown => (
            Code::NotFound,
            "PAYMENT_NOT_FOUND",
            "the order has no payment",
        ),
        Refusal::Revoked => (
            Code::FailedPrecondition,
            "OPERATION_REVOKED",
            "the order was undone before this request arrived",
        ),
        Refusal::Declined => (
            Code::FailedPrecondition,
            "CARD_DECLINED",
            "the payment was declined",
        ),
        Refusal::NotAuthorized => (
            Code::FailedPrecondition,
            "CAPTURE_FAILED",
            "the payment is not authorised",
        ),
    };
    Failure::new(code, reason, message)
}
