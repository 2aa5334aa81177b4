//! RFC 7541: what cannot be decoded.

use crate::case::Case;
use crate::case::Outcome::ConnectionError;
use crate::frames::{COMPRESSION_ERROR, case, get_with_block, send};

pub(super) fn cases() -> Vec<Case> {
    // Front and back of a block whose middle is a request's.
    [
        (
            "hpack/2.3.3/1",
            "an index past both tables",
            &b""[..],
            &b"\xc6"[..],
        ),
        (
            "hpack/2.3.3/2",
            "a name by an index past both tables",
            b"",
            b"\x7f\x07\x00",
        ),
        ("hpack/4.2/1", "a table size behind a field", b"", b"\x21"),
        (
            "hpack/5.2/1",
            "a string padded with more than 7 bits",
            b"",
            b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff",
        ),
        (
            "hpack/5.2/2",
            "a string padded with zeros",
            b"",
            b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90",
        ),
        (
            "hpack/5.2/3",
            "a string with EOS in it",
            b"",
            b"\x00\x85\xf2\xb2\x4a\x87\xff\xff\xff\xfd\x25\x42\x7f",
        ),
        ("hpack/6.1/1", "the index 0", b"", b"\x80"),
        ("hpack/6.3/1", "a table size of 4,097", b"\x3f\xe2\x1f", b""),
    ]
    .into_iter()
    .map(|(id, does, front, behind)| {
        let steps = [send([get_with_block(front, behind)])];
        case(id, does, steps, ConnectionError(&[COMPRESSION_ERROR]))
    })
    .collect()
}
