//! Heads and bodies as bytes of a connection. Framing is ours: a length that was promised is kept or the connection ends.

use bytes::{BufMut as _, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::chunk;
use super::framing::Framing;

/// How a connection goes on after a message, where the recipient could think otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// As the version says.
    Unsaid,
    Close,
    KeepAlive,
}

/// A body kept to its framing.
#[derive(Debug)]
pub(super) struct Encoder(Framing);

/// The body is longer or shorter than was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongLength;

/// Writes the head of a request.
pub(super) fn request(
    out: &mut BytesMut,
    method: &Method,
    path: &str,
    host: &HeaderValue,
    headers: &HeaderMap,
    framing: Framing,
) {
    for part in [method.as_str(), " ", path, " HTTP/1.1\r\n"] {
        out.put_slice(part.as_bytes());
    }
    field(&HOST, host, out);
    fields(headers, out);
    length(framing, out);
    out.put_slice(b"\r\n");
}

/// Writes the head of a response. `framing` is said only where the body is bound by it.
pub(super) fn response(
    out: &mut BytesMut,
    status: StatusCode,
    headers: &HeaderMap,
    framing: Framing,
    afterwards: Afterwards,
) {
    let reason = status.canonical_reason().unwrap_or_default();
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        out.put_slice(part.as_bytes());
    }
    fields(headers, out);
    length(framing, out);
    match afterwards {
        Afterwards::Unsaid => {}
        Afterwards::Close => field(&CONNECTION, &HeaderValue::from_static("close"), out),
        Afterwards::KeepAlive => field(&CONNECTION, &HeaderValue::from_static("keep-alive"), out),
    }
    out.put_slice(b"\r\n");
}

/// Writes fields, each a line.
pub(super) fn fields(headers: &HeaderMap, out: &mut BytesMut) {
    for (name, value) in headers {
        field(name, value, out);
    }
}

fn field(name: &HeaderName, value: &HeaderValue, out: &mut BytesMut) {
    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        out.put_slice(part);
    }
}

fn length(framing: Framing, out: &mut BytesMut) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(length) => field(&CONTENT_LENGTH, &HeaderValue::from(length), out),
        Framing::Chunked => field(
            &TRANSFER_ENCODING,
            &HeaderValue::from_static("chunked"),
            out,
        ),
    }
}

// === impl Encoder ===

impl Encoder {
    pub(super) fn new(framing: Framing) -> Self {
        Self(framing)
    }

    pub(super) fn data(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<(), WrongLength> {
        match &mut self.0 {
            Framing::None if bytes.is_empty() => {}
            Framing::None => return Err(WrongLength),
            Framing::Length(left) => {
                *left = left.checked_sub(bytes.len() as u64).ok_or(WrongLength)?;
                out.put_slice(bytes);
            }
            Framing::Chunked => chunk::encode(bytes, out),
            Framing::UntilClose => out.put_slice(bytes),
        }
        Ok(())
    }

    /// `trailers` are left out where the framing has no place for them.
    pub(super) fn end(
        &mut self,
        trailers: &HeaderMap,
        out: &mut BytesMut,
    ) -> Result<(), WrongLength> {
        match self.0 {
            Framing::Chunked => chunk::encode_end(trailers, out),
            Framing::Length(left) if left > 0 => return Err(WrongLength),
            Framing::Length(_) | Framing::None | Framing::UntilClose => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static("a"), HeaderValue::from_static("b"))])
    }

    #[test]
    fn heads_say_their_framing_once() {
        let mut out = BytesMut::new();
        let host = HeaderValue::from_static("x");
        request(
            &mut out,
            &Method::PUT,
            "/p?q",
            &host,
            &headers(),
            Framing::Chunked,
        );
        let expected = "PUT /p?q HTTP/1.1\r\nhost: x\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(out, expected);
        for (framing, afterwards, expected) in [
            (Framing::None, Afterwards::Unsaid, "a: b\r\n"),
            (
                Framing::Length(3),
                Afterwards::Close,
                "a: b\r\ncontent-length: 3\r\nconnection: close\r\n",
            ),
            (
                Framing::UntilClose,
                Afterwards::Close,
                "a: b\r\nconnection: close\r\n",
            ),
            (
                Framing::Length(0),
                Afterwards::KeepAlive,
                "a: b\r\ncontent-length: 0\r\nconnection: keep-alive\r\n",
            ),
        ] {
            let mut out = BytesMut::new();
            response(&mut out, StatusCode::OK, &headers(), framing, afterwards);
            assert_eq!(out, format!("HTTP/1.1 200 OK\r\n{expected}\r\n"));
        }
    }

    #[test]
    fn a_promised_length_is_kept() {
        for (framing, pieces, expected) in [
            (Framing::Length(4), &["ab", "cd"][..], Ok("abcd")),
            (Framing::Length(4), &["ab"], Err(WrongLength)),
            (Framing::Length(4), &["abcde"], Err(WrongLength)),
            (Framing::None, &[""], Ok("")),
            (Framing::None, &["a"], Err(WrongLength)),
            (Framing::UntilClose, &["a", "b"], Ok("ab")),
            (
                Framing::Chunked,
                &["a", "", "bc"],
                Ok("1\r\na\r\n2\r\nbc\r\n0\r\na: b\r\n\r\n"),
            ),
        ] {
            let mut out = BytesMut::new();
            let mut encoder = Encoder::new(framing);
            let written = pieces
                .iter()
                .try_for_each(|piece| encoder.data(piece.as_bytes(), &mut out))
                .and_then(|()| encoder.end(&headers(), &mut out))
                .map(|()| std::str::from_utf8(&out).unwrap());
            assert_eq!(written, expected, "{framing:?} {pieces:?}");
        }
    }
}
