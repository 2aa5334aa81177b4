//! How large the head of a request may be, whatever it asks for.

use http::request::Parts;

use crate::config::Limits;
use crate::error::Refusal;
use crate::limit::Limit;

/// HTTP/2 counts this much a header besides its name and value.
const EACH: usize = 32;
/// What our own sidecar added is not the caller's.
const OURS: [&str; 3] = ["traceparent", "tracestate", "baggage"];

pub(crate) fn check(parts: &Parts, limits: &Limits) -> Result<(), Refusal> {
    let uri = parts
        .uri
        .path_and_query()
        .map_or(0, |uri| uri.as_str().len());
    if uri > limits.uri {
        let message = format!("path and query are longer than {} bytes", limits.uri);
        return Err(Refusal::new("URI_TOO_LONG", message).past(Limit::Uri));
    }
    let (mut count, mut bytes) = (0, 0);
    for (name, value) in &parts.headers {
        if name.as_str().starts_with("x-outrigger-") || OURS.contains(&name.as_str()) {
            continue;
        }
        count += 1;
        bytes += name.as_str().len() + value.len() + EACH;
    }
    if count > limits.header_count {
        let message = format!("there are more than {} headers", limits.header_count);
        return Err(Refusal::new("HEADERS_TOO_LARGE", message).past(Limit::HeaderCount));
    }
    if bytes > limits.header_bytes {
        let message = format!("the headers are larger than {} bytes", limits.header_bytes);
        return Err(Refusal::new("HEADERS_TOO_LARGE", message).past(Limit::HeaderList));
    }
    Ok(())
}
