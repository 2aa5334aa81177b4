//! What can go wrong here, and the one table that turns it into an answer.

use std::time::Duration;

use sea_orm::DbErr;
use shop_chassis::Failure;
use shop_chassis::database::{self, WriteError};
use tonic::{Code, Status};

/// Why a request did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such user, or none the caller may see: the answer is the same.
    #[error("there is no user {0}")]
    UnknownUser(u32),
    /// No such address, or none the caller may see.
    #[error("there is no address {0}")]
    UnknownAddress(String),
    /// The mail address or the password is wrong; which one is not told.
    #[error("the mail address or the password is wrong")]
    WrongCredentials,
    /// More sign-ins wait for a turn than the service takes.
    #[error("too many sign-ins at once")]
    Throttled,
    /// The caller is nobody the method can serve.
    #[error("caller: {0:?}")]
    Caller(Failure),
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// A stored password hash cannot be read, or none can be made.
    #[error("password hash: {0}")]
    Hash(String),
    /// The signing key cannot be made, sealed or opened.
    #[error("signing key: {0}")]
    SigningKey(String),
    /// A row holds what this version does not know.
    #[error("row: {0}")]
    Row(String),
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
            Error::UnknownUser(id) => {
                Self::new(Code::NotFound, "USER_NOT_FOUND", message).with("user_id", id)
            }
            Error::UnknownAddress(id) => {
                Self::new(Code::NotFound, "ADDRESS_NOT_FOUND", message).with("address_id", id)
            }
            Error::WrongCredentials => {
                Self::new(Code::Unauthenticated, "CREDENTIALS_INVALID", message)
            }
            Error::Throttled => Self::new(Code::ResourceExhausted, "LOGIN_THROTTLED", message)
                .retry_after(Duration::from_secs(1)),
            Error::Caller(failure) => failure,
            Error::Database(error) => error.into(),
            Error::Hash(_) | Error::SigningKey(_) | Error::Row(_) => Self::internal(&message),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}
