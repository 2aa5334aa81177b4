//! What can go wrong here, and the one table that turns it into an answer.

use sea_orm::DbErr;
use shop_chassis::Failure;
use shop_chassis::database::{self, WriteError};
use tonic::{Code, Status};

use crate::reservation::{Refusal, UnknownState};

/// Why a request did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody ever stocked this article.
    #[error("there is no product {0}")]
    UnknownProduct(String),
    /// Fewer units are free than wanted; nothing was held.
    #[error("{wanted} of {sku} wanted, {available} available")]
    OutOfStock {
        /// The article.
        sku: String,
        /// Units the order wants.
        wanted: i64,
        /// Units that are free.
        available: i64,
    },
    /// Units that belong to orders cannot be taken off the shelf.
    #[error("stock of {sku} cannot change by {delta}: {available} available")]
    BelowReserved {
        /// The article.
        sku: String,
        /// The change that was asked for.
        delta: i64,
        /// Units that are free.
        available: i64,
    },
    /// A rule of the reservation's state says no.
    #[error("reservation of order {order_id}: {refusal:?}")]
    Refused {
        /// The order.
        order_id: String,
        /// Which rule.
        refusal: Refusal,
    },
    /// The same order reserved other lines before.
    #[error("order {order_id} reserved other lines before")]
    DifferentLines {
        /// The order.
        order_id: String,
    },
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// A row holds a state this version does not know.
    #[error(transparent)]
    State(#[from] UnknownState),
    /// A row's lines cannot be read.
    #[error("reservation lines: {0}")]
    Lines(#[from] serde_json::Error),
    /// A row's time cannot be read.
    #[error("time of a row: {0}")]
    Time(#[from] jiff::Error),
    /// A count in a row is larger than the contract can say.
    #[error("count of a row: {0}")]
    Count(#[from] std::num::TryFromIntError),
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
            Error::UnknownProduct(sku) => {
                Self::new(Code::NotFound, "PRODUCT_NOT_FOUND", message).with("sku", sku)
            }
            Error::OutOfStock {
                sku,
                wanted,
                available,
            } => Self::new(Code::FailedPrecondition, "OUT_OF_STOCK", message)
                .with("sku", sku)
                .with("wanted", wanted)
                .with("available", available),
            Error::BelowReserved {
                sku,
                delta,
                available,
            } => Self::new(Code::FailedPrecondition, "OUT_OF_STOCK", message)
                .with("sku", sku)
                .with("wanted", -delta)
                .with("available", available),
            Error::Refused { order_id, refusal } => refused(refusal).with("order_id", order_id),
            Error::DifferentLines { order_id } => {
                Self::new(Code::AlreadyExists, "RESERVATION_EXISTS", message)
                    .with("order_id", order_id)
            }
            Error::Database(error) => error.into(),
            Error::State(_) | Error::Lines(_) | Error::Time(_) | Error::Count(_) => {
                Self::internal(&message)
            }
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

fn refused(refusal: Refusal) -> Failure {
    let (code, reason, message) = match refusal {
        Refusal::Unknown => (
            Code::NotFound,
            "RESERVATION_NOT_FOUND",
            "the order holds no reservation",
        ),
        Refusal::Revoked => (
            Code::FailedPrecondition,
            "OPERATION_REVOKED",
            "the order was undone before this request arrived",
        ),
        Refusal::Expired => (
            Code::FailedPrecondition,
            "RESERVATION_EXPIRED",
            "the reservation was not confirmed in time",
        ),
        Refusal::Dispatched => (
            Code::FailedPrecondition,
            "ALREADY_DISPATCHED",
            "the goods have left",
        ),
    };
    Failure::new(code, reason, message)
}
