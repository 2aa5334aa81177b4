//! Frames in an order nobody foresaw, into a connection in either role, while an application answers, resets and forwards. It never
//! holds more than it allowed, never has more streams open, and what it writes is frames.

use arbitrary::{Arbitrary, Unstructured};
use tokio::time::Instant;

use crate::http2::connection::{Config, Connection, Event, Role};
use crate::http2::frame::{Code, HEAD, Head, PREFACE, flag, kind};
use crate::http2::hpack::{Bounds, Encoder, Indexing};
use crate::http2::meter::Tolerance;

const MOST_STREAMS: u32 = 8;
const CONNECTION_WINDOW: u32 = 128 << 10;
const MOST_STEPS: usize = 256;

#[derive(Arbitrary, Debug)]
enum Step {
    /// Any frame, in its form at least.
    Frame {
        kind: u8,
        flags: u8,
        stream: u8,
        payload: Vec<u8>,
    },
    /// Fields that can be decoded.
    Fields {
        stream: u8,
        flags: u8,
        fields: Vec<(Name, String)>,
    },
    Data {
        stream: u8,
        length: u16,
        ends: bool,
    },
    Bytes(Vec<u8>),
    Open,
    Answer {
        stream: u8,
        ends: bool,
    },
    Send {
        stream: u8,
        length: u16,
        ends: bool,
    },
    Forward {
        stream: u8,
        length: u16,
    },
    Reset(u8),
    Abandon(u8),
    Turn,
    Leave,
    Widen,
}

#[derive(Arbitrary, Debug)]
enum Name {
    Method,
    Scheme,
    Path,
    Authority,
    Status,
    ContentLength,
    Te,
    Other,
}

pub(super) fn run(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let role = match input.arbitrary() {
        Ok(true) => Role::Server,
        _ => Role::Client,
    };
    let mut peer = Peer::new(role);
    if input.ratio(7, 8) == Ok(true) {
        peer.greet();
    }
    for _ in 0..MOST_STEPS {
        let Ok(step) = Step::arbitrary(&mut input) else {
            break;
        };
        if !peer.step(step) || input.is_empty() {
            break;
        }
    }
    peer.check();
}

struct Peer {
    role: Role,
    connection: Connection,
    encoder: Encoder,
    unread: Vec<u8>,
    now: Instant,
}

// === impl Peer ===

impl Peer {
    fn new(role: Role) -> Self {
        let config = Config {
            stream_window: 16 << 10,
            connection_window: CONNECTION_WINDOW,
            max_concurrent_streams: MOST_STREAMS,
            header_list: Bounds {
                bytes: 1 << 10,
                count: 16,
            },
            reset_memory: 8,
            asks_before_resets: true,
            tolerance: tolerance(),
        };
        let mut connection = Connection::new(role, config);
        if role == Role::Client {
            assert!(connection.output().starts_with(PREFACE));
            connection.output().drain(..PREFACE.len());
        }
        Self {
            role,
            connection,
            encoder: Encoder::new(4096),
            unread: Vec::new(),
            now: Instant::now(),
        }
    }

    fn greet(&mut self) {
        if self.role == Role::Server {
            self.unread.extend_from_slice(PREFACE);
        }
        self.frame(kind::SETTINGS, 0, 0, &[]);
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let head = Head {
            length: u32::try_from(payload.len()).unwrap_or_default(),
            kind,
            flags,
            stream,
        };
        self.unread.extend_from_slice(&head.bytes());
        self.unread.extend_from_slice(payload);
    }

