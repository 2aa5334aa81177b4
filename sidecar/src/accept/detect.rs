//! HTTP/2 with prior knowledge announces itself by its preface; anything else is HTTP/1.1's to judge.

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
}

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
    (common < read.len()).then_some(Spoken::Http1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_decides() {
        let cases: [(&[u8], Option<Spoken>); 6] = [
            (b"", None),
            (b"P", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (PREFACE, Some(Spoken::Http2)),
            (b"PUT / HTTP/1.1", Some(Spoken::Http1)),
            (b"GET", Some(Spoken::Http1)),
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
