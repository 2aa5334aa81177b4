//! The lines: what an application says to a call that has begun, what its caller gets, what becomes of its neighbour.

use outrigger_tests::raw::{
    END_HEADERS, END_STREAM, Heard, Script, block, block_of, frame, goaway, kind, reset, settings,
    window_update,
};
use tonic::Code;

use super::Hostile;
use super::Neighbour::{self, Served, Told};
use crate::answers::{HEAD, answer, early, head, head_with, in_pieces, message, ok, trailers_with};
use crate::frames::{self, data, headers};

/// What breaks a stream or a connection of HTTP/2 is the peer's fault: mesh reason `protocol`.
const PROTOCOL: (Code, &str) = (Code::Internal, "protocol");
pub(super) const OK: (Code, &str) = (Code::Ok, "");

fn line(
    does: &'static str,
    application: Script,
    caller: (Code, &'static str),
    neighbour: Neighbour,
) -> Hostile {
    Hostile {
        does,
        application,
        caller,
        neighbour,
    }
}

/// Says it once the call has begun.
macro_rules! says {
    ($stream:ident => $($frame:expr),+) => {
        |heard, $stream| match heard {
            Heard::Begun => [$($frame),+].concat(),
            _ => Vec::new(),
        }
    };
}

/// A head of these fields alone, and the rest of an answer.
fn answer_with(stream: u32, fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let head = frame(kind::HEADERS, END_HEADERS, stream, &block_of(fields));
    [head, message(stream), ok(stream)].concat()
}

/// An answer with one field too many.
fn answer_with_field(stream: u32, name: &[u8], value: &[u8]) -> Vec<u8> {
    answer_with(
        stream,
        &[
            (b":status", b"200"),
            (b"content-type", b"application/grpc"),
            (name, value),
        ],
    )
}

fn answer_of_length(stream: u32, length: &str) -> Vec<u8> {
    let head = head_with(stream, &[("content-length", length)]);
    [head, message(stream), ok(stream)].concat()
}

pub(super) fn table() -> Vec<Hostile> {
    [
        heads(),
        bodies(),
        bounds(),
        windows(),
        connections(),
        farewells(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// RFC 9113, 8.1 and 8.3: a malformed head is its stream's error.
fn heads() -> Vec<Hostile> {
    vec![
        line(
            "a head without :status",
            says!(s => answer_with(s, &[(b"content-type", b"application/grpc")])),
            PROTOCOL,
            Served,
        ),
        line(
            ":status twice",
            says!(s => answer_with_field(s, b":status", b"200")),
            PROTOCOL,
            Served,
        ),
        line(
            ":status of letters",
            says!(s => answer_with(s, &[(b":status", b"abc")])),
            PROTOCOL,
            Served,
        ),
        line(
            ":status 101",
            says!(s => answer_with(s, &[(b":status", b"101")])),
            PROTOCOL,
            Served,
        ),
        line(
            "a request's pseudo field",
            says!(s => answer_with(s, &[(b":status", b"200"), (b":path", b"/")])),
            PROTOCOL,
            Served,
        ),
        line(
            "a name in upper case",
            says!(s => answer_with_field(s, b"X-Test", b"a")),
            PROTOCOL,
            Served,
        ),
        line(
            "a field of HTTP/1 connections",
            says!(s => answer_with_field(s, b"connection", b"close")),
            PROTOCOL,
            Served,
        ),
        line(
            "a value with NUL",
            says!(s => answer_with_field(s, b"x-test", b"a\0b")),
            PROTOCOL,
            Served,
        ),
        line(
            "a value with LF",
            says!(s => answer_with_field(s, b"x-test", b"a\nb: c")),
            PROTOCOL,
            Served,
        ),
        line(
            "a value that ends with a blank",
            says!(s => answer_with_field(s, b"x-test", b"a ")),
            PROTOCOL,
            Served,
        ),
        line(
            "a 1xx head that ends the stream",
            says!(s => headers(s, END_HEADERS | END_STREAM, &[(":status", "103")])),
            PROTOCOL,
            Served,
        ),
        line(
            "DATA in front of the head",
            says!(s => message(s), answer(s)),
            PROTOCOL,
            Served,
        ),
    ]
}

/// Behind the head the status comes in trailers of the sidecar's.
fn bodies() -> Vec<Hostile> {
    vec![
        line(
            "trailers that do not end the stream",
            says!(s => head(s), message(s), headers(s, END_HEADERS, &[("grpc-status", "0")])),
            PROTOCOL,
            Served,
        ),
        line(
            "a second head",
            says!(s => head(s), head(s)),
            PROTOCOL,
            Served,
        ),
        line(
            "a pseudo field in trailers",
            says!(s => head(s), trailers_with(s, &[(":status", "200")])),
            PROTOCOL,
            Served,
        ),
        line(
            "more body than content-length says",
            says!(s => answer_of_length(s, "3")),
            PROTOCOL,
            Served,
        ),
        line(
            "less body than content-length says",
            says!(s => answer_of_length(s, "300")),
            PROTOCOL,
            Served,
        ),
        line(
            "no trailers",
            says!(s => head(s), data(s, END_STREAM, &[0; 5])),
            (Code::Unknown, "missing_trailers"),
            Served,
        ),
        line(
            "DATA behind the end",
            says!(s => answer(s), message(s)),
            OK,
            Served,
        ),
    ]
}

/// What is more than a sidecar holds for a call.
fn bounds() -> Vec<Hostile> {
    vec![
        line(
            "1xx heads without end",
            says!(s => early(s, "103").repeat(1000)),
            PROTOCOL,
            Served,
        ),
        line(
            "1,000 fields",
            says!(s => {
            let fields = [&HEAD[..], &[("x-test", "1"); 1000]].concat();
            in_pieces(s, 0, &fields, &[10_000])
        }, ok(s)),
            PROTOCOL,
            Served,
        ),
        line(
            "trailers of 40 KiB",
            says!(s => head(s), {
                let fields = [&[("grpc-status", "0")][..], &[frames::long(); 10]].concat();
                in_pieces(s, END_STREAM, &fields, &[16_000, 16_000])
            }),
            PROTOCOL,
            Served,
        ),
        line(
            "CONTINUATION without end",
            says!(s => {
                let first = frame(kind::HEADERS, 0, s, &block(&HEAD));
                [first, frame(kind::CONTINUATION, 0, s, &[]).repeat(100)].concat()
            }),
            PROTOCOL,
            Told,
        ),
        line(
            "empty DATA without end",
            says!(s => head(s), data(s, 0, &[]).repeat(2000)),
            PROTOCOL,
            Told,
        ),
        line(
            "SETTINGS without end",
            says!(_s => settings(&[]).repeat(2000)),
            PROTOCOL,
            Told,
        ),
    ]
}

/// RFC 9113, 6.9.
fn windows() -> Vec<Hostile> {
    vec![
        line(
            "WINDOW_UPDATE of nothing on a stream",
            says!(s => window_update(s, 0)),
            PROTOCOL,
            Served,
        ),
        line(
            "a stream's window above 2^31 - 1",
            says!(s => window_update(s, u32::MAX >> 1)),
            PROTOCOL,
            Served,
        ),
        line(
            "the connection's window above 2^31 - 1",
            says!(_s => window_update(0, u32::MAX >> 1)),
            PROTOCOL,
            Told,
        ),
    ]
}

/// What breaks the connection that calls share.
fn connections() -> Vec<Hostile> {
    vec![
        line(
            "a response to a request that nobody has made",
            says!(s => answer(s + 2)),
            PROTOCOL,
            Told,
        ),
        line(
            "a response on a stream of its own",
            says!(_s => answer(2)),
            PROTOCOL,
            Told,
        ),
        line(
            "a push",
            says!(s => {
                let promise = [&2_u32.to_be_bytes(), block(&HEAD).as_slice()].concat();
                frame(kind::PUSH_PROMISE, END_HEADERS, s, &promise)
            }),
            PROTOCOL,
            Told,
        ),
        line(
            "a server that says it takes pushes",
            says!(_s => settings(&[(2, 1)])),
            PROTOCOL,
            Told,
        ),
        line(
            "INITIAL_WINDOW_SIZE above 2^31 - 1",
            says!(_s => settings(&[(4, 1 << 31)])),
            PROTOCOL,
            Told,
        ),
        line(
            "MAX_FRAME_SIZE of 0",
            says!(_s => settings(&[(5, 0)])),
            PROTOCOL,
            Told,
        ),
        line(
            "a frame larger than SETTINGS_MAX_FRAME_SIZE",
            says!(s => head(s), data(s, 0, &vec![0; (1 << 14) + 1])),
            PROTOCOL,
            Told,
        ),
        line(
            "a block that cannot be decoded",
            says!(s => frame(kind::HEADERS, END_HEADERS, s, b"\x80")),
            PROTOCOL,
            Told,
        ),
        line(
            "a frame inside a block",
            says!(s => frame(kind::HEADERS, 0, s, &block(&HEAD)), message(s)),
            PROTOCOL,
            Told,
        ),
        line(
            "PING on a stream",
            says!(s => frame(kind::PING, 0, s, &[0; 8])),
            PROTOCOL,
            Told,
        ),
        line(
            "GOAWAY on a stream",
            says!(s => frame(kind::GOAWAY, 0, s, &[0; 8])),
            PROTOCOL,
            Told,
        ),
    ]
}

/// What is allowed, and must cost nobody a call that was not refused.
pub(super) fn farewells() -> Vec<Hostile> {
    let refused = (Code::Unavailable, "refused");
    vec![
        line(
            "GOAWAY below every call",
            says!(s => goaway(s - 1, 0)),
            refused,
            Served,
        ),
        line(
            "RST_STREAM of a refusal for every call",
            says!(s => reset(s, 7)),
            refused,
            Served,
        ),
        line(
            "GOAWAY, and then the answer",
            says!(s => goaway(s, 0), answer(s)),
            OK,
            Served,
        ),
        line(
            "a limit of no streams, and then the answer",
            says!(s => settings(&[(3, 0)]), answer(s)),
            OK,
            Served,
        ),
    ]
}
