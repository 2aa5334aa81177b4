//! A JSON body: of the right kind, and read whole within its bounds of size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use crate::config::Limits;
use crate::error::Refusal;
use crate::limit::Limit;

/// Refuses a body that is said to be something else than plain JSON.
pub(super) fn check_kind(headers: &HeaderMap, body: &Body) -> Result<(), Refusal> {
    if body.is_end_stream() {
        return Ok(());
    }
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get(CONTENT_ENCODING).is_none_or(plain) {
        return Err(Refusal::new(
            "MEDIA_TYPE",
            "the body must not be compressed",
        ));
    }
    if is_json(headers) {
        return Ok(());
    }
    Err(Refusal::new(
        "MEDIA_TYPE",
        "the body must be application/json in UTF-8",
    ))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else {
        return false;
    };
    let mut pieces = value.split(';').map(str::trim);
    let kind = pieces.next().unwrap_or_default();
    kind.eq_ignore_ascii_case("application/json")
        && pieces.all(|piece| {
            let piece = piece.to_ascii_lowercase().replace('"', "");
            piece.is_empty() || piece == "charset=utf-8"
        })
}

/// All of it.
pub(super) async fn read(mut body: Body, limits: &Limits) -> Result<Bytes, Refusal> {
    let too_large = || {
        let message = format!("the body is larger than {} bytes", limits.body);
        Refusal::new("MESSAGE_TOO_LARGE", message).past(Limit::JsonBody)
    };
    if body.size_hint().lower() > u64::try_from(limits.body).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let began = Instant::now();
    let mut bytes = BytesMut::new();
    loop {
        let next = timeout_at(began + patience(bytes.len(), limits), body.frame()).await;
        let next = next.map_err(|_| {
            Refusal::new("BODY_TOO_SLOW", "the body did not arrive in time")
                .past(Limit::RequestBody)
        })?;
        let Some(frame) = next else {
            return Ok(bytes.freeze());
        };
        let frame = frame.map_err(|_| Refusal::new("JSON_INVALID", "the body broke off"))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > limits.body {
                return Err(too_large());
            }
            bytes.extend_from_slice(data);
        }
    }
}

/// How long after its beginning the next piece must be there, when this much has arrived.
fn patience(arrived: usize, limits: &Limits) -> Duration {
    let rate = u64::try_from(limits.body_rate.max(1)).unwrap_or(u64::MAX);
    let arrived = u64::try_from(arrived).unwrap_or(u64::MAX);
    let earned = Duration::from_millis(arrived.saturating_mul(1000) / rate);
    earned.max(limits.body_grace).min(limits.body_timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_earns_time_up_to_the_whole() {
        let limits = Limits::default();
        for (arrived, seconds) in [
            (0, 10),
            (10 * 1024, 10),
            (20 * 1024, 20),
            (60 * 1024, 60),
            (1024 * 1024, 60),
        ] {
            let expected = Duration::from_secs(seconds);
            assert_eq!(patience(arrived, &limits), expected, "{arrived}");
        }
    }
}
