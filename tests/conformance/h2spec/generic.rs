//! What every endpoint has to take.

use outrigger_tests::raw::{
    ACK, END_STREAM, Frame, PADDED, block, frame, kind, padded, reset, settings, window_update,
};

use crate::case::Outcome::{self, Alive, AliveOrClosed, Data, Served};
use crate::case::{Case, STREAM, Step};
use crate::frames::{
    CANCEL, NONE, OPEN, WHOLE, acknowledged, answered, case, data, farewell, get, get_with_block,
    get_with_priority, headers, last_data, ping, post, post_with, priority_frame, request, send,
    window,
};

/// The sidecar's own SETTINGS come first.
pub(super) const SETTINGS: Outcome =
    Outcome::Frame(|frame| frame.kind == kind::SETTINGS && frame.flags & ACK == 0);

/// The answer to a ping of this payload.
pub(super) const PONG: Outcome = Outcome::Frame(|frame: &Frame| {
    frame.kind == kind::PING && frame.flags & ACK != 0 && frame.payload == *b"h2spec\0\0"
});

/// The request's block in this many pieces of five bytes, and the rest.
fn in_pieces(pieces: usize) -> Step {
    let block = block(&request("GET"));
    let mut frames = frame(kind::HEADERS, END_STREAM, STREAM, &block[..5]);
    for piece in 1..pieces {
        let bytes = &block[5 * piece..5 * (piece + 1)];
        frames.extend(frame(kind::CONTINUATION, NONE, STREAM, bytes));
    }
    let rest = &block[5 * pieces..];
    frames.extend(frame(kind::CONTINUATION, OPEN, STREAM, rest));
    Step::Send(frames)
}

fn padded_get() -> Vec<u8> {
    let payload = padded(&block(&request("GET")), 8);
    frame(kind::HEADERS, WHOLE | PADDED, STREAM, &payload)
}

