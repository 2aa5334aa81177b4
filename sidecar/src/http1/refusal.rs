//! Why a message is not carried on: the closed list, and what a caller hears.

use http::StatusCode;
use thiserror::Error;

/// What is wrong with a head or a body. The connection ends with it: nobody can say where the next message would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("a line ends with a bare LF")]
    BareLf,
    #[error("the head is not HTTP/1.1")]
    Syntax,
    #[error("a field's name is not a token directly before its colon")]
    FieldName,
    #[error("a field's value has a byte that no value has, or is folded")]
    FieldValue,
    #[error("the version is neither HTTP/1.1 nor HTTP/1.0")]
    Version,
    #[error("the method is not carried")]
    Method,
    #[error("the request target is longer than the bound")]
    TargetTooLong,
    #[error("the request target is not one that every server reads the same way")]
    Target,
    #[error("the head is longer than the bound")]
    HeadTooLong,
    #[error("the head has more fields than the bound")]
    TooManyFields,
    #[error("there is not exactly one valid Host, or the target names another")]
    Host,
    #[error("Content-Length is not one number")]
    ContentLength,
    #[error("Transfer-Encoding is not chunked alone")]
    TransferEncoding,
    #[error("both Content-Length and Transfer-Encoding")]
    TwoLengths,
    #[error("the framing of a chunk is broken")]
    Chunk,
    #[error("chunk extensions are longer than the bound")]
    ChunkExtensions,
    #[error("the head did not end in time")]
    SlowHead,
    #[error("the body came too slowly")]
    SlowBody,
    #[error("the status is not one of HTTP")]
    Status,
}

// === impl Refusal ===

impl Refusal {
    /// What the caller of a refused request hears.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLong | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::SlowHead | Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::Method => StatusCode::NOT_IMPLEMENTED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<httparse::Error> for Refusal {
    fn from(err: httparse::Error) -> Self {
        match err {
            httparse::Error::HeaderName => Self::FieldName,
            httparse::Error::HeaderValue => Self::FieldValue,
            httparse::Error::TooManyHeaders => Self::TooManyFields,
            httparse::Error::Version => Self::Version,
            httparse::Error::Status => Self::Status,
            httparse::Error::NewLine | httparse::Error::Token => Self::Syntax,
        }
    }
}
