//! What a decoded block of fields means: the head of a request, of a response, or trailers (RFC 9113, 8.2 and 8.3). What is
//! malformed ends its stream with PROTOCOL_ERROR and goes no further: the next hop's library might end the connection that
//! all calls share.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};

use super::hpack::Field;
use crate::grpc::is_grpc;

/// Fields of a request, usually not more.
const USUAL: usize = 12;

/// Why a block means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed: {0}")]
pub struct Malformed(pub &'static str);

/// The head of a request that is no CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    pub path: PathAndQuery,
    /// `:authority`, or what `host` said.
    pub authority: Option<String>,
    /// The other fields, `host` left out.
    pub headers: HeaderMap,
    /// Bytes that the body must have.
    pub content_length: Option<u64>,
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Not 101, which HTTP/2 does not have.
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub content_length: Option<u64>,
}

impl Response {
    /// Another head follows.
    pub fn is_informational(&self) -> bool {
        self.status.is_informational()
    }
}

/// A block while it is decoded.
#[derive(Debug, Default)]
pub struct Gathered {
    pseudo: Pseudo,
    headers: HeaderMap,
    host: Option<Bytes>,
    content_length: Option<u64>,
    fault: Option<Malformed>,
}

#[derive(Debug, Default)]
struct Pseudo {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    status: Option<Bytes>,
}

impl Gathered {
    /// One more field. The first fault is told at the end, when the table has seen the whole block.
    pub fn add(&mut self, field: Field) {
        if self.fault.is_none() {
            self.fault = self.take(field).err();
        }
    }

    /// It is malformed whatever its fields are.
    pub fn spoil(&mut self, why: &'static str) {
        self.fault = Some(Malformed(why));
    }

    /// What is known of it says gRPC.
    pub fn is_grpc(&self) -> bool {
        is_grpc(&self.headers)
    }

    /// The block was a request's head.
    pub fn request(self) -> Result<Request, Malformed> {
        self.whole()?;
        let Pseudo {
            method,
            scheme,
            authority,
            path,
            status,
        } = self.pseudo;
        if status.is_some() {
            return Err(Malformed(":status in a request"));
        }
        let (Some(method), Some(_), Some(path)) = (method, scheme, path) else {
            // CONNECT has no path; it is not for us.
            return Err(Malformed("a request without :method, :scheme or :path"));
        };
        if &*method == b"CONNECT" {
            return Err(Malformed("CONNECT with a :path"));
        }
        let authority = match (authority, self.host) {
            (Some(authority), Some(host)) if authority != host => {
                return Err(Malformed("host says something else than :authority"));
            }
            (authority, host) => authority.or(host),
        };
        let method =
            Method::from_bytes(&method).map_err(|_| Malformed(":method is not a method"))?;
        Ok(Request {
            path: path_and_query(path, &method)?,
            method,
            authority: authority.map(host_and_port).transpose()?,
            headers: self.headers,
            content_length: self.content_length,
        })
    }

