//! HTTP/2 with prior knowledge announces itself by its preface, HTTP/1 by the end of its first line. Anything else is no caller of
//! ours and gets no answer, which could only be misread; except where opaque bytes are carried too, which then begin there.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout_at};

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
/// No method of HTTP is longer (the longest one registered has 17 letters).
const LONGEST_METHOD: usize = 32;

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

/// The same where it may be anything: what cannot be the beginning of HTTP is known for that at once, and whoever ends has said all.
/// `None`: not enough was said in time. What was read is not lost.
pub(crate) async fn detect_within<IO: AsyncRead + Unpin>(
    mut io: IO,
    limit: Duration,
) -> io::Result<(Option<Spoken>, Prefixed<IO>)> {
    let until = Instant::now() + limit;
    let mut read = BytesMut::with_capacity(PREFACE.len());
    loop {
        if let Some(spoken) = judge_anything(&read) {
            return Ok((Some(spoken), Prefixed { read, io }));
        }
        match timeout_at(until, io.read_buf(&mut read)).await {
            Ok(Ok(0)) => return Ok((Some(Spoken::Neither), Prefixed { read, io })),
            Ok(Ok(_)) => {}
            Ok(Err(err)) => return Err(err),
            Err(_) => return Ok((None, Prefixed { read, io })),
        }
    }
}

fn judge_anything(read: &[u8]) -> Option<Spoken> {
    match judge(read) {
        None if !PREFACE.starts_with(read) && !may_be_request(read) => Some(Spoken::Neither),
        Some(Spoken::Http1) if !may_be_request(read) => Some(Spoken::Neither),
        judged => judged,
    }
}

/// RFC 9112, 3: a token, a blank, and nothing that does not print up to the line's end; blank lines may stand before it.
fn may_be_request(read: &[u8]) -> bool {
    let line = read.trim_ascii_start();
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    method.len() <= LONGEST_METHOD
        && method.iter().all(is_token)
        && line.iter().all(|byte| *byte >= b' ' && *byte != 0x7f)
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

    #[test]
    fn what_cannot_be_http_is_known_at_once_where_it_may_be_anything() {
        let cases: [(&[u8], Option<Spoken>); 18] = [
            (b"", None),
            (b"PRI * HT", None),
            (PREFACE, Some(Spoken::Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Some(Spoken::Neither)),
            (b"GET /a HTTP/1.1\r\n", Some(Spoken::Http1)),
            (b"\r\nGET / HTTP/1.0\r\n", Some(Spoken::Http1)),
            (b"GET /a HT", None),
            (b"GET", None),
            (b"\r\n", None),
            (b"GET /\r\n", Some(Spoken::Neither)),
            (b"\x16\x03\x01", Some(Spoken::Neither)),
            (b"\0", Some(Spoken::Neither)),
            (b"*1\r\n$4\r\n", Some(Spoken::Neither)),
            (b"CONNECT {\"verbose\":false}\r\n", Some(Spoken::Neither)),
            (b"CONNECT {\"verb", None),
            (b"{\"id\":1", Some(Spoken::Neither)),
            (b"GET /\x01", Some(Spoken::Neither)),
            (&[b'a'; LONGEST_METHOD + 1], Some(Spoken::Neither)),
        ];
        for (read, expected) in cases {
            assert_eq!(judge_anything(read), expected, "{read:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_half_a_line_are_nothing_that_was_said() {
        let limit = Duration::from_millis(200);
        for said in ["", "GET /"] {
            let (mut peer, io) = tokio::io::duplex(64);
            tokio::io::AsyncWriteExt::write_all(&mut peer, said.as_bytes())
                .await
                .unwrap();
            let start = Instant::now();
            let (spoken, mut io) = detect_within(io, limit).await.unwrap();
            assert_eq!((spoken, start.elapsed()), (None, limit));
            drop(peer);
            let mut text = String::new();
            io.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, said);
        }
    }

    #[tokio::test]
    async fn whoever_ends_has_said_all() {
        let (spoken, _) = detect_within(&b"GET"[..], Duration::from_secs(5))
            .await
            .unwrap();
        assert_eq!(spoken, Some(Spoken::Neither));
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
