//! Deadline and trace of the call being served, so that what it causes carries
//! them on. Lives in a task-local: work that is moved to a task of its own
//! takes the context along with `Context::current` and `Context::scope`.

use std::future::Future;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

tokio::task_local! {
    static CONTEXT: Context;
}

/// Headers of W3C trace context and baggage, in the order they are written.
const TRACE: [&str; 3] = ["traceparent", "tracestate", "baggage"];

#[derive(Clone, Debug, Default)]
pub struct Context {
    deadline: Option<Instant>,
    trace: HeaderMap,
}

impl Context {
    /// What the caller sent: `grpc-timeout`, counted from now, and its trace.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let timeout = headers
            .get("grpc-timeout")
            .and_then(|value| parse_timeout(value.to_str().ok()?));
        let mut trace = HeaderMap::new();
        for name in TRACE {
            for value in headers.get_all(name) {
                trace.append(name, value.clone());
            }
        }
        Self {
            deadline: timeout.map(|timeout| Instant::now() + timeout),
            trace,
        }
    }

    /// The context of the call this task serves; empty outside of one.
    pub fn current() -> Self {
        CONTEXT.try_with(Clone::clone).unwrap_or_default()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What is left until the deadline; zero when it has passed.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// For work that outlives its caller: keeps the trace, drops the deadline.
    #[must_use]
    pub fn without_deadline(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// Runs `work` as part of this call.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CONTEXT.scope(self, work).await
    }

    /// Writes the trace headers onto an outgoing call that has none.
    pub(crate) fn write_trace(&self, headers: &mut HeaderMap) {
        for name in TRACE {
            if !headers.contains_key(name) {
                for value in self.trace.get_all(name) {
                    headers.append(name, value.clone());
                }
            }
        }
    }
}

/// `grpc-timeout`: up to eight digits and a unit.
pub fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// The finest unit whose value fits into eight digits.
pub fn format_timeout(timeout: Duration) -> HeaderValue {
    const LARGEST: u128 = 99_999_999;
    let text = [
        (timeout.as_nanos(), 'n'),
        (timeout.as_micros(), 'u'),
        (timeout.as_millis(), 'm'),
        (u128::from(timeout.as_secs()), 'S'),
        (u128::from(timeout.as_secs() / 60), 'M'),
    ]
    .into_iter()
    .find(|(amount, _)| *amount <= LARGEST)
    .map_or_else(
        || format!("{LARGEST}H"),
        |(amount, unit)| format!("{amount}{unit}"),
    );
    HeaderValue::try_from(text).expect("digits and a letter are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("5S", Some(Duration::from_secs(5))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0u", Some(Duration::ZERO)),
            ("123456789m", None),
            ("5", None),
            ("S", None),
            ("", None),
            ("-5S", None),
            ("5é", None),
        ] {
            assert_eq!(parse_timeout(text), expected, "{text}");
        }
    }

    #[test]
    fn timeouts_never_grow_when_written() {
        for timeout in [
            Duration::ZERO,
            Duration::from_millis(4321),
            Duration::from_secs(86400),
        ] {
            let header = format_timeout(timeout);
            assert!(parse_timeout(header.to_str().unwrap()).unwrap() <= timeout);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_shrinks_with_time() {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-timeout"),
            HeaderValue::from_static("5S"),
        )]);
        let context = Context::from_headers(&headers);
        tokio::time::advance(Duration::from_secs(2)).await;
        let left = context
            .scope(async { Context::current().remaining() })
            .await;
        assert_eq!(left, Some(Duration::from_secs(3)));
        assert_eq!(Context::current().remaining(), None);
    }
}
