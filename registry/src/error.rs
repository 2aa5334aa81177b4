//! Why a request was refused: an HTTP status and Consul's plain text.

use http::StatusCode;

/// A request that is not done. The message is the whole body of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub status: StatusCode,
    pub message: String,
    /// The bound that was passed, to be counted.
    pub limit: Option<&'static str>,
}

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            limit: None,
        }
    }

    /// Refused because of a bound.
    #[must_use]
    pub fn past(mut self, limit: &'static str) -> Self {
        self.limit = Some(limit);
        self
    }

    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// Consul's answer to most failed validations.
    pub fn server(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub fn denied() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Permission denied")
    }
}

/// Why the registry cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot bind {addr}: {source}")]
    Bind {
        addr: std::net::SocketAddr,
        source: std::io::Error,
    },
    #[error(
        "{0} is not a loopback address: the registry hands out private keys and serves plain HTTP, so it binds loopback only"
    )]
    NotLoopback(std::net::SocketAddr),
    #[error("cannot use the data folder {path}: {source}")]
    DataDir {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    #[error("the data folder {0} is in use by another registry")]
    Locked(std::path::PathBuf),
    #[error(transparent)]
    Journal(#[from] crate::journal::Error),
    #[error(transparent)]
    Token(#[from] crate::token::Error),
    #[error(transparent)]
    Authority(#[from] crate::ca::Error),
    #[error("the first write failed: {0}")]
    Start(Refusal),
    #[error("cannot start the writer thread: {0}")]
    Thread(std::io::Error),
}
