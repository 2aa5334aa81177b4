//! Why a call to the registry failed, told apart by what a caller does next.

use http::StatusCode;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 403: the token is missing, unknown or may not do this. Surface it; a retry alone does not help.
    #[error("the registry refused the token: {message}")]
    Forbidden { message: String },
    /// 404 on something other than a config entry or a key.
    #[error("the registry does not know it: {message}")]
    NotFound { message: String },
    /// 429: too many requests or connections.
    #[error("the registry asks to slow down: {message}")]
    Throttled { message: String },
    /// Any other 4xx: the request itself is wrong.
    #[error("the registry refused the request with {status}: {message}")]
    Refused { status: StatusCode, message: String },
    /// 5xx. Consul answers failed validation of a config entry this way too.
    #[error("the registry failed with {status}: {message}")]
    Server { status: StatusCode, message: String },
    #[error("the registry cannot be reached: {0}")]
    Network(#[source] reqwest::Error),
    #[error("the registry's answer cannot be read: {0}")]
    Decode(#[source] serde_json::Error),
    #[error("the registry's answer is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the registry's address {0:?} is not an http URL")]
    Address(String),
    #[error("the token contains characters a header cannot carry")]
    Token,
}

impl Error {
    pub(crate) fn from_status(status: StatusCode, message: String) -> Self {
        match status {
            StatusCode::FORBIDDEN => Self::Forbidden { message },
            StatusCode::NOT_FOUND => Self::NotFound { message },
            StatusCode::TOO_MANY_REQUESTS => Self::Throttled { message },
            status if status.is_server_error() => Self::Server { status, message },
            status => Self::Refused { status, message },
        }
    }

    /// Whether the same request may succeed later without anything being changed by an operator.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Throttled { .. } | Self::Server { .. } | Self::Network(_) | Self::Decode(_)
        )
    }
}
