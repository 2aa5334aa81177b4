//! What can go wrong here, and the one table that turns it into an answer.

use std::num::TryFromIntError;

use outrigger_proto::shop::orders::v1::Order;
use outrigger_proto::shop::orders::v1::order::Rejection;
use sea_orm::DbErr;
use shop_chassis::database::{self, WriteError};
use shop_chassis::{Failure, money};
use tonic::{Code, Status};

use crate::order;
use crate::saga::UnknownName;

/// Why a request did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user has no such order.
    #[error("there is no order {0}")]
    UnknownOrder(String),
    /// Another instance drives this saga now; this one stops.
    #[error("the saga is driven by another instance")]
    LeaseLost,
    /// Two writers of one version of an order.
    #[error("order {order_id} changed meanwhile")]
    VersionConflict {
        /// The order.
        order_id: String,
    },
    /// A participant's prices cannot be added up.
    #[error(transparent)]
    Money(#[from] money::Error),
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// An event that cannot be part of the order.
    #[error(transparent)]
    Order(#[from] order::Error),
    /// A row holds a name this version does not know.
    #[error(transparent)]
    Name(#[from] UnknownName),
    /// A row's number is out of range.
    #[error("number of a row: {0}")]
    Number(#[from] TryFromIntError),
    /// A row's bytes are not the message.
    #[error("bytes of a row: {0}")]
    Bytes(#[from] prost::DecodeError),
    /// A row's time cannot be read.
    #[error("time of a row: {0}")]
    Time(#[from] jiff::Error),
    /// The task that placed the order died.
    #[error("the order's task died: {0}")]
    Task(#[from] tokio::task::JoinError),
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
        match error {
            Error::UnknownOrder(id) => {
                Self::new(Code::NotFound, "ORDER_NOT_FOUND", message).with("order_id", id)
            }
            Error::LeaseLost => Self::new(Code::Aborted, "VERSION_CONFLICT", message),
            Error::VersionConflict { order_id } => {
                Self::new(Code::Aborted, "VERSION_CONFLICT", message).with("order_id", order_id)
            }
            Error::Money(error) => error.into(),
            Error::Database(error) => error.into(),
            Error::Order(_)
            | Error::Name(_)
            | Error::Number(_)
            | Error::Bytes(_)
            | Error::Time(_)
            | Error::Task(_) => Self::internal(&message),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

/// What a rejected order is answered with: the participant's own reason, or the service that gave no answer.
pub fn rejected(order: &Order, rejection: &Rejection) -> Failure {
    let (code, reason) = published(&rejection.reason);
    let failure = Failure::new(code, reason, rejection.message.clone());
    rejection
        .metadata
        .iter()
        .fold(failure, |failure, (key, value)| failure.with(key, value))
        .with("order_id", &order.order_id)
        .with("order_number", order.order_number)
}

/// The reasons an order is rejected for, as `docs/errors.md` lists them.
fn published(reason: &str) -> (Code, &'static str) {
    const REFUSALS: [&str; 12] = [
        "PRODUCT_NOT_FOUND",
        "PRICE_CHANGED",
        "ADDRESS_NOT_FOUND",
        "ADDRESS_NOT_SERVICEABLE",
        "OUT_OF_STOCK",
        "CARD_DECLINED",
        "INSUFFICIENT_FUNDS",
        "CARD_EXPIRED",
        "PAYMENT_METHOD_UNKNOWN",
        "RESERVATION_EXPIRED",
        "CAPTURE_FAILED",
        "OPERATION_REVOKED",
    ];
    const UNAVAILABLE: [&str; 4] = [
        "CATALOG_UNAVAILABLE",
        "IDENTITY_UNAVAILABLE",
        "INVENTORY_UNAVAILABLE",
        "PAYMENTS_UNAVAILABLE",
    ];
    let find = |known: &[&'static str]| known.iter().find(|known| **known == reason).copied();
    match (find(&REFUSALS), find(&UNAVAILABLE)) {
        (Some(reason), _) => (Code::FailedPrecondition, reason),
        (None, Some(reason)) => (Code::Aborted, reason),
        (None, None) => (Code::FailedPrecondition, "ORDER_REJECTED"),
    }
}
