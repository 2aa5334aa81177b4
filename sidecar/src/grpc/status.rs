//! `grpc-status` and what goes with it: where it is read from, how one of our own is written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use outrigger_proto::google::rpc;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use prost::Message;
use tonic::Code;

use crate::error::Kind;

pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// What the gRPC protocol leaves unencoded in `grpc-message`: printable ASCII but `%`.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// A message longer than this is cut: trailers must stay far below the header limit.
const MAX_MESSAGE: usize = 1024;

/// What `grpc-status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Nothing,
    Code(Code),
    /// Not an integer, or two different values.
    Nonsense,
}

/// Reads the status; an integer above 16 is UNKNOWN.
pub fn read(headers: &HeaderMap) -> Said {
    let mut values = headers.get_all(STATUS).iter();
    let Some(first) = values.next() else {
        return Said::Nothing;
    };
    if values.any(|value| value != first) {
        return Said::Nonsense;
    }
    let text = first.as_bytes();
    if text.is_empty() || text.len() > 9 || !text.iter().all(u8::is_ascii_digit) {
        return Said::Nonsense;
    }
    let number = text
        .iter()
        .fold(0_i32, |sum, digit| sum * 10 + i32::from(digit - b'0'));
    Said::Code(Code::from_i32(number))
}

/// The status of an HTTP answer that brought none of its own.
pub fn from_http(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// A code's name as logs and metrics print it.
pub fn name(code: Code) -> &'static str {
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

/// Percent-encodes a message for `grpc-message`, cutting it at a character boundary.
pub fn encode_message(message: &str) -> HeaderValue {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let (shown, _) = message.split_at(end);
    let text: Cow<'_, str> = utf8_percent_encode(shown, ENCODED).into();
    HeaderValue::from_str(&text).expect("percent-encoding leaves printable ASCII only")
}

/// Reads `grpc-message`; a bad encoding loses nothing but prettiness.
pub fn decode_message(value: &HeaderValue) -> String {
    percent_decode(value.as_bytes())
        .decode_utf8_lossy()
        .into_owned()
}

/// Writes a status of our own: code, message, and one `ErrorInfo` of domain `outrigger`, with `RetryInfo` when a repeat has its time.
pub fn write(
    headers: &mut HeaderMap,
    code: Code,
    message: &str,
    kind: Kind,
    metadata: HashMap<String, String>,
    retry_after: Option<Duration>,
) {
    let mut details = vec![any(
        &rpc::ErrorInfo {
            reason: kind.flag().to_ascii_uppercase(),
            domain: "outrigger".to_owned(),
            metadata,
        },
        "google.rpc.ErrorInfo",
    )];
    if let Some(after) = retry_after {
        let delay = prost_types::Duration {
            seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(after.subsec_nanos()).unwrap_or(0),
        };
        details.push(any(
            &rpc::RetryInfo {
                retry_delay: Some(delay),
            },
            "google.rpc.RetryInfo",
        ));
    }
    let status = rpc::Status {
        code: code as i32,
        message: message.to_owned(),
        details,
    };
    headers.insert(STATUS, HeaderValue::from(code as i32));
    headers.insert(MESSAGE, encode_message(message));
    let encoded = STANDARD_NO_PAD.encode(status.encode_to_vec());
    headers.insert(
        DETAILS,
        HeaderValue::try_from(encoded).expect("base64 is a valid header value"),
    );
}

fn any(message: &impl Message, name: &str) -> prost_types::Any {
    prost_types::Any {
        type_url: format!("type.googleapis.com/{name}"),
        value: message.encode_to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (STATUS, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn status_is_read_strictly() {
        for (values, expected) in [
            (&[][..], Said::Nothing),
            (&["0"], Said::Code(Code::Ok)),
            (&["16"], Said::Code(Code::Unauthenticated)),
            (&["17"], Said::Code(Code::Unknown)),
            (&["4294967296"], Said::Nonsense),
            (&["-1"], Said::Nonsense),
            (&["five"], Said::Nonsense),
            (&[""], Said::Nonsense),
            (&["5", "5"], Said::Code(Code::NotFound)),
            (&["5", "0"], Said::Nonsense),
        ] {
            assert_eq!(read(&headers(values)), expected, "{values:?}");
        }
    }

    #[test]
    fn messages_survive_encoding() {
        for (message, encoded) in [
            ("plain text", "plain text"),
            ("100% wrong", "100%25 wrong"),
            (
                "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n",
                "%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A",
            ),
        ] {
            let header = encode_message(message);
            assert_eq!(header.to_str().unwrap(), encoded);
            assert_eq!(decode_message(&header), message);
        }
        assert_eq!(decode_message(&HeaderValue::from_static("50%zz")), "50%zz");
        assert!(encode_message(&"☺".repeat(5000)).len() <= 3 * (MAX_MESSAGE + 3));
    }

    #[test]
    fn our_status_carries_one_error_info() {
        let mut headers = HeaderMap::new();
        write(
            &mut headers,
            Code::Unavailable,
            "no endpoint",
            Kind::NoEndpoint,
            HashMap::from([("service".to_owned(), "orders".to_owned())]),
            Some(Duration::from_millis(1500)),
        );
        assert_eq!(read(&headers), Said::Code(Code::Unavailable));
        let bytes = STANDARD_NO_PAD
            .decode(headers.get(DETAILS).unwrap().as_bytes())
            .unwrap();
        let status = rpc::Status::decode(bytes.as_slice()).unwrap();
        assert_eq!(
            (status.code, status.message.as_str(), status.details.len()),
            (14, "no endpoint", 2)
        );
        let info = rpc::ErrorInfo::decode(status.details[0].value.as_slice()).unwrap();
        assert_eq!(
            (
                info.reason.as_str(),
                info.domain.as_str(),
                info.metadata["service"].as_str()
            ),
            ("NO_ENDPOINT", "outrigger", "orders")
        );
    }

    #[test]
    fn http_maps_as_grpc_says() {
        for http in 100..600 {
            let expected = match http {
                400 => 13,
                401 => 16,
                403 => 7,
                404 => 12,
                429 | 502 | 503 | 504 => 14,
                _ => 2,
            };
            assert_eq!(
                from_http(StatusCode::from_u16(http).unwrap()) as i32,
                expected,
                "{http}"
            );
        }
    }
}
