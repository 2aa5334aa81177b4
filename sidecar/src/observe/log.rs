//! The access log: one line a call. What failed, was repeated or refused is `INFO`, the rest `DEBUG`. Never metadata, messages or tokens.

use std::sync::Arc;
use std::time::Duration;

use super::{Direction, Facts, trace};
use crate::contract;
use crate::grpc::status;
use crate::outcome::Outcome;
use crate::stack::Protocol;

/// A path longer than this is cut: it comes from the caller.
const LONGEST_PATH: usize = 256;

/// What a line is made of.
#[derive(Debug)]
pub struct Line<'a> {
    pub direction: Direction,
    pub peer: &'a str,
    pub service: &'a Arc<str>,
    pub path: &'a str,
    pub facts: &'a Facts,
    pub outcome: &'a Outcome,
    pub context: &'a trace::Context,
    pub deadline_left: Option<Duration>,
    pub elapsed: Duration,
    pub protocol: Protocol,
}

macro_rules! line {
    ($level:ident, $line:expr) => {{
        let line = $line;
        let promise = line.facts.promise.borrow();
        let promise = promise.as_deref();
        tracing::$level!(
            target: "outrigger::call",
            direction = line.direction.name(),
            peer = line.peer,
            service = &**line.service,
            method = %method(promise, line.path),
            kind = promise.map(|promise| promise.kind.name()),
            class = promise.map(|promise| promise.class.name()),
            leg = line.facts.leg.borrow().as_deref(),
            endpoint = line.facts.tried.borrow().last().map(|id| &**id),
            attempts = line.facts.attempts.get(),
            code = status::name(line.outcome.code),
            reason = line.outcome.reason_flag(),
            by = line.outcome.by.name(),
            http_status = line.outcome.http_status,
            elapsed = millis(line.elapsed),
            first_response = line.outcome.first_response.map(millis),
            deadline_left = line.deadline_left.map(millis),
            bytes_in = line.facts.sent().bytes,
            bytes_out = line.outcome.received.bytes,
            messages_in = line.facts.sent().messages,
            messages_out = line.outcome.received.messages,
            retry = line.facts.decision.get().map(crate::attempt::safety::Decision::name),
            trace_id = %format_args!("{:032x}", line.context.trace_id),
            span_id = %format_args!("{:016x}", line.context.span_id),
            "call"
        );
    }};
}

/// Writes the line of a call that is over. `may` is asked of `INFO` lines that the filter lets through: whether there is room for one more.
pub fn access(line: &Line<'_>, may: impl FnOnce() -> bool) {
    if line.outcome.is_ok() && line.facts.attempts.get() <= 1 {
        line!(debug, line);
    } else if tracing::enabled!(target: "outrigger::call", tracing::Level::INFO) && may() {
        line!(info, line);
    }
}

/// The contract's name for the method, else the path as it came, printable and cut.
fn method(promise: Option<&contract::Promise>, path: &str) -> String {
    match promise {
        Some(promise) => promise.method.to_string(),
        None => path
            .chars()
            .filter(|character| !character.is_control())
            .take(LONGEST_PATH)
            .collect(),
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_forge_lines() {
        assert_eq!(method(None, "/a\nb\u{1b}[0m"), "/ab[0m");
        assert_eq!(method(None, &"x".repeat(5000)).len(), LONGEST_PATH);
    }

    #[test]
    fn durations_have_three_decimals_of_a_millisecond() {
        assert!((millis(Duration::from_nanos(1_234_567)) - 1.235).abs() < f64::EPSILON);
    }
}
