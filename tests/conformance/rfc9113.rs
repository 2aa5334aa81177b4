//! What RFC 9113 says and h2spec, which is older, does not ask: 40 cases.

use outrigger_tests::raw::{block_of, frame, kind, settings};

use crate::case::Outcome::{self, Alive, ConnectionError, Served, StreamError};
use crate::case::{Case, STREAM, Step};
use crate::frames::{
    FRAME_SIZE_ERROR, Field, NONE, OPEN, PROTOCOL_ERROR, WHOLE, case, data, get_with_block,
    headers, last_data, post, post_with, send, with,
};
use crate::listeners;

/// RFC 9113, 8.1.1: a malformed message is a stream error of this code, and goes no further.
const MALFORMED: Outcome = StreamError(&[PROTOCOL_ERROR]);

/// A GET with one more field, of bytes.
fn field(name: &[u8], value: &[u8]) -> [Step; 1] {
    [send([get_with_block(b"", &block_of(&[(name, value)]))])]
}

/// A GET with these fields for its pseudo fields and all.
fn only(fields: &[Field<'_>]) -> [Step; 1] {
    [send([headers(STREAM, WHOLE, fields)])]
}

fn get_of<'a>(path: &'a str, authority: &'a str) -> [Step; 1] {
    let method = (":method", "GET");
    only(&[
        method,
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
    ])
}

