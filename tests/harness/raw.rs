//! A peer that speaks HTTP/2 frame by frame, right or wrong, as a test says.

/// An application that does.
mod application;

use std::time::Duration;

use outrigger_sidecar::http2::hpack::{Bounds, Decoder};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

pub use application::{Application, Heard, Script};

/// An answer takes no longer than this on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Kinds of frames (RFC 9113, 6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
/// HEADERS with a priority.
pub const PRIORITY: u8 = 0x20;

/// What every client says first (RFC 9113, 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
    /// Of a block that ended with this frame.
    pub fields: Vec<(String, String)>,
}

impl Frame {
    /// What a field of its block says.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| &**value)
    }

    pub fn ends_stream(&self) -> bool {
        let may_end = matches!(self.kind, kind::DATA | kind::HEADERS);
        may_end && self.flags & END_STREAM != 0
    }

    /// Its sender has taken our SETTINGS.
    pub fn acknowledges(&self) -> bool {
        self.kind == kind::SETTINGS && self.flags & ACK != 0
    }

    /// A value of a SETTINGS frame.
    pub fn setting(&self, name: u16) -> Option<u32> {
        let mut entries = self.payload.chunks_exact(6);
        let value = entries.find(|entry| entry[..2] == name.to_be_bytes())?;
        Some(u32::from_be_bytes(value[2..].try_into().unwrap()))
    }

    /// RST_STREAM's code.
    pub fn reset(&self) -> Option<u32> {
        let code: Option<[u8; 4]> = self.payload.as_slice().try_into().ok();
        (self.kind == kind::RST_STREAM).then(|| code.map(u32::from_be_bytes))?
    }

    /// GOAWAY's last stream, code and text.
    pub fn goaway(&self) -> Option<(u32, u32, String)> {
        let number = |from: usize| {
            let bytes: Option<[u8; 4]> = self.payload.get(from..from + 4)?.try_into().ok();
            bytes.map(u32::from_be_bytes)
        };
        let text =
            || String::from_utf8_lossy(self.payload.get(8..).unwrap_or_default()).into_owned();
        (self.kind == kind::GOAWAY).then(|| Some((number(0)?, number(4)?, text())))?
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Several entries of a SETTINGS frame.
pub fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let bytes = |(name, value): &(u16, u32)| {
        let mut entry = name.to_be_bytes().to_vec();
        entry.extend(value.to_be_bytes());
        entry
    };
    let payload: Vec<u8> = entries.iter().flat_map(bytes).collect();
    frame(kind::SETTINGS, 0, 0, &payload)
}

pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
    frame(kind::GOAWAY, 0, 0, &payload)
}

/// A payload with padding behind it, for frames with [`PADDED`].
pub fn padded(payload: &[u8], padding: u8) -> Vec<u8> {
    let mut bytes = vec![padding];
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len() + usize::from(padding), 0);
    bytes
}

/// A block of fields, all of them literals without an index and without Huffman's code (RFC 7541, 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let bytes: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    block_of(&bytes)
}

/// The same of bytes that may be no text.
pub fn block_of(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            push_length(text.len(), &mut block);
            block.extend_from_slice(text);
        }
    }
    block
}

/// RFC 7541, 5.1, with a prefix of seven bits.
fn push_length(length: usize, block: &mut Vec<u8>) {
    let Some(mut rest) = length.checked_sub(127) else {
        return block.push(u8::try_from(length).unwrap());
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The fields of a gRPC request.
pub fn grpc<'a>(authority: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
}

/// A connection whose preface and SETTINGS are out.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
    decoder: Decoder,
    fields: Vec<(String, String)>,
}

impl Raw {
    pub async fn connect(address: &str) -> Self {
        Self::silent(address).await.greeted().await
    }

    /// The same from an address of the loopback network that is not everybody's.
    pub async fn connect_from(source: [u8; 4], address: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        let stream = socket.connect(address.parse().unwrap()).await.unwrap();
        Self::over(stream).greeted().await
    }

