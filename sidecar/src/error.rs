//! What can go wrong with a call, whose fault it is, and what the caller hears: the one table of reasons.
//!
//! `Kind` prints as a *reason flag* (`no_route`): log field, metric label, trailer `x-outrigger-reason`. Whether a failed attempt may be
//! repeated is decided from `processed` and `Kind`, where it is known, never from the text. An application's own status is an
//! `crate::outcome::Outcome`, not an `Error`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use tonic::Code;

/// Who caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Caller,
    Peer,
    Mesh,
}

/// Whether the peer's application can have acted on the call. `No` needs proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processed {
    No,
    Maybe,
}

/// The closed list of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Malformed,
    NotGrpc,
    NoSuchMethod,
    TooLarge,
    Unauthenticated,
    Denied,
    RateLimited,
    Cancelled,
    DeadlineTooShort,
    RequestTooSlow,
    DeadlineExceeded,
    NoEndpoint,
    BreakerOpen,
    Connect,
    Handshake,
    Refused,
    Reset,
    ConnectionLost,
    MissingTrailers,
    Protocol,
    Stalled,
    Overloaded,
    NotReady,
    Draining,
    Cut,
    NoRoute,
    Loop,
    Internal,
    FaultInjected,
}

struct Row {
    kind: Kind,
    flag: &'static str,
    fault: Fault,
    code: Code,
    http: u16,
}

const fn row(kind: Kind, flag: &'static str, fault: Fault, code: Code, http: u16) -> Row {
    Row {
        kind,
        flag,
        fault,
        code,
        http,
    }
}

/// The table itself; `docs/errors.md` equals it.
const TABLE: [Row; 29] = [
    row(
        Kind::Malformed,
        "malformed",
        Fault::Caller,
        Code::Internal,
        400,
    ),
    row(Kind::NotGrpc, "not_grpc", Fault::Caller, Code::Unknown, 415),
    row(
        Kind::NoSuchMethod,
        "no_such_method",
        Fault::Caller,
        Code::Unimplemented,
        404,
    ),
    row(
        Kind::TooLarge,
        "too_large",
        Fault::Caller,
        Code::ResourceExhausted,
        413,
    ),
    row(
        Kind::Unauthenticated,
        "unauthenticated",
        Fault::Caller,
        Code::Unauthenticated,
        401,
    ),
    row(
        Kind::Denied,
        "denied",
        Fault::Caller,
        Code::PermissionDenied,
        403,
    ),
    row(
        Kind::RateLimited,
        "rate_limited",
        Fault::Caller,
        Code::ResourceExhausted,
        429,
    ),
    row(
        Kind::Cancelled,
        "cancelled",
        Fault::Caller,
        Code::Cancelled,
        499,
    ),
    row(
        Kind::DeadlineTooShort,
        "deadline_too_short",
        Fault::Caller,
        Code::DeadlineExceeded,
        504,
    ),
    row(
        Kind::RequestTooSlow,
        "request_too_slow",
        Fault::Caller,
        Code::DeadlineExceeded,
        408,
    ),
    row(
        Kind::DeadlineExceeded,
        "deadline_exceeded",
        Fault::Peer,
        Code::DeadlineExceeded,
        504,
    ),
    row(
        Kind::NoEndpoint,
        "no_endpoint",
        Fault::Peer,
        Code::Unavailable,
        503,
    ),
    row(
        Kind::BreakerOpen,
        "breaker_open",
        Fault::Peer,
        Code::Unavailable,
        503,
    ),
    row(
        Kind::Connect,
        "connect",
        Fault::Peer,
        Code::Unavailable,
        503,
    ),
    row(
        Kind::Handshake,
        "handshake",
        Fault::Peer,
        Code::Unavailable,
        503,
    ),
    row(
        Kind::Refused,
        "refused",
        Fault::Peer,
        Code::Unavailable,
        503,
    ),
    row(Kind::Reset, "reset", Fault::Peer, Code::Internal, 502),
    row(
        Kind::ConnectionLost,
        "connection_lost",
        Fault::Peer,
        Code::Unavailable,
        502,
    ),
    row(
        Kind::MissingTrailers,
        "missing_trailers",
        Fault::Peer,
        Code::Unknown,
        502,
    ),
    row(Kind::Protocol, "protocol", Fault::Peer, Code::Internal, 502),
    row(
        Kind::Stalled,
        "stalled",
        Fault::Peer,
        Code::Unavailable,
        504,
    ),
    row(
        Kind::Overloaded,
        "overloaded",
        Fault::Mesh,
        Code::ResourceExhausted,
        503,
    ),
    row(
        Kind::NotReady,
        "not_ready",
        Fault::Mesh,
        Code::Unavailable,
        503,
    ),
    row(
        Kind::Draining,
        "draining",
        Fault::Mesh,
        Code::Unavailable,
        503,
    ),
    row(Kind::Cut, "cut", Fault::Mesh, Code::Unavailable, 503),
    row(
        Kind::NoRoute,
        "no_route",
        Fault::Mesh,
        Code::Unimplemented,
        404,
    ),
    row(Kind::Loop, "loop", Fault::Mesh, Code::Internal, 508),
    row(Kind::Internal, "internal", Fault::Mesh, Code::Internal, 500),
    row(
        Kind::FaultInjected,
        "fault_injected",
        Fault::Mesh,
        Code::Unavailable,
        503,
    ),
];

