//! A message's head as bytes become one: where it ends, its first line, its fields. Nothing is repaired; what two readers could read
//! in two ways is refused (RFC 9112, 2.2, 5, 11.2).

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::refusal::Refusal;

/// The head of a request, not yet looked into.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
}

/// The head of a response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

/// The end of the head that `read` begins with, behind its empty line. `scanned` remembers how far it was looked for; it begins at 0.
pub(super) fn end(read: &[u8], scanned: &mut usize) -> Result<Option<usize>, Refusal> {
    let unseen = read.get(*scanned..).unwrap_or_default();
    let ends = unseen
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n');
    for (offset, _) in ends {
        let at = *scanned + offset;
        let line = read.get(..at).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\r") else {
            return Err(Refusal::BareLf);
        };
        if line.is_empty() || line.ends_with(b"\n") {
            return Ok(Some(at + 1));
        }
    }
    *scanned = read.len();
    Ok(None)
}

/// A whole head with at most `most` fields.
pub(super) fn request(head: &[u8], most: usize) -> Result<Request, Refusal> {
    let mut fields = vec![httparse::EMPTY_HEADER; most];
    let mut parsed = httparse::Request::new(&mut fields);
    let complete = parsed.parse(head)?;
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Refusal::Syntax);
    };
    whole(complete, head)?;
    Ok(Request {
        method: method.parse().map_err(|_| Refusal::Syntax)?,
        target: target.to_owned(),
        version: version.try_into()?,
        headers: map(parsed.headers)?,
    })
}

/// A whole head with at most `most` fields.
pub(super) fn response(head: &[u8], most: usize) -> Result<Response, Refusal> {
    let mut fields = vec![httparse::EMPTY_HEADER; most];
    let mut parsed = httparse::Response::new(&mut fields);
    let complete = parsed.parse(head)?;
    let (Some(code), Some(version)) = (parsed.code, parsed.version) else {
        return Err(Refusal::Syntax);
    };
    whole(complete, head)?;
    Ok(Response {
        status: StatusCode::from_u16(code).map_err(|_| Refusal::Status)?,
        version: version.try_into()?,
        headers: map(parsed.headers)?,
    })
}

/// A whole block of fields without a first line: trailers.
pub(super) fn fields(block: &[u8], most: usize) -> Result<HeaderMap, Refusal> {
    let mut fields = vec![httparse::EMPTY_HEADER; most];
    match httparse::parse_headers(block, &mut fields)? {
        httparse::Status::Complete((length, fields)) if length == block.len() => map(fields),
        _ => Err(Refusal::Syntax),
    }
}

/// The parser has to agree with [`end`] on where the head ends.
fn whole(complete: httparse::Status<usize>, head: &[u8]) -> Result<(), Refusal> {
    match complete {
        httparse::Status::Complete(length) if length == head.len() => Ok(()),
        _ => Err(Refusal::Syntax),
    }
}

fn map(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, Refusal> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Refusal::FieldName)?;
        let value =
            HeaderValue::from_bytes(field.value.trim_ascii()).map_err(|_| Refusal::FieldValue)?;
        map.try_append(name, value)
            .map_err(|_| Refusal::TooManyFields)?;
    }
    Ok(map)
}

// === impl Version ===

impl TryFrom<u8> for Version {
    type Error = Refusal;

