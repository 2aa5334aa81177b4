//! A call that says what its answer's head and trailers are to be, and hears in the body which fields its own head arrived with: each
//! direction is told by the other's bytes, so that no fault of one hides the same fault of the other.

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::grpc;

/// What the application is to answer.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub head: HeaderMap,
    pub trailers: HeaderMap,
    /// All of it is one frame of fields; the body, and with it what arrived, is left out.
    pub is_trailers_only: bool,
}

impl Wanted {
    /// OK, and nothing besides.
    pub fn served() -> Self {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Self {
            trailers,
            ..Self::default()
        }
    }

    /// As the message of a request.
    pub fn message(&self) -> Bytes {
        let mut message = BytesMut::new();
        message.extend_from_slice(if self.is_trailers_only {
            b"1\n"
        } else {
            b"0\n"
        });
        message.extend_from_slice(&written(&self.head));
        message.extend_from_slice(b"\n");
        message.extend_from_slice(&written(&self.trailers));
        message.freeze()
    }

    fn read(message: &[u8]) -> Self {
        let mut lines = message.split(|byte| *byte == b'\n');
        let is_trailers_only = lines.next() == Some(b"1");
        Self {
            head: fields(lines.by_ref().take_while(|line| !line.is_empty())),
            trailers: fields(lines.filter(|line| !line.is_empty())),
            is_trailers_only,
        }
    }
}

/// The fields that a mirror's message tells.
pub fn told(message: &[u8]) -> HeaderMap {
    let lines = message.split(|byte| *byte == b'\n');
    fields(lines.filter(|line| !line.is_empty()))
}

/// A field a line; a value has no line feed.
fn written(fields: &HeaderMap) -> Bytes {
    let mut lines = BytesMut::new();
    for (name, value) in fields {
        for piece in [name.as_str().as_bytes(), b" ", value.as_bytes(), b"\n"] {
            lines.extend_from_slice(piece);
        }
    }
    lines.freeze()
}

fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines {
        let blank = line.iter().position(|byte| *byte == b' ').unwrap();
        let (name, value) = (&line[..blank], &line[blank + 1..]);
        fields.append(
            HeaderName::from_bytes(name).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    fields
}

pub(super) async fn answer(
    received: &HeaderMap,
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let mut request = BytesMut::new();
    while let Some(piece) = grpc::receive(&mut body).await {
        request.extend_from_slice(&piece?);
    }
    let message = grpc::take_messages(&mut request).pop();
    let Some(message) = message else {
        respond.send_reset(Reason::INTERNAL_ERROR);
        return Ok(());
    };
    let Wanted {
        mut head,
        trailers,
        is_trailers_only,
    } = Wanted::read(&message);
    head.insert("content-type", HeaderValue::from_static("application/grpc"));
    if is_trailers_only {
        head.extend(trailers.clone());
    }
    let mut response = Response::new(());
    *response.headers_mut() = head;
    let mut stream = respond.send_response(response, is_trailers_only)?;
    if is_trailers_only {
        return Ok(());
    }
    grpc::send(&mut stream, grpc::frame(&written(received)), false).await?;
    stream.send_trailers(trailers)
}