    /// The block was a response's head.
    pub fn response(self) -> Result<Response, Malformed> {
        self.whole()?;
        let Pseudo {
            method: None,
            scheme: None,
            authority: None,
            path: None,
            status: Some(status),
        } = self.pseudo
        else {
            return Err(Malformed(
                "a response whose only pseudo field is not :status",
            ));
        };
        let status = StatusCode::from_bytes(&status)
            .map_err(|_| Malformed(":status is not three digits"))?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Malformed("101 has no meaning in HTTP/2"));
        }
        Ok(Response {
            status,
            headers: self.headers,
            content_length: self.content_length,
        })
    }

    /// The block stood behind the body.
    pub fn trailers(self) -> Result<HeaderMap, Malformed> {
        self.whole()?;
        let Pseudo {
            method: None,
            scheme: None,
            authority: None,
            path: None,
            status: None,
        } = self.pseudo
        else {
            return Err(Malformed("a pseudo field in trailers"));
        };
        Ok(self.headers)
    }

    fn whole(&self) -> Result<(), Malformed> {
        self.fault.map_or(Ok(()), Err)
    }

    fn take(&mut self, field: Field) -> Result<(), Malformed> {
        if !is_value(&field) {
            return Err(Malformed("a value that begins or ends with a blank"));
        }
        if field.name.first() == Some(&b':') {
            return self.take_pseudo(field);
        }
        match &*field.name {
            b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding"
            | b"upgrade" => return Err(Malformed("a field of HTTP/1 connections")),
            b"te" if !field.value.eq_ignore_ascii_case(b"trailers") => {
                return Err(Malformed("te is not trailers"));
            }
            b"content-length" => self.take_length(&field.value)?,
            b"host" => return self.take_host(field.value.into_bytes()),
            _ => {}
        }
        self.append(field)
    }

    /// The library's rules for names and values are stricter than RFC 9113, 8.2.1: tokens in lower case, no control bytes.
    fn append(&mut self, field: Field) -> Result<(), Malformed> {
        // Heads of responses and trailers are short, as the map's first size is.
        if self.headers.capacity() == 0 && self.pseudo.method.is_some() {
            self.headers.reserve(USUAL);
        }
        let name = field.name.header();
        let name = name.ok_or(Malformed("a name with a byte that no name has"))?;
        let value = field.value.header();
        let mut value = value.ok_or(Malformed("a value with a byte that no value has"))?;
        value.set_sensitive(field.never_indexed);
        let fits = self.headers.try_append(name, value);
        fits.map(|_| ())
            .map_err(|_| Malformed("more fields than can be held"))
    }

    fn take_pseudo(&mut self, field: Field) -> Result<(), Malformed> {
        if !self.headers.is_empty() || self.host.is_some() {
            return Err(Malformed("a pseudo field behind others"));
        }
        let place = match &*field.name {
            b":method" => &mut self.pseudo.method,
            b":scheme" => &mut self.pseudo.scheme,
            b":authority" => &mut self.pseudo.authority,
            b":path" => &mut self.pseudo.path,
            b":status" => &mut self.pseudo.status,
            _ => return Err(Malformed("a pseudo field that is not defined")),
        };
        match place.replace(field.value.into_bytes()) {
            None => Ok(()),
            Some(_) => Err(Malformed("a pseudo field twice")),
        }
    }

    fn take_host(&mut self, value: Bytes) -> Result<(), Malformed> {
        match self.host.replace(value) {
            None => Ok(()),
            Some(_) => Err(Malformed("host twice")),
        }
    }

    /// Repeated with the same number it is harmless (RFC 9110, 8.6).
    fn take_length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let length = std::str::from_utf8(value)
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .ok_or(Malformed("content-length is no number"))?;
        match self.content_length.replace(length) {
            Some(before) if before != length => Err(Malformed("two content-lengths")),
            _ => Ok(()),
        }
    }
}

/// RFC 9113, 8.2.1: no blank at either end. Only `grpc-message` may have one: gRPC leaves blanks as they are.
fn is_value(field: &Field) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let value = &field.value;
    (!blank(value.first()) && !blank(value.last())) || &*field.name == b"grpc-message"
}

/// RFC 9113, 8.3.1: a path that begins with a slash, or the `*` of OPTIONS.
fn path_and_query(path: Bytes, method: &Method) -> Result<PathAndQuery, Malformed> {
    match &*path {
        [b'/', ..] => {}
        [b'*'] if *method == Method::OPTIONS => {}
        [b'*'] => return Err(Malformed(":path is * and :method not OPTIONS")),
        _ => return Err(Malformed(":path does not begin with a slash")),
    }
    PathAndQuery::from_maybe_shared(path)
        .map_err(|_| Malformed(":path has a byte that no path has"))
}