    fn try_from(minor: u8) -> Result<Self, Refusal> {
        match minor {
            0 => Ok(Self::Http10),
            1 => Ok(Self::Http11),
            _ => Err(Refusal::Version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(text: &str) -> Result<Option<usize>, Refusal> {
        end(text.as_bytes(), &mut 0)
    }

    #[test]
    fn a_head_ends_behind_its_empty_line() {
        for (text, expected) in [
            ("", Ok(None)),
            ("GET / HTTP/1.1\r\n", Ok(None)),
            ("GET / HTTP/1.1\r\n\r", Ok(None)),
            ("GET / HTTP/1.1\r\n\r\n", Ok(Some(18))),
            ("GET / HTTP/1.1\r\na: b\r\n\r\nmore\n", Ok(Some(24))),
            ("\r\n", Ok(Some(2))),
            ("GET / HTTP/1.1\n", Err(Refusal::BareLf)),
            ("GET / HTTP/1.1\r\na: b\n\r\n", Err(Refusal::BareLf)),
            ("GET / HTTP/1.1\r\n\n", Err(Refusal::BareLf)),
            ("\n", Err(Refusal::BareLf)),
        ] {
            assert_eq!(ended(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_head_in_pieces_ends_where_the_whole_one_does() {
        let text = b"POST /a HTTP/1.1\r\nhost: a\r\nb: c\r\n\r\nbody";
        let mut scanned = 0;
        let found = (0..=text.len()).find_map(|most| {
            end(&text[..most], &mut scanned)
                .unwrap()
                .map(|length| (most, length))
        });
        assert_eq!(found, Some((35, 35)));
    }

    fn refused(head: &str) -> Option<Refusal> {
        request(head.as_bytes(), 4).err()
    }

    #[test]
    fn only_a_plain_head_is_read() {
        for (lines, expected) in [
            ("GET /a?b HTTP/1.1\r\nHost: a\r\n", None),
            ("GET / HTTP/1.0\r\n", None),
            ("GET / HTTP/1.1\r\na:\r\n", None),
            ("GET / HTTP/1.1\r\na: \u{e9}\r\n", None),
            ("GET / HTTP/1.2\r\n", Some(Refusal::Version)),
            ("GET / HTTP/2.0\r\n", Some(Refusal::Version)),
            ("GET /\r\n", Some(Refusal::Syntax)),
            ("GET  / HTTP/1.1\r\n", Some(Refusal::Syntax)),
            ("GET / HTTP/1.1 \r\n", Some(Refusal::Syntax)),
            ("GET\t/ HTTP/1.1\r\n", Some(Refusal::Syntax)),
            ("G(T / HTTP/1.1\r\n", Some(Refusal::Syntax)),
            ("GET /\0 HTTP/1.1\r\n", Some(Refusal::Syntax)),
            ("GET / HTTP/1.1\r\n a: b\r\n", Some(Refusal::FieldName)),
            ("GET / HTTP/1.1\r\na : b\r\n", Some(Refusal::FieldName)),
            ("GET / HTTP/1.1\r\n: b\r\n", Some(Refusal::FieldName)),
            ("GET / HTTP/1.1\r\na b: c\r\n", Some(Refusal::FieldName)),
            ("GET / HTTP/1.1\r\nabc\r\n", Some(Refusal::FieldName)),
            ("GET / HTTP/1.1\r\na: b\r\n c\r\n", Some(Refusal::FieldName)),
            (
                "GET / HTTP/1.1\r\na: b\rc: d\r\n",
                Some(Refusal::FieldValue),
            ),
            ("GET / HTTP/1.1\r\na: b\0\r\n", Some(Refusal::FieldValue)),
            ("GET / HTTP/1.1\r\na: b\x7f\r\n", Some(Refusal::FieldValue)),
            ("GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n", None),
            (
                "GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\n",
                Some(Refusal::TooManyFields),
            ),
        ] {
            assert_eq!(refused(&format!("{lines}\r\n")), expected, "{lines:?}");
        }
    }

    #[test]
    fn values_lose_the_blanks_around_them() {
        let head = request(b"GET /x HTTP/1.1\r\nA: \t b \t\r\na: c\r\n\r\n", 4).unwrap();
        let values: Vec<_> = head.headers.get_all("a").iter().collect();
        assert_eq!(values, ["b", "c"]);
        assert_eq!(
            (head.target.as_str(), head.version),
            ("/x", Version::Http11)
        );
    }

    #[test]
    fn a_response_is_read_as_strictly() {
        for (lines, expected) in [
            ("HTTP/1.1 200 OK\r\n", Ok(200)),
            ("HTTP/1.1 204\r\n", Ok(204)),
            ("HTTP/1.0 404 Not Found\r\na: b\r\n", Ok(404)),
            ("HTTP/1.1 099 x\r\n", Err(Refusal::Status)),
            ("HTTP/1.1 20 x\r\n", Err(Refusal::Status)),
            ("HTTP/2 200 OK\r\n", Err(Refusal::Version)),
            ("HTTP/1.1  200 OK\r\n", Err(Refusal::Status)),
            ("HTTP/1.1 200 OK\r\na: b\r\n c\r\n", Err(Refusal::FieldName)),
            ("HTTP/1.1 200 OK\r\na : b\r\n", Err(Refusal::FieldName)),
        ] {
            let read = response(format!("{lines}\r\n").as_bytes(), 4);
            assert_eq!(read.map(|head| head.status.as_u16()), expected, "{lines:?}");
        }
    }

    #[test]
    fn trailers_are_fields_alone() {
        assert!(fields(b"\r\n", 4).unwrap().is_empty());
        assert_eq!(fields(b"a: b\r\n\r\n", 4).unwrap()["a"], "b");
        assert_eq!(fields(b"a b\r\n\r\n", 4).err(), Some(Refusal::FieldName));
    }
}