    async fn greeted(mut self) -> Self {
        self.greet().await;
        self
    }

    /// Says preface and SETTINGS.
    pub async fn greet(&mut self) {
        self.send(PREFACE).await;
        self.send(&frame(kind::SETTINGS, 0, 0, &[])).await;
    }

    /// A connection on which nothing was said.
    pub async fn silent(address: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            unread: Vec::new(),
            decoder: Decoder::new(4096),
            fields: Vec::new(),
        }
    }

    /// Writes; a peer that has closed is found out by reading.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _: Result<std::io::Result<()>, _> =
            timeout(PATIENCE, self.stream.write_all(bytes)).await;
    }

    /// The next frame; `None` once the peer has closed.
    pub async fn next(&mut self) -> Option<Frame> {
        let next = timeout(PATIENCE, self.next_ever()).await;
        next.expect("a frame or the end, in time")
    }

    /// The same, whenever it comes.
    pub async fn next_ever(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let (head, behind) = self.unread.split_first_chunk::<9>()?;
        let [a, b, c, kind, flags, stream @ ..] = *head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = behind.get(..length)?.to_vec();
        self.unread.drain(..9 + length);
        let fields = match kind {
            kind::HEADERS | kind::CONTINUATION => self.decode(kind, flags, &payload),
            _ => Vec::new(),
        };
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
            fields,
        })
    }

    /// Blocks are decoded in the order they come, or the table is no longer the peer's.
    fn decode(&mut self, kind: u8, flags: u8, payload: &[u8]) -> Vec<(String, String)> {
        let pads = kind == kind::HEADERS && flags & (PADDED | PRIORITY) != 0;
        assert!(!pads, "a sidecar neither pads nor sends priorities");
        let bounds = Bounds {
            bytes: 1 << 20,
            count: 1 << 12,
        };
        let ends = flags & END_HEADERS != 0;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = &mut self.fields;
        let decoded = self.decoder.decode(payload, ends, bounds, |field| {
            fields.push((text(&field.name), text(&field.value)));
        });
        decoded.expect("a block that can be decoded");
        match ends {
            true => std::mem::take(&mut self.fields),
            false => Vec::new(),
        }
    }

    /// Reads until a frame is the one; the frames before it come back too. `None` if the peer closed first.
    pub async fn until(
        &mut self,
        mut is_it: impl FnMut(&Frame) -> bool,
    ) -> Option<(Vec<Frame>, Frame)> {
        let mut before = Vec::new();
        while let Some(frame) = self.next().await {
            if is_it(&frame) {
                return Some((before, frame));
            }
            before.push(frame);
        }
        None
    }

    /// Whether the peer, after all that was sent, still answers a ping; else how it said goodbye.
    pub async fn is_alive(&mut self) -> Result<Vec<Frame>, Option<(u32, u32, String)>> {
        self.send(&frame(kind::PING, 0, 0, b"are you?")).await;
        let mut before = Vec::new();
        let mut goodbye = None;
        while let Some(frame) = self.next().await {
            if frame.kind == kind::PING && frame.flags == ACK && frame.payload == b"are you?" {
                return Ok(before);
            }
            goodbye = frame.goaway().or(goodbye);
            before.push(frame);
        }
        Err(goodbye)
    }

    /// A further preface of a client, read as an application does.
    async fn hear_preface(&mut self) -> bool {
        while self.unread.len() < PREFACE.len() {
            match self.stream.read_buf(&mut self.unread).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return false,
            }
        }
        self.unread.drain(..PREFACE.len()).eq(*PREFACE)
    }

    /// How the peer says goodbye, and that it closes.
    pub async fn goodbye(&mut self) -> Option<(u32, u32, String)> {
        let mut goodbye = None;
        while let Some(frame) = self.next().await {
            goodbye = frame.goaway().or(goodbye);
        }
        goodbye
    }
}
