//! RFC 9113, 7 and 8: error codes, requests, push.

use outrigger_tests::raw::{block, frame, kind, reset};

use crate::case::Outcome::{self, Alive, AliveOrClosed, ConnectionError, StreamError};
use crate::case::{Case, STREAM, Step};
use crate::frames::{
    Field, NONE, OPEN, PROTOCOL_ERROR, WHOLE, case, data, farewell, headers, last_data, post,
    post_with, request, send, with,
};

/// RFC 9113, 8.1.1: a stream error of this code.
const MALFORMED: Outcome = StreamError(&[PROTOCOL_ERROR]);

fn ask(fields: &[Field<'_>]) -> [Step; 1] {
    [send([headers(STREAM, WHOLE, fields)])]
}

/// The GET without one of its fields.
fn without(name: &str) -> [Step; 1] {
    let mut fields = request("GET");
    fields.retain(|(found, _)| *found != name);
    ask(&fields)
}

/// A POST with part of its body, and a second block.
fn second_block(flags: u8, field: Field<'_>) -> [Step; 1] {
    let body = data(STREAM, NONE, b"test");
    [send([post(STREAM), body, headers(STREAM, flags, &[field])])]
}

/// A POST that names one byte, and a body of these frames.
fn one_byte<const N: usize>(body: [Vec<u8>; N]) -> [Step; 1] {
    let head = headers(STREAM, OPEN, &post_with(&[("content-length", "1")]));
    [send([head, body.into_iter().flatten().collect()])]
}

pub(super) fn cases() -> Vec<Case> {
    [codes(), fields(), pseudo_fields(), bodies()]
        .into_iter()
        .flatten()
        .collect()
}

fn codes() -> Vec<Case> {
    let promise = [&3_u32.to_be_bytes(), block(&request("GET")).as_slice()].concat();
    let promise = frame(kind::PUSH_PROMISE, OPEN, STREAM, &promise);
    vec![
        case(
            "http2/7/1",
            "GOAWAY with an unknown code",
            [send([farewell(0xff)])],
            AliveOrClosed,
        ),
        case(
            "http2/7/2",
            "RST_STREAM with an unknown code",
            [send([post(STREAM), reset(STREAM, 0xff)])],
            Alive,
        ),
        case(
            "http2/8.2/1",
            "a client that pushes",
            [send([promise])],
            ConnectionError(&[PROTOCOL_ERROR]),
        ),
    ]
}

fn fields() -> Vec<Case> {
    let behind = [vec![("x-test", "ok")], request("GET")].concat();
    let in_trailers = second_block(OPEN, (":method", "POST"));
    vec![
        case(
            "http2/8.1/1",
            "a second block that does not end the stream",
            second_block(OPEN, ("x-test", "ok")),
            MALFORMED,
        ),
        case(
            "http2/8.1.2/1",
            "a name in upper case",
            ask(&with(&[("X-TEST", "ok")])),
            MALFORMED,
        ),
        case(
            "http2/8.1.2.1/1",
            "an unknown pseudo field",
            ask(&with(&[(":test", "ok")])),
            MALFORMED,
        ),
        case(
            "http2/8.1.2.1/2",
            "a response's pseudo field",
            ask(&with(&[(":status", "200")])),
            MALFORMED,
        ),
        case(
            "http2/8.1.2.1/3",
            "a pseudo field in trailers",
            in_trailers,
            MALFORMED,
        ),
        case(
            "http2/8.1.2.1/4",
            "a pseudo field behind others",
            ask(&behind),
            MALFORMED,
        ),
        case(
            "http2/8.1.2.2/1",
            "connection",
            ask(&with(&[("connection", "keep-alive")])),
            MALFORMED,
        ),
        case(
            "http2/8.1.2.2/2",
            "te that is more than trailers",
            ask(&with(&[("trailers", "test"), ("te", "trailers, deflate")])),
            MALFORMED,
        ),
    ]
}

fn pseudo_fields() -> Vec<Case> {
    let no_path = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", ""),
        (":authority", "orders"),
    ];
    vec![
        case(
            "http2/8.1.2.3/1",
            "an empty :path",
            ask(&no_path),
            MALFORMED,
        ),
        case(
            "http2/8.1.2.3/2",
            "no :method",
            without(":method"),
            MALFORMED,
        ),
        case(
            "http2/8.1.2.3/3",
            "no :scheme",
            without(":scheme"),
            MALFORMED,
        ),
        case("http2/8.1.2.3/4", "no :path", without(":path"), MALFORMED),
        case(
            "http2/8.1.2.3/5",
            ":method twice",
            ask(&with(&[(":method", "GET")])),
            MALFORMED,
        ),
        case(
            "http2/8.1.2.3/6",
            ":scheme twice",
            ask(&with(&[(":scheme", "http")])),
            MALFORMED,
        ),
        case(
            "http2/8.1.2.3/7",
            ":path twice",
            ask(&with(&[(":path", "/")])),
            MALFORMED,
        ),
    ]
}

fn bodies() -> Vec<Case> {
    let piece = data(STREAM, NONE, b"test");
    vec![
        case(
            "http2/8.1.2.6/1",
            "another content-length than the body's",
            one_byte([last_data(STREAM)]),
            MALFORMED,
        ),
        case(
            "http2/8.1.2.6/2",
            "another content-length than the body's in several DATA",
            one_byte([piece, last_data(STREAM)]),
            MALFORMED,
        ),
    ]
}
