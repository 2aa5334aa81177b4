//! Frames and requests that the tables are written with.

use outrigger_tests::raw::{
    self, END_HEADERS, END_STREAM, PRIORITY, block, frame, goaway, kind, settings,
};

use crate::case::{Case, Outcome, STREAM, Step};

/// Codes of RFC 9113, 7.
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const COMPRESSION_ERROR: u32 = 9;

/// Flags of HEADERS.
pub(crate) const NONE: u8 = 0;
/// The block ends, the request goes on.
pub(crate) const OPEN: u8 = END_HEADERS;
/// Both end.
pub(crate) const WHOLE: u8 = END_HEADERS | END_STREAM;

/// SETTINGS_INITIAL_WINDOW_SIZE.
pub(crate) const INITIAL_WINDOW: u16 = 4;

pub(crate) type Field<'a> = (&'a str, &'a str);

/// A line of a table, on a connection that begins as it should.
pub(crate) fn case<const N: usize>(
    id: &'static str,
    does: &'static str,
    steps: [Step; N],
    outcome: Outcome,
) -> Case {
    let steps = std::iter::once(Step::Greet).chain(steps).collect();
    Case {
        id,
        does,
        steps,
        outcome,
    }
}

/// Frames in one write.
pub(crate) fn send<const N: usize>(frames: [Vec<u8>; N]) -> Step {
    Step::Send(frames.into_iter().flatten().collect())
}

/// Our last SETTINGS are in force.
pub(crate) fn acknowledged() -> Step {
    Step::Until(raw::Frame::acknowledges)
}

/// The answer is over.
pub(crate) fn answered() -> Step {
    Step::Until(|frame| frame.stream == STREAM && frame.ends_stream())
}

/// The fields of a request.
pub(crate) fn request(method: &str) -> Vec<Field<'_>> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "orders"),
    ]
}

/// Those of a GET, and more.
pub(crate) fn with<'a>(more: &[Field<'a>]) -> Vec<Field<'a>> {
    [request("GET"), more.to_vec()].concat()
}

/// The same of a POST.
pub(crate) fn post_with<'a>(more: &[Field<'a>]) -> Vec<Field<'a>> {
    [request("POST"), more.to_vec()].concat()
}

pub(crate) fn headers(stream: u32, flags: u8, fields: &[Field<'_>]) -> Vec<u8> {
    frame(kind::HEADERS, flags, stream, &block(fields))
}

/// A whole GET.
pub(crate) fn get(stream: u32) -> Vec<u8> {
    headers(stream, WHOLE, &request("GET"))
}

/// The head of a POST whose body follows.
pub(crate) fn post(stream: u32) -> Vec<u8> {
    headers(stream, OPEN, &request("POST"))
}

pub(crate) fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

/// The rest of a body.
pub(crate) fn last_data(stream: u32) -> Vec<u8> {
    data(stream, END_STREAM, b"test")
}

pub(crate) fn continuation(stream: u32, flags: u8, fields: &[Field<'_>]) -> Vec<u8> {
    frame(kind::CONTINUATION, flags, stream, &block(fields))
}

/// A field so long that five of them do not fit into a frame.
pub(crate) fn long() -> Field<'static> {
    const LONG: &str = match std::str::from_utf8(&[b'x'; 4000]) {
        Ok(long) => long,
        Err(_) => "",
    };
    ("x-dummy", LONG)
}

/// The five bytes of a priority.
pub(crate) fn priority(depends_on: u32, weight: u8) -> Vec<u8> {
    [depends_on.to_be_bytes().as_slice(), &[weight]].concat()
}

pub(crate) fn priority_frame(stream: u32, depends_on: u32, weight: u8) -> Vec<u8> {
    frame(kind::PRIORITY, 0, stream, &priority(depends_on, weight))
}

/// A whole GET whose HEADERS have a priority.
pub(crate) fn get_with_priority(depends_on: u32) -> Vec<u8> {
    let payload = [priority(depends_on, 255), block(&request("GET"))].concat();
    frame(kind::HEADERS, WHOLE | PRIORITY, STREAM, &payload)
}

/// A whole GET with a block of these bytes behind its fields, and those in front.
pub(crate) fn get_with_block(front: &[u8], behind: &[u8]) -> Vec<u8> {
    let payload = [front, &block(&request("GET")), behind].concat();
    frame(kind::HEADERS, WHOLE, STREAM, &payload)
}

pub(crate) fn window(size: u32) -> Vec<u8> {
    settings(&[(INITIAL_WINDOW, size)])
}

pub(crate) fn ping(payload: [u8; 8]) -> Vec<u8> {
    frame(kind::PING, 0, 0, &payload)
}

/// A word of farewell from a client that took nothing.
pub(crate) fn farewell(code: u32) -> Vec<u8> {
    goaway(0, code)
}
