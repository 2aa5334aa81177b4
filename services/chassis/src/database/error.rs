//! What can go wrong with the database, as a caller treats it.

use sea_orm::{DbErr, RuntimeErr, SqlErr};

use crate::Failure;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Down, full, locked: nothing happened, and trying again may help.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// The transaction lost against another one; run it again as a whole.
    #[error("transaction conflict: {0}")]
    Conflict(#[source] DbErr),
    /// Another transaction held the row for longer than the lock time-out.
    #[error("lock not available: {0}")]
    Locked(#[source] DbErr),
    /// The statement is wrong, or breaks a constraint.
    #[error("database error: {0}")]
    Failed(#[source] DbErr),
}

/// An error of [`Database::write`](crate::Database::write)'s work.
pub trait WriteError: From<Error> {
    /// Would the whole transaction, run again, perhaps succeed?
    fn is_conflict(&self) -> bool;
}

impl Error {
    pub fn is_unique_violation(&self) -> bool {
        match self {
            Self::Failed(error) => {
                matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
            }
            Self::Unavailable(_) | Self::Conflict(_) | Self::Locked(_) => false,
        }
    }
}

impl WriteError for Error {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        let unavailable = match &error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => true,
            DbErr::Exec(RuntimeErr::SqlxError(cause))
            | DbErr::Query(RuntimeErr::SqlxError(cause)) => match cause.as_ref() {
                sqlx::Error::Database(cause) => match classify(&cause.code().unwrap_or_default()) {
                    Class::Conflict => return Self::Conflict(error),
                    Class::Locked => return Self::Locked(error),
                    Class::Unavailable => true,
                    Class::Failed => false,
                },
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => true,
                _ => false,
            },
            _ => false,
        };
        if unavailable {
            Self::Unavailable(error.to_string())
        } else {
            Self::Failed(error)
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Conflict,
    Locked,
    Unavailable,
    Failed,
}

/// `code` is a SQLSTATE (five characters) or a SQLite result code in decimal,
/// whose low byte is the primary code.
fn classify(code: &str) -> Class {
    if code.len() == 5 {
        return match code {
            "40001" | "40P01" => Class::Conflict,
            "55P03" => Class::Locked,
            _ => match code.get(..2) {
                // Connection, resources, operator's intervention, system.
                Some("08" | "53" | "57" | "58") => Class::Unavailable,
                _ => Class::Failed,
            },
        };
    }
    match code.parse::<u32>().map(|code| code & 0xff) {
        // BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB
        Ok(5 | 6 | 8 | 10 | 11 | 13 | 14 | 26) => Class::Unavailable,
        _ => Class::Failed,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(_) | Error::Locked(_) => {
                tracing::warn!(%error, reason = "DATABASE_UNAVAILABLE", "database unavailable");
                Self::database_unavailable()
            }
            Error::Conflict(_) => Self::database_unavailable().conflict(),
            Error::Failed(_) => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_engines_are_told_apart() {
        for (code, expected) in [
            ("40001", Class::Conflict),
            ("40P01", Class::Conflict),
            ("55P03", Class::Locked),
            ("57014", Class::Unavailable),
            ("53100", Class::Unavailable),
            ("08006", Class::Unavailable),
            ("23505", Class::Failed),
            ("42P01", Class::Failed),
            ("5", Class::Unavailable),
            ("517", Class::Unavailable),
            ("13", Class::Unavailable),
            ("1546", Class::Unavailable),
            ("2067", Class::Failed),
            ("1", Class::Failed),
            ("", Class::Failed),
        ] {
            assert_eq!(classify(code), expected, "{code}");
        }
    }
}