// === impl Kind ===

impl Kind {
    fn row(self) -> &'static Row {
        TABLE
            .iter()
            .find(|row| row.kind == self)
            .expect("every kind has a row: asserted by a test")
    }

    /// The reason flag: lower case, as in logs, metrics and `x-outrigger-reason`.
    pub fn flag(self) -> &'static str {
        self.row().flag
    }

    /// Parses a reason flag as a mesh peer sent it.
    pub fn from_flag(flag: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.flag == flag)
            .map(|row| row.kind)
    }

    pub fn fault(self) -> Fault {
        self.row().fault
    }

    /// The gRPC status a caller hears.
    pub fn code(self) -> Code {
        self.row().code
    }

    /// The HTTP status a caller that does not speak gRPC hears.
    pub fn http(self) -> StatusCode {
        StatusCode::from_u16(self.row().http)
            .expect("the table holds valid statuses: asserted by a test")
    }

    /// Every kind, in the table's order.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.flag())
    }
}

/// A call that the mesh, a peer or the caller ended; never an application's status.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    pub processed: Processed,
    /// HTTP/2 reset code to forward after response headers (RFC 9113 section 7).
    pub reset: Option<u32>,
    /// The call's HEADERS provably never left this process: the pick is undone and costs nothing (mesh outcome row E15).
    pub unsent: bool,
    /// When a repeat is worth trying.
    pub pushback: Option<Duration>,
    /// What failed, why, and what to do; lower case, no full stop.
    pub detail: Cow<'static, str>,
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

// === impl Error ===

impl Error {
    /// An error after which the peer may have acted on the call.
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            processed: Processed::Maybe,
            reset: None,
            unsent: false,
            pushback: None,
            detail: detail.into(),
            source: None,
        }
    }

    /// An error of which it is proved that no application saw the call.
    pub fn unprocessed(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            processed: Processed::No,
            ..Self::new(kind, detail)
        }
    }

    /// The call never left: return it to the balancer, uncounted.
    pub fn unsent(detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            unsent: true,
            ..Self::unprocessed(Kind::ConnectionLost, detail)
        }
    }

    /// The peer reset the stream with `code`.
    pub fn reset(code: u32, processed: Processed) -> Self {
        let kind = if code == 7 && processed == Processed::No {
            Kind::Refused
        } else {
            Kind::Reset
        };
        Self {
            processed,
            reset: Some(code),
            ..Self::new(kind, format!("the peer reset the stream with code {code}"))
        }
    }

    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    pub fn with_pushback(mut self, after: Duration) -> Self {
        self.pushback = Some(after);
        self
    }

    /// The gRPC status, which for a reset depends on its code.
    pub fn code(&self) -> Code {
        match (self.kind, self.reset) {
            (Kind::Reset, Some(code)) => reset_code(code),
            _ => self.kind.code(),
        }
    }
}

/// RST_STREAM code to gRPC status, where a status must be made up.
pub fn reset_code(code: u32) -> Code {
    match code {
        7 => Code::Unavailable,
        8 => Code::Cancelled,
        11 => Code::ResourceExhausted,
        12 => Code::PermissionDenied,
        0..=13 => Code::Internal,
        _ => Code::Unknown,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_row_and_its_flag_parses_back() {
        for kind in Kind::all() {
            assert_eq!(Kind::from_flag(kind.flag()), Some(kind));
            assert!(kind.http().as_u16() >= 400);
        }
        assert_eq!(Kind::all().count(), 29);
    }

    /// The catalogue in the documentation says what this table says, row by row.
    #[test]
    fn the_documented_table_equals_this_one() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (_, mesh) = text.split_once("## The mesh").unwrap();
        let (mesh, _) = mesh.split_once("\n## ").unwrap();
        let rows: Vec<Vec<&str>> = mesh
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        let expected: Vec<[String; 4]> = TABLE
            .iter()
            .map(|row| {
                [
                    format!("`{}`", row.flag),
                    format!("{:?}", row.fault).to_lowercase(),
                    crate::grpc::status::name(row.code).to_owned(),
                    row.http.to_string(),
                ]
            })
            .collect();
        let documented: Vec<[String; 4]> = rows
            .iter()
            .map(|cells| std::array::from_fn(|index| cells[index].to_owned()))
            .collect();
        assert_eq!(documented, expected);
        for cells in rows {
            assert!(
                cells.len() == 7 && cells.iter().all(|cell| !cell.is_empty()),
                "cause and remedy: {cells:?}"
            );
        }
    }

    #[test]
    fn reset_codes_map_as_grpc_says() {
        for (code, expected) in [
            (0, Code::Internal),
            (7, Code::Unavailable),
            (8, Code::Cancelled),
            (11, Code::ResourceExhausted),
            (12, Code::PermissionDenied),
            (13, Code::Internal),
            (14, Code::Unknown),
        ] {
            assert_eq!(reset_code(code), expected, "reset {code}");
        }
    }
}
