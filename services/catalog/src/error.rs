//! What can go wrong here, and the one table that turns it into an answer.

use sea_orm::DbErr;
use shop_chassis::Failure;
use shop_chassis::database::{self, WriteError};
use tonic::{Code, Status};

/// Why a request did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The shop does not sell it.
    #[error("there is no product {0}")]
    UnknownProduct(String),
    /// A list's page cannot be read.
    #[error("page: {0:?}")]
    Page(Failure),
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// A row's attributes are not an object of JSON.
    #[error("attributes of a product: {0}")]
    Attributes(#[from] serde_json::Error),
    /// A row's price is in a currency this version does not know.
    #[error("price of a product: {0}")]
    Price(#[from] shop_chassis::money::Error),
    /// A row's time cannot be read.
    #[error("time of a product: {0}")]
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
        match error {
            Error::UnknownProduct(id) => {
                Self::new(Code::NotFound, "PRODUCT_NOT_FOUND", message).with("product_id", id)
            }
            Error::Page(failure) => failure,
            Error::Database(error) => error.into(),
            Error::Attributes(_) | Error::Price(_) | Error::Time(_) => Self::internal(&message),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}
