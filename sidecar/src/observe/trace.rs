//! Traces: who is the parent of this call's span, and how finished spans leave the process.
//!
//! W3C context is read from headers and written for them here; ids and sampling are decided here too, so that a call costs no lock.
//! Finished spans go to the SDK's batch processor: a bounded queue and a thread of its own, never on the data path.

mod export;

pub use export::{Exporter, Span, SpanKind};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::KeyValue;
use rand::RngExt;

use crate::outcome::Outcome;
use crate::stack::Protocol;

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A position in a trace; zero ids = none yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    pub trace_id: u128,
    pub span_id: u64,
    /// The span above; 0 = this one is the root.
    pub parent_id: u64,
    pub sampled: bool,
}

/// What every span of a call says.
pub fn call_attributes(
    protocol: Protocol,
    method: &str,
    service: &str,
    outcome: &Outcome,
) -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new("server.address", service.to_owned())];
    if protocol == Protocol::Grpc {
        attributes.push(KeyValue::new("rpc.system", "grpc"));
        if let Some((service, method)) = method.split_once('/') {
            attributes.push(KeyValue::new("rpc.service", service.to_owned()));
            attributes.push(KeyValue::new("rpc.method", method.to_owned()));
        }
        attributes.push(KeyValue::new(
            "rpc.grpc.status_code",
            i64::from(outcome.code as i32),
        ));
    }
    if let Some(reason) = outcome.reason {
        attributes.push(KeyValue::new("outrigger.reason", reason.flag()));
    }
    attributes
}

// === impl Context ===

impl Context {
    /// The caller's position, if the headers state one. A malformed `traceparent` is none, and its `tracestate` goes with it.
    pub fn extract(headers: &mut HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let context = match (values.next(), values.next()) {
            (Some(value), None) => parse(value.as_bytes()),
            _ => None,
        };
        if context.is_none() {
            headers.remove(TRACEPARENT);
            headers.remove(TRACESTATE);
        }
        context
    }

    /// This position, as the next hop is told it (W3C Trace Context, 3.2).
    pub fn traceparent(&self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let sampled = [u8::from(self.sampled)];
        for (from, bytes) in [
            (3, &self.trace_id.to_be_bytes()[..]),
            (36, &self.span_id.to_be_bytes()),
            (53, &sampled),
        ] {
            let place = text.get_mut(from..from + 2 * bytes.len());
            let written = place.map(|place| hex::encode_to_slice(bytes, place));
            debug_assert_eq!(written, Some(Ok(())), "each part has its place");
        }
        HeaderValue::from_bytes(&text).expect("hexadecimal digits are a valid header value")
    }

    /// The start of a trace, sampled with probability `ratio`.
    pub fn root(ratio: f64) -> Self {
        let mut random = rand::rng();
        Self {
            trace_id: random.random_range(1..=u128::MAX),
            span_id: random.random_range(1..=u64::MAX),
            parent_id: 0,
            sampled: random.random::<f64>() < ratio,
        }
    }

    /// A new span below this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: rand::rng().random_range(1..=u64::MAX),
            parent_id: self.span_id,
            ..*self
        }
    }
}

/// Reads a `traceparent`; versions above 00 may carry more after the flags.
fn parse(text: &[u8]) -> Option<Context> {
    let text = std::str::from_utf8(text).ok()?;
    let mut fields = text.splitn(4, '-');
    let (version, trace, span, rest) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    let (flags, more) = rest.split_at_checked(2)?;
    let version = hex(version, 2)?;
    if version == 0xff
        || (version == 0 && !more.is_empty())
        || (!more.is_empty() && !more.starts_with('-'))
    {
        return None;
    }
    let context = Context {
        trace_id: hex(trace, 32)?,
        span_id: u64::try_from(hex(span, 16)?).ok()?,
        parent_id: 0,
        sampled: hex(flags, 2)? & 1 == 1,
    };
    (context.trace_id != 0 && context.span_id != 0).then_some(context)
}

/// Exactly `length` lower-case hexadecimal digits.
fn hex(text: &str, length: usize) -> Option<u128> {
    let valid = text.len() == length
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if valid {
        u128::from_str_radix(text, 16).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn extract(values: &[&'static str]) -> (Option<Context>, HeaderMap) {
        let mut headers: HeaderMap = values
            .iter()
            .map(|value| (TRACEPARENT, HeaderValue::from_static(value)))
            .collect();
        headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
        (Context::extract(&mut headers), headers)
    }

    #[test]
    fn a_context_survives_extraction_and_injection() {
        let (context, headers) = extract(&[VALID]);
        let context = context.unwrap();
        assert_eq!(
            (context.trace_id, context.span_id, context.sampled),
            (
                0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
                0xb7ad_6b71_6920_3331,
                true
            )
        );
        assert!(headers.contains_key(TRACESTATE));
        assert_eq!(context.traceparent(), VALID);
        let child = context.child();
        assert_eq!(
            (child.trace_id, child.parent_id, child.sampled),
            (context.trace_id, context.span_id, true)
        );
    }

    #[test]
    fn what_is_malformed_is_dropped_with_its_state() {
        for value in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            let (context, headers) = extract(&[value]);
            assert_eq!(context, None, "{value}");
            assert!(headers.is_empty(), "{value}");
        }
        assert_eq!(extract(&[VALID, VALID]).0, None);
        assert!(
            extract(&["01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later"])
                .0
                .is_some()
        );
    }

    #[test]
    fn roots_are_sampled_by_ratio() {
        assert!((0..100).all(|_| Context::root(1.0).sampled));
        assert!((0..100).all(|_| !Context::root(0.0).sampled));
    }
}