pub(super) fn cases() -> Vec<Case> {
    [
        connections_and_streams(),
        data_and_headers(),
        priorities(),
        other_frames(),
        requests(),
        fields(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn connections_and_streams() -> Vec<Case> {
    let idle = || priority_frame(STREAM, 0, 255);
    let stalled = || [window(0), get(STREAM)].concat();
    vec![
        case("generic/1/1", "sends the preface", [], SETTINGS),
        case(
            "generic/2/1",
            "PRIORITY on an idle stream",
            [send([idle()])],
            Alive,
        ),
        case(
            "generic/2/2",
            "WINDOW_UPDATE on a half-closed stream",
            [send([stalled(), window_update(STREAM, 1)])],
            Data(1),
        ),
        case(
            "generic/2/3",
            "PRIORITY on a half-closed stream",
            [send([stalled(), idle(), window_update(STREAM, 1)])],
            Data(1),
        ),
        case(
            "generic/2/4",
            "RST_STREAM on a half-closed stream",
            [send([get(STREAM), reset(STREAM, CANCEL)])],
            Alive,
        ),
        case(
            "generic/2/5",
            "PRIORITY on a closed stream",
            [send([get(STREAM)]), answered(), send([idle()])],
            Alive,
        ),
    ]
}

fn data_and_headers() -> Vec<Case> {
    let padded_data = frame(kind::DATA, END_STREAM | PADDED, STREAM, &padded(b"test", 5));
    let whole = [send([post(STREAM), last_data(STREAM)])];
    let several = [send([
        post(STREAM),
        data(STREAM, NONE, b"test"),
        last_data(STREAM),
    ])];
    let with_priority = [send([get_with_priority(0)])];
    vec![
        case("generic/3.1/1", "DATA", whole, Served),
        case("generic/3.1/2", "several DATA", several, Served),
        case(
            "generic/3.1/3",
            "DATA with padding",
            [send([post(STREAM), padded_data])],
            Served,
        ),
        case("generic/3.2/1", "HEADERS", [send([get(STREAM)])], Served),
        case(
            "generic/3.2/2",
            "HEADERS with padding",
            [send([padded_get()])],
            Served,
        ),
        case(
            "generic/3.2/3",
            "HEADERS with a priority",
            with_priority,
            Served,
        ),
        case("generic/3.10/1", "a CONTINUATION", [in_pieces(1)], Served),
        case(
            "generic/3.10/2",
            "several CONTINUATION",
            [in_pieces(2)],
            Served,
        ),
    ]
}

fn priorities() -> Vec<Case> {
    let alone = 1 << 31;
    let priorities = [
        (
            "generic/3.3/1",
            "PRIORITY of weight 1",
            priority_frame(STREAM, 0, 0),
        ),
        (
            "generic/3.3/2",
            "PRIORITY of weight 256",
            priority_frame(STREAM, 0, 255),
        ),
        (
            "generic/3.3/3",
            "PRIORITY that depends on a stream",
            priority_frame(3, STREAM, 0),
        ),
        (
            "generic/3.3/4",
            "PRIORITY that excludes others",
            priority_frame(STREAM, alone, 0),
        ),
        (
            "generic/3.3/5",
            "PRIORITY of an idle stream above",
            priority_frame(3, 0, 255),
        ),
    ];
    let cases = priorities
        .into_iter()
        .map(|(id, does, priority)| case(id, does, [send([priority, get(STREAM)])], Served));
    cases.collect()
}

fn other_frames() -> Vec<Case> {
    let all = settings(&[
        (1, 4096),
        (2, 1),
        (3, 100),
        (4, 65_535),
        (5, 16_384),
        (6, 100),
    ]);
    let all = [acknowledged(), send([all])];
    let canceled = [send([post(STREAM), reset(STREAM, CANCEL)])];
    let ping = [send([ping(*b"h2spec\0\0")])];
    let of_connection = [send([window_update(0, 1)])];
    let of_stream = [send([get(STREAM), window_update(STREAM, 1)])];
    vec![
        case("generic/3.4/1", "RST_STREAM", canceled, Alive),
        case(
            "generic/3.5/1",
            "SETTINGS",
            all,
            Outcome::Frame(Frame::acknowledges),
        ),
        case("generic/3.7/1", "PING", ping, PONG),
        case(
            "generic/3.8/1",
            "GOAWAY",
            [send([farewell(0)])],
            AliveOrClosed,
        ),
        case(
            "generic/3.9/1",
            "WINDOW_UPDATE of the connection",
            of_connection,
            Alive,
        ),
        case(
            "generic/3.9/2",
            "WINDOW_UPDATE of a stream",
            of_stream,
            Served,
        ),
    ]
}

fn requests() -> Vec<Case> {
    let head = headers(STREAM, WHOLE, &request("HEAD"));
    let announced = headers(STREAM, OPEN, &post_with(&[("trailer", "x-test")]));
    let trailers = headers(STREAM, WHOLE, &[("x-test", "ok")]);
    let body = data(STREAM, NONE, b"test");
    vec![
        case("generic/4/1", "a GET", [send([get(STREAM)])], Served),
        case("generic/4/2", "a HEAD", [send([head])], Served),
        case(
            "generic/4/3",
            "a POST",
            [send([post(STREAM), last_data(STREAM)])],
            Served,
        ),
        case(
            "generic/4/4",
            "a POST with trailers",
            [send([announced, body, trailers])],
            Served,
        ),
    ]
}

/// `user-agent` and `h2spec`, `x-test` and `h2spec` in Huffman's code.
const USER_AGENT: &[u8] = b"\x87\xb5\x05\xb1\x61\xcc\x5a\x93\x84\x9c\x48\xac\xa4";
const X_TEST: &[u8] = b"\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4";
/// The same as they are.
const PLAIN_USER_AGENT: &[u8] = b"\x0auser-agent\x06h2spec";
const PLAIN_X_TEST: &[u8] = b"\x06x-test\x06h2spec";

/// A representation's first byte (RFC 7541, 6.2).
const INCREMENTAL: u8 = 0x40;
const WITHOUT: u8 = 0;
const NEVER: u8 = 0x10;

#[expect(clippy::too_many_lines, reason = "a table, a case a line")]
fn fields() -> Vec<Case> {
    let literals = [
        (
            "generic/5/2",
            "incremental, a name of the table, Huffman",
            INCREMENTAL,
            USER_AGENT,
        ),
        (
            "generic/5/3",
            "incremental, a name of the table",
            INCREMENTAL,
            PLAIN_USER_AGENT,
        ),
        (
            "generic/5/4",
            "incremental, a new name",
            INCREMENTAL,
            PLAIN_X_TEST,
        ),
        (
            "generic/5/5",
            "incremental, a new name, Huffman",
            INCREMENTAL,
            X_TEST,
        ),
        (
            "generic/5/6",
            "not indexed, a name of the table",
            WITHOUT,
            PLAIN_USER_AGENT,
        ),
        (
            "generic/5/7",
            "not indexed, a name of the table, Huffman",
            WITHOUT,
            USER_AGENT,
        ),
        (
            "generic/5/8",
            "not indexed, a new name",
            WITHOUT,
            PLAIN_X_TEST,
        ),
        (
            "generic/5/9",
            "not indexed, a new name, Huffman",
            WITHOUT,
            X_TEST,
        ),
        (
            "generic/5/10",
            "never indexed, a name of the table",
            NEVER,
            PLAIN_USER_AGENT,
        ),
        (
            "generic/5/11",
            "never indexed, a name of the table, Huffman",
            NEVER,
            USER_AGENT,
        ),
        (
            "generic/5/12",
            "never indexed, a new name",
            NEVER,
            PLAIN_X_TEST,
        ),
        (
            "generic/5/13",
            "never indexed, a new name, Huffman",
            NEVER,
            X_TEST,
        ),
    ];
    let literals = literals.into_iter().map(|(id, does, first, text)| {
        let field = [&[first], text].concat();
        case(id, does, [send([get_with_block(b"", &field)])], Served)
    });
    let indexed = [send([get_with_block(b"", b"\xba")])];
    let begins = |update: &[u8]| [send([get_with_block(update, b"")])];
    let others = [
        case("generic/5/1", "an indexed field", indexed, Served),
        case(
            "generic/5/14",
            "a table size of 128",
            begins(b"\x3f\x61"),
            Served,
        ),
        case(
            "generic/5/15",
            "table sizes of 128 and 4,096",
            begins(b"\x3f\x61\x3f\xe1\x1f"),
            Served,
        ),
    ];
    literals.chain(others).collect()
}
