//! Heads and trailers on their way out: which fields, in which order, and which of them the tables remember.

use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, COOKIE, DATE, ETAG, PROXY_AUTHORIZATION, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::connection::Outgoing;
use super::hpack::Indexing;
use crate::grpc::is_grpc;
use crate::stack::Headers;

/// Values longer than this are not remembered: two dozen of them would fill a table.
const LONG: usize = 128;

/// The pseudo fields of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) method: &'a Method,
    pub(super) scheme: &'a str,
    pub(super) authority: &'a str,
    pub(super) path: &'a str,
}

/// A request's head.
pub(super) fn request<'a>(
    target: Target<'a>,
    headers: &'a Headers,
) -> impl Iterator<Item = Outgoing<'a>> {
    // gRPC has few paths; others may carry ids.
    let path = match is_grpc(headers) {
        true => Indexing::Incremental,
        false => Indexing::Without,
    };
    let Target {
        method,
        scheme,
        authority,
        ..
    } = target;
    let pseudo = [
        (":method", method.as_str(), Indexing::Incremental),
        (":scheme", scheme, Indexing::Incremental),
        (":authority", authority, Indexing::Incremental),
        (":path", target.path, path),
    ];
    let pseudo = pseudo
        .into_iter()
        .filter(|(_, value, _)| !value.is_empty())
        .map(|(name, value, indexing)| (name.as_bytes(), value.as_bytes(), indexing));
    pseudo.chain(headers.sent().map(field))
}

/// A response's head.
pub(super) fn response<'a>(
    status: &'a StatusCode,
    headers: &'a HeaderMap,
) -> impl Iterator<Item = Outgoing<'a>> {
    let status = (
        b":status".as_slice(),
        status.as_str().as_bytes(),
        Indexing::Incremental,
    );
    std::iter::once(status).chain(fields(headers))
}

/// Fields without pseudo fields: trailers.
pub(super) fn fields(headers: &HeaderMap) -> impl Iterator<Item = Outgoing<'_>> {
    headers.iter().map(field)
}

fn field<'a>((name, value): (&'a HeaderName, &'a HeaderValue)) -> Outgoing<'a> {
    (
        name.as_str().as_bytes(),
        value.as_bytes(),
        indexing(name, value),
    )
}

/// What differs from call to call would only push out what does not (RFC 7541, 6.2.2); secrets are for no table (7.1).
fn indexing(name: &HeaderName, value: &HeaderValue) -> Indexing {
    if value.is_sensitive()
        || [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, SET_COOKIE].contains(name)
    {
        return Indexing::Never;
    }
    let is_unique = matches!(
        name.as_str(),
        "traceparent"
            | "tracestate"
            | "grpc-timeout"
            | "grpc-message"
            | "x-request-id"
            | "idempotency-key"
    ) || [CONTENT_LENGTH, DATE, ETAG].contains(name);
    match is_unique || value.len() > LONG {
        true => Indexing::Without,
        false => Indexing::Incremental,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexing_of(name: &str, value: &str) -> Indexing {
        let mut headers = HeaderMap::new();
        headers.insert(
            HeaderName::try_from(name).unwrap(),
            HeaderValue::try_from(value).unwrap(),
        );
        let all: Vec<_> = fields(&headers).collect();
        all[0].2
    }

    #[test]
    fn tables_hold_what_comes_again_and_no_secrets() {
        use Indexing::{Incremental, Never, Without};
        let long = "x".repeat(LONG + 1);
        for (name, value, expected) in [
            ("content-type", "application/grpc", Incremental),
            ("grpc-status", "0", Incremental),
            ("x-outrigger-peer", "spiffe://a/b", Incremental),
            ("traceparent", "00-1-2-01", Without),
            ("grpc-timeout", "999m", Without),
            ("x-a", &long, Without),
            ("authorization", "Bearer x", Never),
            ("cookie", "a=b", Never),
        ] {
            assert_eq!(indexing_of(name, value), expected, "{name}");
        }
    }

    #[test]
    fn pseudo_fields_come_first() {
        let headers = Headers::from(HeaderMap::from_iter([(
            HeaderName::from_static("te"),
            HeaderValue::from_static("trailers"),
        )]));
        let target = Target {
            method: &Method::POST,
            scheme: "https",
            authority: "orders",
            path: "/a/B",
        };
        let names: Vec<_> = request(target, &headers)
            .map(|(name, _, indexing)| (std::str::from_utf8(name).unwrap(), indexing))
            .collect();
        let expected = [
            (":method", Indexing::Incremental),
            (":scheme", Indexing::Incremental),
            (":authority", Indexing::Incremental),
            (":path", Indexing::Without),
            ("te", Indexing::Incremental),
        ];
        assert_eq!(names, expected);
    }
}
