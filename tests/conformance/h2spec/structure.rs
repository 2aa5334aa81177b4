//! RFC 9113, 3 and 4: the preface, frames, blocks of fields.

use outrigger_tests::raw::{END_STREAM, Frame, frame, kind};

use super::generic::SETTINGS;
use crate::case::Outcome::{Alive, Closed, ConnectionError, Frame as Comes, Served, StreamError};
use crate::case::{Case, STREAM, Step};
use crate::frames::{
    COMPRESSION_ERROR, FRAME_SIZE_ERROR, NONE, OPEN, PROTOCOL_ERROR, WHOLE, case, continuation,
    data, get, headers, long, post, priority_frame, request, send, with,
};

fn is_pong(frame: &Frame) -> bool {
    frame.kind == kind::PING
}

/// A frame of a kind that nobody defined.
pub(super) fn unknown() -> Vec<u8> {
    frame(0x16, 0, 0, &[0; 8])
}

/// The reserved bit of a stream's id.
const RESERVED: u32 = 1 << 31;
/// Flags that PING does not have.
const UNDEFINED: u8 = 0x16;

pub(super) fn cases() -> Vec<Case> {
    let largest = vec![b'x'; 1 << 14];
    let too_large = vec![b'x'; (1 << 14) + 1];
    let long_block = headers(STREAM, WHOLE, &with(&[long(); 5]));
    vec![
        case("http2/3.5/1", "sends the preface", [], SETTINGS),
        Case {
            id: "http2/3.5/2",
            does: "sends another preface",
            steps: vec![Step::Send(b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec())],
            outcome: Closed,
        },
        case(
            "http2/4.1/1",
            "a frame of unknown kind",
            [send([unknown()])],
            Alive,
        ),
        case(
            "http2/4.1/2",
            "a frame with undefined flags",
            [send([frame(kind::PING, UNDEFINED, 0, &[0; 8])])],
            Comes(is_pong),
        ),
        case(
            "http2/4.1/3",
            "a frame with the reserved bit",
            [send([frame(kind::PING, UNDEFINED, RESERVED, &[0; 8])])],
            Comes(is_pong),
        ),
        case(
            "http2/4.2/1",
            "DATA of 2^14 bytes",
            [send([post(STREAM), data(STREAM, END_STREAM, &largest)])],
            Served,
        ),
        case(
            "http2/4.2/2",
            "DATA larger than SETTINGS_MAX_FRAME_SIZE",
            [send([post(STREAM), data(STREAM, END_STREAM, &too_large)])],
            StreamError(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "http2/4.2/3",
            "HEADERS larger than SETTINGS_MAX_FRAME_SIZE",
            [send([long_block])],
            ConnectionError(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "http2/4.3/1",
            "a block that ends inside a field",
            [send([frame(kind::HEADERS, WHOLE, STREAM, b"\x40")])],
            ConnectionError(&[COMPRESSION_ERROR]),
        ),
        case(
            "http2/4.3/2",
            "PRIORITY inside a block",
            [send([
                unfinished(NONE),
                priority_frame(STREAM, 0, 255),
                rest(),
            ])],
            ConnectionError(&[PROTOCOL_ERROR]),
        ),
        case(
            "http2/4.3/3",
            "HEADERS of another stream inside a block",
            [send([unfinished(NONE), get(STREAM + 2), rest()])],
            ConnectionError(&[PROTOCOL_ERROR]),
        ),
    ]
}

/// HEADERS whose block goes on.
pub(super) fn unfinished(flags: u8) -> Vec<u8> {
    headers(STREAM, flags, &request("GET"))
}

/// The end of a block.
pub(super) fn rest() -> Vec<u8> {
    continuation(STREAM, OPEN, &[long()])
}
