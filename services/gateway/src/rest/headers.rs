//! Which headers pass, in and out: those of a list, and no others.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use shop_chassis::Failure;
use shop_chassis::context::parse_timeout;

use crate::auth::User;
use crate::config::Limits;
use crate::limit::Limit;

const PRINCIPAL: HeaderName = HeaderName::from_static("x-outrigger-principal");
const STATUS: &str = "x-outrigger-http-status";
const REQUEST_ID: &str = "x-request-id";

const INWARDS: [&str; 3] = ["idempotency-key", "accept-language", "if-match"];
/// Of a service's metadata, what its callers get.
pub(crate) const OUTWARDS: [&str; 7] = [
    "etag",
    "location",
    "retry-after",
    "cache-control",
    "idempotent-replayed",
    "link",
    "x-served-by",
];

/// What a service gets of the request's headers, and whose request it is.
pub(crate) fn forwarded(headers: &HeaderMap, user: Option<&User>) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    for name in INWARDS {
        for value in headers.get_all(name) {
            // Printable only: what a service logs or stores holds no control bytes.
            if value
                .as_bytes()
                .iter()
                .all(|byte| matches!(byte, 0x20..=0x7e))
            {
                metadata.append(name, value.clone());
            }
        }
    }
    if let Ok(id) = HeaderValue::try_from(request_id(headers)) {
        metadata.insert(REQUEST_ID, id);
    }
    if let Some(Ok(principal)) = user.map(|user| HeaderValue::try_from(user.header())) {
        metadata.insert(PRINCIPAL, principal);
    }
    metadata
}

/// What the caller gets of a service's metadata.
pub(super) fn answered(metadata: &HeaderMap, headers: &mut HeaderMap) {
    for name in OUTWARDS {
        for value in metadata.get_all(name) {
            headers.append(name, value.clone());
        }
    }
}

/// The method's status of success, unless the service chose another.
pub(super) fn success(metadata: &HeaderMap, stated: u16) -> StatusCode {
    let chosen = metadata
        .get(STATUS)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .filter(|status| [200, 201, 202, 204].contains(status));
    StatusCode::from_u16(chosen.unwrap_or(stated)).unwrap_or(StatusCode::OK)
}

/// The caller's own id if it is one, else the trace's.
pub(crate) fn request_id(headers: &HeaderMap) -> String {
    let own = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !id.is_empty() && id.len() <= 128 && id.bytes().all(fits)
    };
    own.filter(plain)
        .map_or_else(|| trace_id(headers), str::to_owned)
}

/// The sidecar in front of us puts every request into a trace.
fn trace_id(headers: &HeaderMap) -> String {
    headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok()?.split('-').nth(1))
        .unwrap_or("none")
        .to_owned()
}

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeout {
    pub(crate) after: Duration,
    /// The bound of ours that set it, if its caller's word did not.
    pub(crate) limit: Option<Limit>,
}

/// As its caller says, within our bounds.
pub(crate) fn timeout(headers: &HeaderMap, limits: &Limits) -> Result<Timeout, Failure> {
    let stated = |name: &'static str, parse: fn(&str) -> Option<Duration>| {
        let Some(value) = headers.get(name) else {
            return Ok(None);
        };
        let parsed = value.to_str().ok().and_then(parse);
        parsed
            .map(Some)
            .ok_or_else(|| Failure::field(name, "must be a timeout such as 1500m or 1.5s"))
    };
    let stated = match stated("grpc-timeout", parse_timeout)? {
        Some(timeout) => Some(timeout),
        None => stated("x-request-timeout", seconds)?,
    };
    let (after, limit) = match stated {
        None => (
            limits.timeout.min(limits.longest_timeout),
            Some(Limit::RouteTimeout),
        ),
        Some(stated) if stated > limits.longest_timeout => {
            (limits.longest_timeout, Some(Limit::GrpcTimeoutMax))
        }
        Some(stated) => (stated, None),
    };
    Ok(Timeout { after, limit })
}

/// `1.5s`
fn seconds(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let plain = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    if !number.bytes().all(plain) {
        return None;
    }
    Duration::try_from_secs_f64(number.parse().ok()?).ok()
}
