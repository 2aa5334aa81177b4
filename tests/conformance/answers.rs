//! What an application by hand says, frame by frame.

use outrigger_tests::grpc;
use outrigger_tests::raw::{END_HEADERS, END_STREAM, block, frame, kind};

use crate::frames::{Field, headers};

/// A busy machine is no unreachable application.
pub(crate) const UNHURRIED: &str =
    "[limits.connect]\ntimeout = \"10s\"\napplication_timeout = \"10s\"\n";

/// The block and the stream end.
const LAST: u8 = END_HEADERS | END_STREAM;

pub(crate) const HEAD: [Field<'static>; 2] =
    [(":status", "200"), ("content-type", "application/grpc")];

/// A head of its own fields behind the usual ones.
pub(crate) fn head_with(stream: u32, more: &[Field<'_>]) -> Vec<u8> {
    headers(stream, END_HEADERS, &[&HEAD, more].concat())
}

pub(crate) fn head(stream: u32) -> Vec<u8> {
    head_with(stream, &[])
}

/// A head before the head.
pub(crate) fn early(stream: u32, status: &str) -> Vec<u8> {
    headers(stream, END_HEADERS, &[(":status", status), ("x-hint", "1")])
}

/// A message; with its prefix it is 15 bytes.
pub(crate) fn message(stream: u32) -> Vec<u8> {
    frame(kind::DATA, 0, stream, &grpc::frame(&[7; 10]))
}

pub(crate) fn trailers_with(stream: u32, more: &[Field<'_>]) -> Vec<u8> {
    headers(stream, LAST, &[&[("grpc-status", "0")], more].concat())
}

pub(crate) fn ok(stream: u32) -> Vec<u8> {
    trailers_with(stream, &[])
}

/// An answer of one frame.
pub(crate) fn trailers_only(stream: u32, status: &str) -> Vec<u8> {
    headers(
        stream,
        LAST,
        &[&HEAD[..], &[("grpc-status", status)]].concat(),
    )
}

/// Head, message and end.
pub(crate) fn answer(stream: u32) -> Vec<u8> {
    [head(stream), message(stream), ok(stream)].concat()
}

/// A block in pieces of these lengths, and the rest.
pub(crate) fn in_pieces(stream: u32, flags: u8, fields: &[Field<'_>], pieces: &[usize]) -> Vec<u8> {
    let block = block(fields);
    let mut rest = block.as_slice();
    let mut frames = Vec::new();
    for (number, length) in pieces.iter().enumerate() {
        let (piece, behind) = rest.split_at(*length);
        rest = behind;
        let (kind, flags) = match number {
            0 => (kind::HEADERS, flags),
            _ => (kind::CONTINUATION, 0),
        };
        frames.extend(frame(kind, flags, stream, piece));
    }
    frames.extend(frame(kind::CONTINUATION, END_HEADERS, stream, rest));
    frames
}