/// RFC 9113, 8.3.1: neither empty, nor with the name of a user in front.
fn host_and_port(value: Bytes) -> Result<String, Malformed> {
    if value.is_empty() {
        return Err(Malformed("an empty authority"));
    }
    if value.contains(&b'@') {
        return Err(Malformed("an authority with a user"));
    }
    String::from_utf8(value.into()).map_err(|_| Malformed(":authority is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = ":method GET\n:scheme http\n:path /a";

    /// A field a line, its name up to the first blank.
    fn gathered(lines: &str) -> Gathered {
        let mut gathered = Gathered::default();
        for line in lines.split('\n').filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            gathered.add(Field {
                name: Bytes::copy_from_slice(name.as_bytes()).into(),
                value: Bytes::copy_from_slice(value.as_bytes()).into(),
                never_indexed: false,
            });
        }
        gathered
    }

    #[test]
    fn a_request_says_what_it_wants() {
        let lines = format!("{GET}\n:authority orders\nte trailers\nx-a 1\nx-a 2");
        let request = gathered(&lines).request().unwrap();
        assert_eq!((request.method, request.path.as_str()), (Method::GET, "/a"));
        assert_eq!(request.authority.as_deref(), Some("orders"));
        let values: Vec<_> = request.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(request.headers["te"], "trailers");
    }

    #[test]
    fn host_stands_for_an_authority_that_is_not_there() {
        let request = gathered(&format!("{GET}\nhost orders")).request().unwrap();
        assert_eq!(request.authority.as_deref(), Some("orders"));
        assert!(request.headers.is_empty());
        gathered(&format!("{GET}\n:authority a\nhost a"))
            .request()
            .unwrap();
        let all = gathered(":method OPTIONS\n:scheme http\n:path *\nhost orders");
        assert_eq!(all.request().unwrap().path, "*");
        for wrong in [":authority a\nhost b", "host a\nhost a"] {
            assert!(
                gathered(&format!("{GET}\n{wrong}")).request().is_err(),
                "{wrong}"
            );
        }
    }

    /// RFC 9113, 8.2 and 8.3: the sentences with MUST.
    #[test]
    fn malformed_requests_are_refused() {
        for wrong in [
            ":scheme http\n:path /",
            ":method GET\n:path /",
            ":method GET\n:scheme http",
            ":method GET\n:scheme http\n:path ",
            ":method GET\n:scheme http\n:path a",
            ":method GET\n:scheme http\n:path /a b",
            ":method CONNECT\n:scheme http\n:path /",
            ":method GET\n:scheme http\n:path *",
            ":method GET\n:scheme http\n:path /\n:authority ",
            ":method GET\n:scheme http\n:path /\n:authority me@orders",
            ":method GET\n:scheme http\n:path /\nhost ",
            ":method G T\n:scheme http\n:path /a",
            ":method CONNECT\n:authority a",
            ":method GET\n:method GET\n:scheme http\n:path /",
            ":method GET\n:scheme http\n:path /\n:status 200",
            ":method GET\n:scheme http\n:path /\n:protocol x",
            ":method GET\n:scheme http\nx 1\n:path /",
            ":method GET\n:scheme http\nhost a\n:path /",
        ] {
            assert!(gathered(wrong).request().is_err(), "{wrong}");
        }
        for wrong in [
            "X-a 1",
            "x\u{e9} 1",
            ": 1",
            "x:y 1",
            "x\t 1",
            "x-a 1\r",
            "x-a \0",
            "x-a  1",
            "x-a 1 ",
            "x-a 1\t",
            "connection close",
            "keep-alive 5",
            "proxy-connection x",
            "upgrade h2c",
            "transfer-encoding chunked",
            "te gzip",
            "te trailers, gzip",
            "content-length -1",
            "content-length +1",
            "content-length ",
            "content-length 1, 1",
            "content-length 99999999999999999999",
            "content-length 1\ncontent-length 2",
        ] {
            assert!(
                gathered(&format!("{GET}\n{wrong}")).request().is_err(),
                "{wrong:?}"
            );
        }
        let twice = gathered(&format!("{GET}\ncontent-length 1\ncontent-length 1"));
        assert_eq!(twice.request().unwrap().content_length, Some(1));
    }

    #[test]
    fn a_response_has_a_status_of_three_digits() {
        for (text, status, informational) in [
            ("200", 200, false),
            ("100", 100, true),
            ("103", 103, true),
            ("999", 999, false),
        ] {
            let response = gathered(&format!(":status {text}\nx-a 1"))
                .response()
                .unwrap();
            assert_eq!(response.status, status);
            assert_eq!(response.is_informational(), informational, "{text}");
        }
        for wrong in [
            "x-a 1",
            ":status ",
            ":status 20",
            ":status 2000",
            ":status 2x0",
            ":status 099",
            ":status 101",
            ":status 200\n:status 200",
            ":status 200\n:path /",
            "x-a 1\n:status 200",
        ] {
            assert!(gathered(wrong).response().is_err(), "{wrong}");
        }
    }

    #[test]
    fn trailers_have_no_pseudo_fields() {
        let trailers = gathered("grpc-status 0\ngrpc-message  not here ")
            .trailers()
            .unwrap();
        assert_eq!(trailers["grpc-message"], " not here ");
        assert!(gathered(":status 200\ngrpc-status 0").trailers().is_err());
        assert!(gathered("connection close").trailers().is_err());
    }
}