    /// False when the connection is over.
    fn step(&mut self, step: Step) -> bool {
        match step {
            Step::Frame {
                kind,
                flags,
                stream,
                payload,
            } => self.frame(kind % 11, flags, stream.into(), &payload),
            Step::Fields {
                stream,
                flags,
                fields,
            } => {
                let block = self.block(&fields);
                let flags = flags | flag::END_HEADERS;
                self.frame(kind::HEADERS, flags, stream.into(), &block);
            }
            Step::Data {
                stream,
                length,
                ends,
            } => {
                let flags = if ends { flag::END_STREAM } else { 0 };
                let payload = vec![7; usize::from(length)];
                self.frame(kind::DATA, flags, stream.into(), &payload);
            }
            Step::Bytes(bytes) => self.unread.extend_from_slice(&bytes),
            step => self.act(&step),
        }
        let is_alive = self.receive();
        self.check();
        is_alive
    }

    /// What whoever owns the connection does.
    fn act(&mut self, step: &Step) {
        let connection = &mut self.connection;
        let status = [(&b":status"[..], &b"200"[..], Indexing::Incremental)];
        match *step {
            Step::Open if self.role == Role::Client => {
                let method = [(&b":method"[..], &b"GET"[..], Indexing::Incremental)];
                let _ = connection.open(method, false, false, self.now).is_ok();
            }
            Step::Answer { stream, ends } if self.role == Role::Server => {
                let _ = connection
                    .send_fields(stream.into(), status, false, ends)
                    .is_ok();
            }
            Step::Send {
                stream,
                length,
                ends,
            } => {
                let data = vec![9; usize::from(length)];
                if let Ok(sent) = connection.send_data(stream.into(), &data, ends) {
                    assert!(sent <= data.len());
                }
            }
            Step::Forward { stream, length } => {
                connection.forwarded(stream.into(), length.into());
            }
            Step::Reset(stream) => {
                connection.reset(stream.into(), Code::CANCEL);
            }
            Step::Abandon(stream) => connection.abandon(stream.into(), self.now),
            Step::Turn => connection.begin_turn(),
            Step::Leave => connection.announce_go_away(),
            Step::Widen => connection.widen_streams(32 << 10),
            _ => {}
        }
    }

    fn block(&mut self, fields: &[(Name, String)]) -> Vec<u8> {
        let mut block = Vec::new();
        self.encoder.begin(&mut block);
        for (name, value) in fields {
            let name: &[u8] = match name {
                Name::Method => b":method",
                Name::Scheme => b":scheme",
                Name::Path => b":path",
                Name::Authority => b":authority",
                Name::Status => b":status",
                Name::ContentLength => b"content-length",
                Name::Te => b"te",
                Name::Other => b"a",
            };
            let value = value.as_bytes();
            self.encoder
                .field(name, value, Indexing::Incremental, &mut block);
        }
        block
    }

    fn receive(&mut self) -> bool {
        let mut told = Vec::new();
        let taken = self
            .connection
            .receive(&self.unread, self.now, &mut |event| {
                if let Event::Data { stream, data, .. } = event {
                    told.push((stream, data.len()));
                }
            });
        match taken {
            Ok(count) => drop(self.unread.drain(..count)),
            Err(fault) => {
                self.connection.give_up(fault);
                return false;
            }
        }
        true
    }

    fn check(&mut self) {
        assert!(self.connection.held() <= CONNECTION_WINDOW);
        assert!(self.connection.open_streams() <= 2 * MOST_STREAMS as usize);
        let mut out = std::mem::take(self.connection.output());
        while let Some(head) = out.first_chunk::<HEAD>() {
            let length = HEAD + Head::parse(*head).length as usize;
            assert!(length <= out.len(), "a frame is cut short");
            out.drain(..length);
        }
        assert!(out.is_empty(), "half a frame");
    }
}

/// Few enough that a fuzzer meets them.
fn tolerance() -> Tolerance {
    Tolerance {
        continuation_frames: 5,
        informational: 8,
        pending_accept_resets: 16,
        library_resets: 16,
        priority_frames: 16,
        window_update_frames: 1,
        ping_frames: 4,
        settings_frames: 16,
        unknown_frames: 16,
        empty_frames: 16,
        premature_resets: 500,
        ends_premature_resets: true,
    }
}