/// A GET of orders with these fields more.
fn more(fields: &[Field<'_>]) -> [Step; 1] {
    only(&with(fields))
}

/// A POST with a body of four bytes that names these lengths.
fn lengths(lengths: &[&str]) -> [Step; 1] {
    let fields: Vec<_> = lengths
        .iter()
        .map(|length| ("content-length", *length))
        .collect();
    [send([
        headers(STREAM, OPEN, &post_with(&fields)),
        last_data(STREAM),
    ])]
}

fn trailers(name: &str, value: &str) -> [Step; 1] {
    let trailers = headers(STREAM, WHOLE, &[(name, value)]);
    [send([post(STREAM), data(STREAM, NONE, b"test"), trailers])]
}

fn cases() -> Vec<Case> {
    [
        values(),
        names(),
        targets(),
        connection_fields(),
        bodies(),
        frames(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// 8.2.1: no blank at either end, no NUL, CR or LF anywhere.
fn values() -> Vec<Case> {
    vec![
        case(
            "8.2.1/1",
            "a value that begins with a blank",
            field(b"x-test", b" a"),
            MALFORMED,
        ),
        case(
            "8.2.1/2",
            "a value that ends with a blank",
            field(b"x-test", b"a "),
            MALFORMED,
        ),
        case(
            "8.2.1/3",
            "a value that begins with a tab",
            field(b"x-test", b"\ta"),
            MALFORMED,
        ),
        case(
            "8.2.1/4",
            "a value that is a blank",
            field(b"x-test", b" "),
            MALFORMED,
        ),
        case(
            "8.2.1/5",
            "a value with NUL",
            field(b"x-test", b"a\0b"),
            MALFORMED,
        ),
        case(
            "8.2.1/6",
            "a value with CR",
            field(b"x-test", b"a\rb"),
            MALFORMED,
        ),
        case(
            "8.2.1/7",
            "a value with LF",
            field(b"x-test", b"a\nb"),
            MALFORMED,
        ),
        case(
            "8.2.1/8",
            "a value with a blank inside",
            field(b"x-test", b"a b"),
            Served,
        ),
        case(
            "8.2.1/9",
            "a value of bytes that are no ASCII",
            field(b"x-test", b"\xff\x80"),
            Served,
        ),
        // gRPC leaves blanks of the message as they are.
        case(
            "8.2.1/10",
            "grpc-message with blanks at its ends",
            field(b"grpc-message", b" a "),
            Served,
        ),
    ]
}

/// 8.2.1: no bytes 0x00-0x20, 0x41-0x5a, 0x7f-0xff, no colon but in front of a pseudo field.
fn names() -> Vec<Case> {
    vec![
        case(
            "8.2.1/11",
            "a name with a blank",
            field(b"x test", b"a"),
            MALFORMED,
        ),
        case(
            "8.2.1/12",
            "a name with a control byte",
            field(b"x\x01test", b"a"),
            MALFORMED,
        ),
        case(
            "8.2.1/13",
            "a name with a byte that is no ASCII",
            field(b"x-\xe9", b"a"),
            MALFORMED,
        ),
        case(
            "8.2.1/14",
            "a name with a colon inside",
            field(b"x:test", b"a"),
            MALFORMED,
        ),
        case("8.2.1/15", "an empty name", field(b"", b"a"), MALFORMED),
    ]
}

/// 8.3.1 and 8.5: what is asked of whom.
fn targets() -> Vec<Case> {
    let host = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        ("host", "orders"),
    ];
    let options = [
        (":method", "OPTIONS"),
        (":scheme", "http"),
        (":path", "*"),
        (":authority", "orders"),
    ];
    let tunnel = [(":method", "CONNECT"), (":authority", "orders")];
    let extended = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "orders"),
    ];
    vec![
        case(
            "8.3.1/1",
            "host that says what :authority says",
            more(&[("host", "orders")]),
            Served,
        ),
        case(
            "8.3.1/2",
            "host that says something else",
            more(&[("host", "payments")]),
            MALFORMED,
        ),
        case("8.3.1/3", "host instead of :authority", only(&host), Served),
        case(
            "8.3.1/4",
            "host twice",
            more(&[("host", "orders"), ("host", "orders")]),
            MALFORMED,
        ),
        case("8.3.1/5", "an empty :authority", get_of("/", ""), MALFORMED),
        case(
            "8.3.1/6",
            ":authority with a user",
            get_of("/", "root@orders"),
            MALFORMED,
        ),
        case(
            "8.3.1/7",
            ":path without a slash in front",
            get_of("orders", "orders"),
            MALFORMED,
        ),
        case(
            "8.3.1/8",
            ":path * of a method that is not OPTIONS",
            get_of("*", "orders"),
            MALFORMED,
        ),
        case("8.3.1/9", ":path * of OPTIONS", only(&options), Served),
        case("8.5/1", "CONNECT", only(&tunnel), MALFORMED),
        case(
            "8.5/2",
            "CONNECT with a :protocol",
            only(&extended),
            MALFORMED,
        ),
    ]
}

/// 8.2.2: nothing of HTTP/1 connections, and no upgrade.
fn connection_fields() -> Vec<Case> {
    vec![
        case(
            "8.2.2/1",
            "proxy-connection",
            more(&[("proxy-connection", "close")]),
            MALFORMED,
        ),
        case(
            "8.2.2/2",
            "keep-alive",
            more(&[("keep-alive", "5")]),
            MALFORMED,
        ),
        case(
            "8.2.2/3",
            "transfer-encoding",
            more(&[("transfer-encoding", "chunked")]),
            MALFORMED,
        ),
        case("8.2.2/4", "upgrade", more(&[("upgrade", "h2c")]), MALFORMED),
        case(
            "8.2.2/5",
            "te of trailers",
            more(&[("te", "trailers")]),
            Served,
        ),
        case(
            "8.2.2/6",
            "connection in trailers",
            trailers("connection", "close"),
            MALFORMED,
        ),
    ]
}

/// 8.1.1: the body is as long as was said.
fn bodies() -> Vec<Case> {
    vec![
        case(
            "8.1.1/1",
            "two content-lengths that differ",
            lengths(&["4", "5"]),
            MALFORMED,
        ),
        case(
            "8.1.1/2",
            "two content-lengths that are the same",
            lengths(&["4", "4"]),
            Served,
        ),
        case(
            "8.1.1/3",
            "content-length with a sign",
            lengths(&["+4"]),
            MALFORMED,
        ),
        case(
            "8.1.1/4",
            "content-length of a request without a body",
            more(&[("content-length", "4")]),
            MALFORMED,
        ),
    ]
}

/// 5.5, 6.5.2, 6.8: frames and settings.
fn frames() -> Vec<Case> {
    let goaway = |stream: u32, payload: &[u8]| [send([frame(kind::GOAWAY, 0, stream, payload)])];
    let update = frame(0x10, 0, 0, b"\0\0\0\x01u=1");
    let newer = settings(&[(8, 1), (9, 1)]);
    vec![
        case(
            "6.8/1",
            "GOAWAY on an open stream",
            [send([
                post(STREAM),
                frame(kind::GOAWAY, 0, STREAM, &[0; 8]),
            ])],
            ConnectionError(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.8/2",
            "GOAWAY of less than 8 bytes",
            goaway(0, &[0; 7]),
            ConnectionError(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "5.5/1",
            "PRIORITY_UPDATE, a later extension",
            [send([update])],
            Alive,
        ),
        case(
            "6.5.2/1",
            "settings of later extensions",
            [send([newer])],
            Alive,
        ),
    ]
}

#[tokio::test]
async fn c3_inbound_outbound_and_edge_hold_to_what_rfc_9113_added() {
    let cases = cases();
    assert_eq!(cases.len(), 40);
    listeners::conform(cases).await;
}
