//! How long a body is, decided from the head alone (RFC 9112, 6.3). Two ways to tell, or one that two readers could understand
//! differently, is a refusal: that is how a second request is hidden in the body of the first.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};

use super::head::{self, Version};
use super::refusal::Refusal;

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    Chunked,
    /// With the connection; responses only.
    UntilClose,
}

pub(super) fn of_request(head: &head::Request) -> Result<Framing, Refusal> {
    Ok(told(head.version, &head.headers)?.unwrap_or(Framing::None))
}

/// `method` is the request's.
pub(super) fn of_response(method: &Method, head: &head::Response) -> Result<Framing, Refusal> {
    let told = told(head.version, &head.headers)?;
    if is_bodiless(method, head.status) {
        return Ok(Framing::None);
    }
    Ok(told.unwrap_or(Framing::UntilClose))
}

/// Such a response has no body, whatever its fields say.
pub(super) fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The one number that all `Content-Length` fields agree on.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let one = number(value.as_bytes()).ok_or(Refusal::ContentLength)?;
        if length.is_some_and(|other| other != one) {
            return Err(Refusal::ContentLength);
        }
        length = Some(one);
    }
    Ok(length)
}

fn told(version: Version, headers: &HeaderMap) -> Result<Option<Framing>, Refusal> {
    let length = content_length(headers)?;
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(length.map(Framing::Length));
    }
    if length.is_some() {
        return Err(Refusal::TwoLengths);
    }
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = encodings
        .next()
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !is_chunked || encodings.next().is_some() || version == Version::Http10 {
        return Err(Refusal::TransferEncoding);
    }
    Ok(Some(Framing::Chunked))
}

/// Digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: &str, fields: &str) -> Result<Framing, Refusal> {
        let head = format!("POST / HTTP/{version}\r\n{fields}\r\n");
        of_request(&head::request(head.as_bytes(), 8).unwrap())
    }

    #[test]
    fn a_request_has_one_length_or_none() {
        for (fields, expected) in [
            ("", Ok(Framing::None)),
            ("content-length: 0\r\n", Ok(Framing::Length(0))),
            ("content-length: 5\r\n", Ok(Framing::Length(5))),
            ("content-length: 005\r\n", Ok(Framing::Length(5))),
            (
                "content-length: 5\r\ncontent-length: 5\r\n",
                Ok(Framing::Length(5)),
            ),
            (
                "content-length: 18446744073709551615\r\n",
                Ok(Framing::Length(u64::MAX)),
            ),
            (
                "content-length: 18446744073709551616\r\n",
                Err(Refusal::ContentLength),
            ),
            (
                "content-length: 5\r\ncontent-length: 6\r\n",
                Err(Refusal::ContentLength),
            ),
            ("content-length:\r\n", Err(Refusal::ContentLength)),
            ("content-length: +5\r\n", Err(Refusal::ContentLength)),
            ("content-length: -5\r\n", Err(Refusal::ContentLength)),
            ("content-length: 0x5\r\n", Err(Refusal::ContentLength)),
            ("content-length: 5, 5\r\n", Err(Refusal::ContentLength)),
            ("content-length: 5 5\r\n", Err(Refusal::ContentLength)),
            ("content-length: five\r\n", Err(Refusal::ContentLength)),
            ("transfer-encoding: chunked\r\n", Ok(Framing::Chunked)),
            ("transfer-encoding: Chunked\r\n", Ok(Framing::Chunked)),
            (
                "transfer-encoding: gzip, chunked\r\n",
                Err(Refusal::TransferEncoding),
            ),
            (
                "transfer-encoding: chunked, identity\r\n",
                Err(Refusal::TransferEncoding),
            ),
            (
                "transfer-encoding: chunked, chunked\r\n",
                Err(Refusal::TransferEncoding),
            ),
            (
                "transfer-encoding: identity\r\n",
                Err(Refusal::TransferEncoding),
            ),
            (
                "transfer-encoding: xchunked\r\n",
                Err(Refusal::TransferEncoding),
            ),
            (
                "transfer-encoding: \"chunked\"\r\n",
                Err(Refusal::TransferEncoding),
            ),
            ("transfer-encoding:\r\n", Err(Refusal::TransferEncoding)),
            (
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
                Err(Refusal::TransferEncoding),
            ),
            (
                "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
                Err(Refusal::TransferEncoding),
            ),
            (
                "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                Err(Refusal::TwoLengths),
            ),
            (
                "transfer-encoding: x\r\ncontent-length: 5\r\n",
                Err(Refusal::TwoLengths),
            ),
        ] {
            assert_eq!(of("1.1", fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn the_old_version_has_no_chunks() {
        let chunked = of("1.0", "transfer-encoding: chunked\r\n");
        assert_eq!(chunked, Err(Refusal::TransferEncoding));
        assert_eq!(of("1.0", "content-length: 3\r\n"), Ok(Framing::Length(3)));
    }

    #[test]
    fn a_response_ends_with_its_connection_when_nothing_else_is_said() {
        for (method, status, fields, expected) in [
            (Method::GET, "200", "", Ok(Framing::UntilClose)),
            (
                Method::GET,
                "200",
                "content-length: 3\r\n",
                Ok(Framing::Length(3)),
            ),
            (
                Method::GET,
                "200",
                "transfer-encoding: chunked\r\n",
                Ok(Framing::Chunked),
            ),
            (
                Method::HEAD,
                "200",
                "content-length: 3\r\n",
                Ok(Framing::None),
            ),
            (Method::GET, "204", "", Ok(Framing::None)),
            (
                Method::GET,
                "304",
                "content-length: 3\r\n",
                Ok(Framing::None),
            ),
            (Method::GET, "100", "", Ok(Framing::None)),
            (
                Method::HEAD,
                "200",
                "content-length: 3\r\ncontent-length: 4\r\n",
                Err(Refusal::ContentLength),
            ),
            (
                Method::GET,
                "200",
                "content-length: 3\r\ntransfer-encoding: chunked\r\n",
                Err(Refusal::TwoLengths),
            ),
            (
                Method::GET,
                "200",
                "transfer-encoding: gzip\r\n",
                Err(Refusal::TransferEncoding),
            ),
        ] {
            let head = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
            let head = head::response(head.as_bytes(), 8).unwrap();
            assert_eq!(
                of_response(&method, &head),
                expected,
                "{method} {status} {fields:?}"
            );
        }
    }
}
