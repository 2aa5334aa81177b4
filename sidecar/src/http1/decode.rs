//! The receiving end of a body: bytes of a connection become its pieces, and no byte behind it is touched.

use bytes::BytesMut;
use http::HeaderMap;

use super::chunk::Chunks;
pub(super) use super::chunk::{Bounds, Piece};
use super::framing::Framing;
use super::refusal::Refusal;

/// What of a body is still to come.
#[derive(Clone, Debug)]
pub(super) struct Decoder(State);

#[derive(Clone, Debug)]
enum State {
    Length(u64),
    Chunked(Chunks),
    UntilClose,
    Done,
}

// === impl Decoder ===

impl Decoder {
    pub(super) fn new(framing: Framing, bounds: Bounds) -> Self {
        Self(match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunks::new(bounds)),
            Framing::UntilClose => State::UntilClose,
        })
    }

    pub(super) fn none() -> Self {
        Self(State::Done)
    }

    /// Everything was taken.
    pub(super) fn is_done(&self) -> bool {
        match &self.0 {
            State::Chunked(chunks) => chunks.is_done(),
            State::Done => true,
            State::Length(_) | State::UntilClose => false,
        }
    }

    /// How many bytes are left, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match &self.0 {
            State::Length(left) => Some(*left),
            State::Done => Some(0),
            State::Chunked(_) | State::UntilClose => None,
        }
    }

    /// The next piece; `None` when more has to come, or nothing will.
    pub(super) fn decode(&mut self, read: &mut BytesMut) -> Result<Option<Piece>, Refusal> {
        match &mut self.0 {
            State::Chunked(chunks) => chunks.decode(read),
            State::Done => Ok(None),
            State::Length(_) | State::UntilClose if read.is_empty() => Ok(None),
            State::UntilClose => Ok(Some(Piece::Data(read.split().freeze()))),
            State::Length(left) => {
                let count = read.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                if *left == 0 {
                    self.0 = State::Done;
                }
                Ok(Some(Piece::Data(read.split_to(count).freeze())))
            }
        }
    }

    /// The connection ended: whether that is the body's end too.
    pub(super) fn ends_here(&mut self) -> bool {
        if matches!(self.0, State::UntilClose) {
            self.0 = State::Done;
        }
        self.is_done()
    }

    /// Whether what is in `read` could begin this body.
    pub(super) fn check(&self, read: &BytesMut) -> Result<(), Refusal> {
        if !matches!(self.0, State::Chunked(_)) {
            return Ok(());
        }
        let (mut ahead, mut read) = (self.clone(), read.clone());
        while ahead.decode(&mut read)?.is_some() {}
        Ok(())
    }
}

/// Removes what a trailer must not say (RFC 9110, 6.5.1): it would change how the message was read.
pub(super) fn strip_trailers(fields: &mut HeaderMap) {
    use http::header;
    super::strip_hop_by_hop(fields);
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
        header::HOST,
        header::AUTHORIZATION,
        header::COOKIE,
        header::SET_COOKIE,
        header::EXPECT,
        header::CACHE_CONTROL,
        header::MAX_FORWARDS,
        header::RANGE,
        header::LOCATION,
        header::RETRY_AFTER,
        header::VARY,
        header::AGE,
        header::EXPIRES,
        header::DATE,
    ] {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        fields: 4,
        bytes: 64,
    };

    /// What was decoded, what is left, whether it is over.
    fn run(framing: Framing, text: &str) -> (String, String, bool) {
        let mut decoder = Decoder::new(framing, BOUNDS);
        let mut read = BytesMut::from(text);
        let mut body = Vec::new();
        while let Some(piece) = decoder.decode(&mut read).unwrap() {
            if let Piece::Data(bytes) = piece {
                body.extend_from_slice(&bytes);
            }
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(&body), text(&read), decoder.is_done())
    }

    #[test]
    fn a_body_takes_its_own_bytes_only() {
        for (framing, sent, body, rest, is_done) in [
            (Framing::None, "GET", "", "GET", true),
            (Framing::Length(0), "GET", "", "GET", true),
            (Framing::Length(3), "abcGET", "abc", "GET", true),
            (Framing::Length(3), "ab", "ab", "", false),
            (Framing::Chunked, "1\r\na\r\n0\r\n\r\nGET", "a", "GET", true),
            (Framing::Chunked, "2\r\na", "a", "", false),
            (Framing::UntilClose, "abc", "abc", "", false),
        ] {
            let expected = (body.to_owned(), rest.to_owned(), is_done);
            assert_eq!(run(framing, sent), expected, "{framing:?} {sent:?}");
        }
    }

    #[test]
    fn a_connection_ends_only_the_body_that_waits_for_it() {
        for (framing, expected) in [
            (Framing::None, true),
            (Framing::UntilClose, true),
            (Framing::Length(1), false),
            (Framing::Chunked, false),
        ] {
            assert_eq!(
                Decoder::new(framing, BOUNDS).ends_here(),
                expected,
                "{framing:?}"
            );
        }
    }

    #[test]
    fn a_look_ahead_takes_nothing() {
        let decoder = Decoder::new(Framing::Chunked, BOUNDS);
        let read = BytesMut::from("1\r\na\r\nx\r\n");
        assert_eq!(decoder.check(&read), Err(Refusal::Chunk));
        assert_eq!(decoder.check(&BytesMut::from("1\r\na\r\n")), Ok(()));
        assert_eq!((read.len(), decoder.is_done()), (9, false));
    }
}
