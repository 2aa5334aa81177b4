//! Chunks (RFC 9112, 7.1): taken apart as they come, and written. Strict: CRLF alone ends a line, a size is hexadecimal digits and
//! nothing else, extensions are bounded and dropped.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;

use super::head;
use super::refusal::Refusal;

/// A line with a size, its extensions included.
const LINE: usize = 1 << 10;
/// Extensions of one body, all chunks together.
const EXTENSIONS: usize = 16 << 10;

/// What a body still has.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    /// The end; empty for most bodies.
    Trailers(HeaderMap),
}

/// How many fields and bytes trailers may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) fields: usize,
    pub(super) bytes: usize,
}

/// The state between two chunks' bytes.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    state: State,
    extensions: usize,
    bounds: Bounds,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Size,
    Data(u64),
    /// The CRLF behind a chunk.
    Gap,
    Trailers {
        scanned: usize,
    },
    Done,
}

// === impl Chunks ===

impl Chunks {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            state: State::Size,
            extensions: 0,
            bounds,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes the next piece from `read`; `None` when more has to come.
    pub(super) fn decode(&mut self, read: &mut BytesMut) -> Result<Option<Piece>, Refusal> {
        loop {
            match self.state {
                State::Size => match self.size(read)? {
                    None => return Ok(None),
                    Some(0) => self.state = State::Trailers { scanned: 0 },
                    Some(size) => self.state = State::Data(size),
                },
                State::Data(left) => return Ok(self.data(left, read)),
                State::Gap => match read.get(..2) {
                    Some(b"\r\n") => {
                        drop(read.split_to(2));
                        self.state = State::Size;
                    }
                    Some(_) => return Err(Refusal::Chunk),
                    None if !b"\r\n".starts_with(read) => return Err(Refusal::Chunk),
                    None => return Ok(None),
                },
                State::Trailers { scanned } => return self.trailers(scanned, read),
                State::Done => return Ok(None),
            }
        }
    }

    fn size(&mut self, read: &mut BytesMut) -> Result<Option<u64>, Refusal> {
        let seen = read.get(..LINE).unwrap_or(read);
        let Some(at) = seen.iter().position(|byte| *byte == b'\n') else {
            return match seen.len() < LINE {
                true => Ok(None),
                false => Err(Refusal::ChunkExtensions),
            };
        };
        let line = read.split_to(at + 1);
        let line = line.strip_suffix(b"\r\n").ok_or(Refusal::BareLf)?;
        let digits = line
            .iter()
            .position(|byte| *byte == b';')
            .unwrap_or(line.len());
        let (digits, extension) = line.split_at(digits);
        if extension.iter().any(|byte| byte.is_ascii_control()) {
            return Err(Refusal::Chunk);
        }
        self.extensions += extension.len();
        if self.extensions > EXTENSIONS {
            return Err(Refusal::ChunkExtensions);
        }
        hexadecimal(digits).map(Some).ok_or(Refusal::Chunk)
    }

    fn data(&mut self, left: u64, read: &mut BytesMut) -> Option<Piece> {
        if read.is_empty() {
            return None;
        }
        let count = read.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let bytes = read.split_to(count).freeze();
        self.state = match left - count as u64 {
            0 => State::Gap,
            left => State::Data(left),
        };
        Some(Piece::Data(bytes))
    }

    fn trailers(
        &mut self,
        mut scanned: usize,
        read: &mut BytesMut,
    ) -> Result<Option<Piece>, Refusal> {
        let Some(length) = head::end(read, &mut scanned)? else {
            self.state = State::Trailers { scanned };
            return match read.len() < self.bounds.bytes {
                true => Ok(None),
                false => Err(Refusal::HeadTooLong),
            };
        };
        if length > self.bounds.bytes {
            return Err(Refusal::HeadTooLong);
        }
        let block = read.split_to(length);
        self.state = State::Done;
        head::fields(&block, self.bounds.fields).map(|fields| Some(Piece::Trailers(fields)))
    }
}

/// Digits that a `u64` holds.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some((sum << 4) | u64::from(digit))
    })
}

