//! Metadata that steers repeats: `grpc-retry-pushback-ms` from a server, `grpc-previous-rpc-attempts` to it.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};

pub const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
pub const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// A wait longer than this means: do not repeat.
const LONGEST: Duration = Duration::from_secs(300);

/// What the peer says about repeating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushback {
    After(Duration),
    Never,
}

/// Reads `grpc-retry-pushback-ms`: a signed 32-bit integer without leading zeros; negative or unreadable = never.
pub fn pushback(headers: &HeaderMap) -> Option<Pushback> {
    let text = headers.get(PUSHBACK)?.as_bytes();
    let leading_zero = text.len() > 1 && text[0] == b'0';
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let millis = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<i32>().ok());
    let wait = match millis.and_then(|millis| u64::try_from(millis).ok()) {
        Some(millis) if digits && !leading_zero => Duration::from_millis(millis),
        _ => return Some(Pushback::Never),
    };
    Some(if wait > LONGEST {
        Pushback::Never
    } else {
        Pushback::After(wait)
    })
}

/// Reads `Retry-After` in seconds; dates are not read, so they give no pushback.
pub fn retry_after(headers: &HeaderMap) -> Option<Pushback> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    let wait = Duration::from_secs(seconds);
    Some(if wait > LONGEST {
        Pushback::Never
    } else {
        Pushback::After(wait)
    })
}

/// What attempt `attempt` (from 1) says of how often the call was tried before, on top of what the application said; the first one says
/// nothing.
pub fn previous_attempts(headers: &HeaderMap, attempt: u32) -> Option<HeaderValue> {
    let before = attempt.checked_sub(1).filter(|before| *before > 0)?;
    let said = headers
        .get(PREVIOUS_ATTEMPTS)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u32>().ok());
    Some(HeaderValue::from(said.unwrap_or(0).saturating_add(before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushback_is_read_strictly() {
        let after = |millis| Some(Pushback::After(Duration::from_millis(millis)));
        for (text, expected) in [
            ("0", after(0)),
            ("25", after(25)),
            ("300000", after(300_000)),
            ("300001", Some(Pushback::Never)),
            ("2147483648", Some(Pushback::Never)),
            ("-1", Some(Pushback::Never)),
            ("007", Some(Pushback::Never)),
            ("+5", Some(Pushback::Never)),
            ("soon", Some(Pushback::Never)),
            ("", Some(Pushback::Never)),
        ] {
            let headers = HeaderMap::from_iter([(PUSHBACK, HeaderValue::from_static(text))]);
            assert_eq!(pushback(&headers), expected, "{text:?}");
        }
        assert_eq!(pushback(&HeaderMap::new()), None);
    }

    #[test]
    fn previous_attempts_add_to_what_the_application_said() {
        for (said, attempt, expected) in [
            (None, 1, None),
            (None, 2, Some("1")),
            (Some("3"), 2, Some("4")),
            // What it said goes on as it is.
            (Some("3"), 1, None),
            (Some("x"), 3, Some("2")),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from_static(said));
            }
            let tried = previous_attempts(&headers, attempt);
            let tried = tried.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(tried, expected, "{said:?} on attempt {attempt}");
        }
    }
}
