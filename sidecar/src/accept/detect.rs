//! HTTP/2 with prior knowledge announces itself by its preface, HTTP/1 by the end of its first line. Anything else is no caller of
//! ours and gets no answer, which could only be misread.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::stream::Prefixed;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http2,
    Http1,
    Neither,
}

/// A first line that is longer is HTTP/1's to refuse.
const LONGEST_LINE: usize = 8 << 10;

/// Reads until the first bytes tell; they are not lost.
pub(crate) async fn detect<IO: AsyncRead + Unpin>(
    mut io: IO,
) -> io::Result<(Spoken, Prefixed<IO>)> {
    let mut read = BytesMut::with_capacity(PREFACE.len());
    loop {
        if let Some(spoken) = judge(&read) {
            return Ok((spoken, Prefixed { read, io }));
        }
        if io.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn judge(read: &[u8]) -> Option<Spoken> {
    let common = read
        .iter()
        .zip(PREFACE)
        .take_while(|(left, right)| left == right)
        .count();
    if common == PREFACE.len() {
        return Some(Spoken::Http2);
    }
    match common == read.len() {
        true => None,
        false => judge_line(read.trim_ascii_start()),
    }
}

/// RFC 9112, 3: a version stands in it. What else is wrong with the line HTTP/1 tells.
fn judge_line(read: &[u8]) -> Option<Spoken> {
    let Some(line) = read
        .split(|byte| *byte == b'\n')
        .next()
        .filter(|line| line.len() < read.len())
    else {
        return (read.len() >= LONGEST_LINE).then_some(Spoken::Http1);
    };
    let has_version = line.windows(6).any(|part| part == b" HTTP/");
    match has_version && !line.starts_with(b"PRI * ") {
        true => Some(Spoken::Http1),
        false => Some(Spoken::Neither),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preface_or_a_first_line_decides() {
        let long = vec![b'a'; LONGEST_LINE];
        let cases: [(&[u8], Option<Spoken>); 15] = [
            (b"", None),
            (b"P", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (PREFACE, Some(Spoken::Http2)),
            (b"PUT / HTTP/1.1\r\n", Some(Spoken::Http1)),
            (b"\r\nGET / HTTP/1.0\r\nHost: a\r\n", Some(Spoken::Http1)),
            (b"PUT / HTTP/1.1", None),
            (b"PUT / HTTP/1.1 \r\n", Some(Spoken::Http1)),
            (b"PUT / HTTP/3\n", Some(Spoken::Http1)),
            (b"GET /\r\n", Some(Spoken::Neither)),
            (b"GET", None),
            (&long, Some(Spoken::Http1)),
            (b"INVALID CONNECTION PREFACE\r\n\r\n", Some(Spoken::Neither)),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Some(Spoken::Neither)),
            (b"\x16\x03\x01\n", Some(Spoken::Neither)),
        ];
        for (read, expected) in cases {
            assert_eq!(judge(read), expected, "{read:?}");
        }
    }

    #[tokio::test]
    async fn what_was_read_is_read_again() {
        let (spoken, mut io) = detect(&b"GET / HTTP/1.1\r\n"[..]).await.unwrap();
        assert_eq!(spoken, Spoken::Http1);
        let mut text = String::new();
        io.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "GET / HTTP/1.1\r\n");
    }
}
