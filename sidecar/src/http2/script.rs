//! Frames by hand, and a peer that does what a test's script says.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::frame::{HEAD, Head, PREFACE, flag, kind};

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let head = Head {
        length: u32::try_from(payload.len()).unwrap(),
        kind,
        flags,
        stream,
    };
    [&head.bytes()[..], payload].concat()
}

/// A literal field without an index, no text longer than 126 bytes.
pub(super) fn literal(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let (name, value) = ((length(name), name), (length(value), value));
    [
        &[0, name.0],
        name.1.as_bytes(),
        &[value.0],
        value.1.as_bytes(),
    ]
    .concat()
}

/// `:status 200`, by its static index.
pub(super) const OK: &[u8] = &[0x88];

pub(super) fn head(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, flags | flag::END_HEADERS, stream, block)
}

pub(super) fn setting(name: u16, value: u32) -> Vec<u8> {
    let payload = [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(kind::SETTINGS, 0, 0, &payload)
}

pub(super) fn goaway(last: u32, code: u32) -> Vec<u8> {
    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
    frame(kind::GOAWAY, 0, 0, &payload)
}

/// A frame as the peer got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// The other end of a connection.
pub(super) struct Peer {
    io: DuplexStream,
    unread: Vec<u8>,
}

impl Peer {
    pub(super) fn new(io: DuplexStream) -> Self {
        Self {
            io,
            unread: Vec::new(),
        }
    }

    /// The bare stream, for what no script can say.
    pub(super) fn into_io(self) -> DuplexStream {
        self.io
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    /// The next frame, a client's preface left out; `None` once the other end has closed.
    pub(super) async fn next(&mut self) -> Option<Got> {
        loop {
            if let Some(rest) = self.unread.strip_prefix(PREFACE.as_slice()) {
                self.unread = rest.to_vec();
            }
            if let Some(got) = self.take() {
                return Some(got);
            }
            match self.io.read_buf(&mut self.unread).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    fn take(&mut self) -> Option<Got> {
        let is_preface = PREFACE.starts_with(&self.unread) || self.unread.starts_with(PREFACE);
        let (head, behind) = self
            .unread
            .split_first_chunk::<HEAD>()
            .filter(|_| !is_preface)?;
        let head = Head::parse(*head);
        let length = head.length as usize;
        let got = Got {
            kind: head.kind,
            flags: head.flags,
            stream: head.stream,
            payload: behind.get(..length)?.to_vec(),
        };
        self.unread.drain(..HEAD + length);
        Some(got)
    }

    /// The next frame of a kind; others in between are let pass.
    pub(super) async fn next_of(&mut self, kind: u8) -> Got {
        loop {
            let got = self.next().await.expect("the connection is still there");
            if got.kind == kind {
                return got;
            }
        }
    }

    /// Frames of a kind until a ping of ours is answered: all that was on its way.
    pub(super) async fn all_of(&mut self, kind: u8) -> Vec<Got> {
        self.send(&frame(kind::PING, 0, 0, b"is that ")).await;
        let mut found = Vec::new();
        loop {
            let got = self.next().await.expect("the connection is still there");
            if got.kind == kind::PING && got.flags == flag::ACK {
                return found;
            }
            if got.kind == kind {
                found.push(got);
            }
        }
    }
}
