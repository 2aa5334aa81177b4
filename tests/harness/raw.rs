//! A peer that speaks HTTP/2 frame by frame, right or wrong, as a test says.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// An answer takes no longer than this on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Kinds of frames (RFC 9113, 6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// One frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
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

/// A block of fields, all of them literals without an index (RFC 7541, 6.2.2), no value longer than 126 bytes.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
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
}

impl Raw {
    pub async fn connect(address: &str) -> Self {
        Self::greet(Self::silent(address).await).await
    }

    /// The same from an address of the loopback network that is not everybody's.
    pub async fn connect_from(source: [u8; 4], address: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        let stream = socket.connect(address.parse().unwrap()).await.unwrap();
        Self::greet(Self::on(stream)).await
    }

    async fn greet(mut raw: Self) -> Self {
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        raw.send(&frame(kind::SETTINGS, 0, 0, &[])).await;
        raw
    }

    /// A connection on which nothing was said.
    pub async fn silent(address: &str) -> Self {
        Self::on(TcpStream::connect(address).await.unwrap())
    }

    fn on(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Writes; a peer that has closed is found out by reading.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _: Result<std::io::Result<()>, _> =
            timeout(PATIENCE, self.stream.write_all(bytes)).await;
    }

    /// The next frame; `None` once the peer has closed.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread));
            match read.await.expect("a frame or the end, in time") {
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
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
        })
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

    /// How the peer says goodbye, and that it closes.
    pub async fn goodbye(&mut self) -> Option<(u32, u32, String)> {
        let mut goodbye = None;
        while let Some(frame) = self.next().await {
            goodbye = frame.goaway().or(goodbye);
        }
        goodbye
    }
}
