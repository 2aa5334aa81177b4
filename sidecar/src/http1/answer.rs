//! A reply as a response: its framing, and whether the connection goes on after it.

use bytes::{BufMut as _, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderValue};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::encode::{self, Afterwards};
use super::framing::{self, Framing};
use super::head::Version;
use super::refusal::Refusal;
use crate::stack::{Body, Reply};

/// What of a request decides how it is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) is_head: bool,
    pub(super) version: Version,
    /// The caller would keep the connection.
    pub(super) keeps: bool,
    /// The caller takes trailers.
    pub(super) has_trailers: bool,
}

/// A response about to be written.
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// `None` where a response has no body, whatever its fields say.
    pub(super) body: Option<Body>,
    pub(super) framing: Framing,
    /// The connection ends after it.
    pub(super) is_last: bool,
    afterwards: Afterwards,
}

pub(super) fn of(asked: &Asked, reply: Reply, is_leaving: bool) -> Answer {
    let Reply {
        status,
        mut headers,
        body,
    } = reply;
    super::strip_hop_by_hop(&mut headers);
    // A length that is none would be believed by somebody.
    let length = framing::content_length(&headers).unwrap_or_default();
    headers.remove(CONTENT_LENGTH);
    let is_bodiless =
        asked.is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let Some(length) = length
        && is_bodiless
        && status != StatusCode::NO_CONTENT
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let framing = match is_bodiless {
        true => Framing::None,
        false => framing_of(asked.version, length, &body),
    };
    let is_last = is_leaving || !asked.keeps || framing == Framing::UntilClose;
    headers.entry(DATE).or_insert_with(date);
    Answer {
        status,
        headers,
        body: (!is_bodiless).then_some(body),
        framing,
        is_last,
        afterwards: match (is_last, asked.version) {
            (true, _) => Afterwards::Close,
            (false, Version::Http10) => Afterwards::KeepAlive,
            (false, Version::Http11) => Afterwards::Unsaid,
        },
    }
}

fn framing_of(version: Version, length: Option<u64>, body: &Body) -> Framing {
    let exact = match body.is_end_stream() {
        true => Some(0),
        false => body.size_hint().exact(),
    };
    match (length.or(exact), version) {
        (Some(length), _) => Framing::Length(length),
        (None, Version::Http11) => Framing::Chunked,
        (None, Version::Http10) => Framing::UntilClose,
    }
}

/// A response that says what was wrong; the connection ends after it.
pub(super) fn refuse(refusal: Refusal, out: &mut BytesMut) {
    let text = format!("{refusal}\n");
    let headers = HeaderMap::from_iter([
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        ),
        (DATE, date()),
    ]);
    let framing = Framing::Length(text.len() as u64);
    encode::response(out, refusal.status(), &headers, framing, Afterwards::Close);
    out.put_slice(text.as_bytes());
}

/// A head before the response.
pub(super) fn early(status: StatusCode, headers: &HeaderMap, out: &mut BytesMut) {
    let mut headers = headers.clone();
    super::strip_hop_by_hop(&mut headers);
    headers.remove(CONTENT_LENGTH);
    encode::response(out, status, &headers, Framing::None, Afterwards::Unsaid);
}

fn date() -> HeaderValue {
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now());
    text.ok()
        .and_then(|text| HeaderValue::try_from(text).ok())
        .unwrap_or_else(|| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

// === impl Answer ===

impl Answer {
    pub(super) fn write(&self, out: &mut BytesMut) {
        encode::response(
            out,
            self.status,
            &self.headers,
            self.framing,
            self.afterwards,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Data;
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full, StreamBody};

    fn exact(text: &'static str) -> Body {
        Box::pin(
            Full::new(Data::uncredited(Bytes::from_static(text.as_bytes())))
                .map_err(|never| match never {}),
        )
    }

    fn unknown() -> Body {
        Box::pin(StreamBody::new(futures::stream::pending()))
    }

    fn head(asked: Asked, status: u16, length: Option<&'static str>, body: Body) -> (String, bool) {
        let mut headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static("now"))]);
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        let status = StatusCode::from_u16(status).unwrap();
        let answer = of(
            &asked,
            Reply {
                status,
                headers,
                body,
            },
            false,
        );
        let mut out = BytesMut::new();
        answer.write(&mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        let fields = text.split_once("date: now\r\n").unwrap().1;
        (
            fields.trim_end().replace("\r\n", " "),
            answer.body.is_some(),
        )
    }

    #[test]
    fn a_response_is_framed_once() {
        let new = Asked {
            is_head: false,
            version: Version::Http11,
            keeps: true,
            has_trailers: false,
        };
        let head_of = Asked {
            is_head: true,
            ..new
        };
        let old = Asked {
            version: Version::Http10,
            keeps: false,
            ..new
        };
        let kept = Asked { keeps: true, ..old };
        type Case = (Asked, u16, Option<&'static str>, Body, &'static str, bool);
        let cases: [Case; 10] = [
            (new, 200, None, exact("abc"), "content-length: 3", true),
            (new, 200, None, exact(""), "content-length: 0", true),
            (
                new,
                200,
                None,
                unknown(),
                "transfer-encoding: chunked",
                true,
            ),
            (new, 200, Some("5"), unknown(), "content-length: 5", true),
            (
                new,
                200,
                Some("5, 5"),
                unknown(),
                "transfer-encoding: chunked",
                true,
            ),
            (new, 204, Some("0"), exact(""), "", false),
            (new, 304, Some("7"), exact(""), "content-length: 7", false),
            (
                head_of,
                200,
                Some("7"),
                exact(""),
                "content-length: 7",
                false,
            ),
            (old, 200, None, unknown(), "connection: close", true),
            (
                kept,
                200,
                None,
                exact("a"),
                "content-length: 1 connection: keep-alive",
                true,
            ),
        ];
        for (asked, status, length, body, fields, has_body) in cases {
            let written = head(asked, status, length, body);
            assert_eq!(
                written,
                (fields.to_owned(), has_body),
                "{asked:?} {status} {length:?}"
            );
        }
    }
}
