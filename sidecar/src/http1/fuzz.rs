//! Messages that anybody could send: cut anywhere they are the same message or none, and what we make of one for the next hop is read
//! there as what we read.

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Method};

use super::decode::{Bounds, Decoder, Piece};
use super::encode::{self, Afterwards, Encoder};
use super::framing::{self, Framing};
use super::refusal::Refusal;
use super::{head, target};

const BOUNDS: Bounds = Bounds {
    fields: 16,
    bytes: 2 << 10,
};

pub(crate) fn run(bytes: &[u8]) {
    let Some(([mode, step], message)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let step = usize::from(*step).max(1);
    match mode % 3 {
        0 => request(message, step, false),
        1 => request(message, step, true),
        _ => response(message, step),
    }
}

/// A message as the next hop has to see it.
#[derive(Debug, PartialEq)]
struct Read {
    line: String,
    host: String,
    headers: HeaderMap,
    framing: Framing,
    body: Vec<u8>,
    is_whole: bool,
    /// Bytes behind it.
    behind: usize,
}

fn request(message: &[u8], step: usize, is_strange: bool) {
    let read = |bytes: &[u8], step| read(bytes, step, &|head| as_request(head, is_strange));
    let whole = read(message, message.len().max(1));
    let cut = read(message, step);
    let (Ok(Some(whole)), Ok(Some(cut))) = (&whole, &cut) else {
        assert_eq!(whole.is_err(), cut.is_err(), "{whole:?} {cut:?}");
        return;
    };
    assert_eq!(whole, cut);
    if !whole.is_whole {
        return;
    }
    let (method, path) = whole.line.split_once(' ').expect("a method and a path");
    let method: Method = method.parse().expect("a method");
    let host = HeaderValue::try_from(whole.host.as_str()).expect("a host");
    let mut out = BytesMut::new();
    encode::request(
        &mut out,
        &method,
        path,
        &host,
        &whole.headers,
        whole.framing,
    );
    finish(whole, &mut out);
    let again = read(&out, out.len()).expect("taken again").expect("whole");
    assert_eq!(
        (&again, again.behind),
        (
            &Read {
                behind: 0,
                ..clone(whole)
            },
            0
        )
    );
}

fn response(message: &[u8], step: usize) {
    let whole = read(message, message.len().max(1), &as_response);
    let cut = read(message, step, &as_response);
    let (Ok(Some(whole)), Ok(Some(cut))) = (&whole, &cut) else {
        assert_eq!(whole.is_err(), cut.is_err(), "{whole:?} {cut:?}");
        return;
    };
    assert_eq!(whole, cut);
    if !whole.is_whole {
        return;
    }
    let status = whole.line.parse().expect("a status");
    let mut out = BytesMut::new();
    let unsaid = Afterwards::Unsaid;
    encode::response(&mut out, status, &whole.headers, whole.framing, unsaid);
    finish(whole, &mut out);
    let again = read(&out, out.len(), &as_response);
    let again = again.expect("taken again").expect("whole");
    assert_eq!(
        again,
        Read {
            behind: 0,
            ..clone(whole)
        }
    );
}

fn clone(read: &Read) -> Read {
    Read {
        line: read.line.clone(),
        host: read.host.clone(),
        headers: read.headers.clone(),
        body: read.body.clone(),
        ..*read
    }
}

fn finish(read: &Read, out: &mut BytesMut) {
    let mut encoder = Encoder::new(read.framing);
    encoder.data(&read.body, out).expect("as long as it was");
    encoder.end(&HeaderMap::new(), out).expect("not shorter");
}

type Understood = Result<(String, String, HeaderMap, Framing), Refusal>;

fn as_request(bytes: &[u8], is_strange: bool) -> Understood {
    let head = head::request(bytes, BOUNDS.fields)?;
    let framing = framing::of_request(&head)?;
    let (path, host) = target::of(&head.method, &head.target, &head.headers, is_strange)?;
    let mut headers = head.headers;
    headers.remove(HOST);
    Ok((format!("{} {path}", head.method), host, headers, framing))
}

fn as_response(bytes: &[u8]) -> Understood {
    let head = head::response(bytes, BOUNDS.fields)?;
    let framing = framing::of_response(&Method::GET, &head)?;
    let status = head.status.as_str().to_owned();
    Ok((status, String::new(), head.headers, framing))
}

/// `None` while the head has no end.
fn read(
    message: &[u8],
    step: usize,
    understand: &dyn Fn(&[u8]) -> Understood,
) -> Result<Option<Read>, Refusal> {
    let mut read = BytesMut::new();
    let mut scanned = 0;
    let mut pieces = message.chunks(step);
    let length = loop {
        if let Some(length) = head::end(&read, &mut scanned)? {
            break length;
        }
        if read.len() >= BOUNDS.bytes {
            return Err(Refusal::HeadTooLong);
        }
        let Some(piece) = pieces.next() else {
            return Ok(None);
        };
        read.extend_from_slice(piece);
    };
    if length > BOUNDS.bytes {
        return Err(Refusal::HeadTooLong);
    }
    let (line, host, mut headers, framing) = understand(&read.split_to(length))?;
    super::strip_hop_by_hop(&mut headers);
    headers.remove(CONTENT_LENGTH);
    let mut decoder = Decoder::new(framing, BOUNDS);
    let mut body = Vec::new();
    loop {
        while let Some(piece) = decoder.decode(&mut read)? {
            if let Piece::Data(bytes) = piece {
                body.extend_from_slice(&bytes);
            }
        }
        match pieces.next() {
            Some(piece) => read.extend_from_slice(piece),
            None => break,
        }
    }
    Ok(Some(Read {
        line,
        host,
        headers,
        framing,
        is_whole: decoder.ends_here(),
        body,
        behind: read.len(),
    }))
}
