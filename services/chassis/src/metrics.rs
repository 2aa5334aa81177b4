//! What this process counted, as Prometheus text: `shop_calls_total` by method
//! and code. Labels come from the contract, so their number is bounded; a path
//! no method has counts as `unknown`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use axum::response::IntoResponse;
use tonic::Code;

/// Prometheus text as an answer.
pub fn response(text: String) -> impl IntoResponse {
    let kind = [(http::header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, text)
}

#[derive(Debug, Default)]
pub struct Metrics {
    calls: Mutex<BTreeMap<(String, &'static str), u64>>,
    started: Mutex<BTreeMap<String, u64>>,
}

impl Metrics {
    /// A call passed the checks and is handed to its handler.
    pub fn started(&self, method: &str) {
        *lock(&self.started).entry(method.to_owned()).or_default() += 1;
    }

    /// A call ended, as the caller hears it.
    pub fn ended(&self, method: &str, code: Code) {
        *lock(&self.calls)
            .entry((method.to_owned(), code_name(code)))
            .or_default() += 1;
    }

    pub fn render(&self) -> String {
        let mut text = String::from(
            "# HELP shop_calls_started_total Calls handed to a handler.\n\
             # TYPE shop_calls_started_total counter\n",
        );
        for (method, count) in &*lock(&self.started) {
            // Writing into a string cannot fail.
            let _ = writeln!(
                text,
                "shop_calls_started_total{{method=\"{method}\"}} {count}"
            );
        }
        text.push_str(
            "# HELP shop_calls_total Calls answered, by method and gRPC code.\n\
             # TYPE shop_calls_total counter\n",
        );
        for ((method, code), count) in &*lock(&self.calls) {
            let _ = writeln!(
                text,
                "shop_calls_total{{method=\"{method}\",code=\"{code}\"}} {count}"
            );
        }
        text
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The code as the gRPC specification spells it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_method_and_code() {
        let metrics = Metrics::default();
        metrics.started("a.B/C");
        metrics.ended("a.B/C", Code::Ok);
        metrics.ended("a.B/C", Code::Ok);
        metrics.ended("a.B/C", Code::NotFound);
        let text = metrics.render();
        assert!(
            text.contains("shop_calls_started_total{method=\"a.B/C\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("shop_calls_total{method=\"a.B/C\",code=\"OK\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains("shop_calls_total{method=\"a.B/C\",code=\"NOT_FOUND\"} 1\n"),
            "{text}"
        );
    }
}