/// Writes `bytes` as one chunk; an empty one would be the end.
pub(super) fn encode(bytes: &[u8], out: &mut BytesMut) {
    if bytes.is_empty() {
        return;
    }
    out.put_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// Writes the end.
pub(super) fn encode_end(trailers: &HeaderMap, out: &mut BytesMut) {
    out.put_slice(b"0\r\n");
    super::encode::fields(trailers, out);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        fields: 4,
        bytes: 64,
    };

    /// The body's bytes, its trailers, and what is left behind it.
    fn decode(text: &[u8], step: usize) -> Result<(String, usize, String), Refusal> {
        let mut chunks = Chunks::new(BOUNDS);
        let mut read = BytesMut::new();
        let (mut body, mut trailers) = (Vec::new(), 0);
        for part in text.chunks(step) {
            read.put_slice(part);
            while let Some(piece) = chunks.decode(&mut read)? {
                match piece {
                    Piece::Data(bytes) => body.extend_from_slice(&bytes),
                    Piece::Trailers(fields) => trailers = fields.len(),
                }
            }
        }
        assert!(chunks.is_done(), "{text:?}");
        let rest = String::from_utf8(read.to_vec()).unwrap();
        Ok((String::from_utf8(body).unwrap(), trailers, rest))
    }

    #[test]
    fn chunks_are_joined_however_they_come() {
        for (text, body, trailers, rest) in [
            ("0\r\n\r\n", "", 0, ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello", 0, ""),
            ("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\nGET", "hello!", 0, "GET"),
            (
                "A;x=\"y z\"\r\n0123456789\r\n000\r\n\r\n",
                "0123456789",
                0,
                "",
            ),
            ("1\r\na\r\n0\r\nb: c\r\nd: e\r\n\r\n", "a", 2, ""),
        ] {
            for step in [1, 2, 3, text.len()] {
                let decoded = decode(text.as_bytes(), step).unwrap();
                assert_eq!(decoded, (body.into(), trailers, rest.into()), "{text:?}");
            }
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(LINE));
        let trailers = format!("0\r\na: {}\r\n\r\n", "b".repeat(64));
        for (text, expected) in [
            ("5\nhello\r\n0\r\n\r\n", Refusal::BareLf),
            ("5\r\nhello\n0\r\n\r\n", Refusal::Chunk),
            ("5\r\nhelloX\r\n0\r\n\r\n", Refusal::Chunk),
            ("\r\nhello\r\n0\r\n\r\n", Refusal::Chunk),
            ("5 \r\nhello\r\n0\r\n\r\n", Refusal::Chunk),
            (" 5\r\nhello\r\n0\r\n\r\n", Refusal::Chunk),
            ("5 ;a\r\nhello\r\n0\r\n\r\n", Refusal::Chunk),
            ("+5\r\nhello\r\n0\r\n\r\n", Refusal::Chunk),
            ("0x5\r\nhello\r\n0\r\n\r\n", Refusal::Chunk),
            ("g\r\nhello\r\n0\r\n\r\n", Refusal::Chunk),
            ("5;a=\"\n\"\r\nhello\r\n0\r\n\r\n", Refusal::BareLf),
            ("5;a=\rb\r\nhello\r\n0\r\n\r\n", Refusal::Chunk),
            ("5;\0\r\nhello\r\n0\r\n\r\n", Refusal::Chunk),
            ("10000000000000005\r\nhello\r\n0\r\n\r\n", Refusal::Chunk),
            ("0\r\n\n", Refusal::BareLf),
            ("0\r\na b: c\r\n\r\n", Refusal::FieldName),
            (
                "0\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\n\r\n",
                Refusal::TooManyFields,
            ),
            (trailers.as_str(), Refusal::HeadTooLong),
            (long.as_str(), Refusal::ChunkExtensions),
        ] {
            assert_eq!(
                decode(text.as_bytes(), text.len()),
                Err(expected),
                "{text:?}"
            );
        }
    }

    #[test]
    fn extensions_of_a_whole_body_are_bounded() {
        let one = format!("1;{}\r\nx\r\n", "e".repeat(1000));
        let text = one.repeat(17);
        let refused = decode(text.as_bytes(), text.len());
        assert_eq!(refused, Err(Refusal::ChunkExtensions));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut out = BytesMut::new();
        encode(b"hello", &mut out);
        encode(b"", &mut out);
        encode(&[b'x'; 300], &mut out);
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("a"),
            http::HeaderValue::from_static("b"),
        )]);
        encode_end(&trailers, &mut out);
        let (body, trailers, rest) = decode(&out, 7).unwrap();
        assert_eq!((body.len(), trailers, rest.as_str()), (305, 1, ""));
    }
}
