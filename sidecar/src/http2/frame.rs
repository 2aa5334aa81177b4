//! Frames (RFC 9113, 4 and 6): bytes to frames and back, no I/O. What one frame can break by itself is judged here; what
//! depends on the frames before it is the connection's to judge.

/// Bytes to frames.
mod parse;

/// Frames to bytes.
mod write;

#[cfg(test)]
mod tests;

pub use parse::parse;
pub use write::{
    continued_headers, data_head, go_away, ping, reset, settings, settings_ack, window_update,
};

use super::meter::Limit;

/// Bytes of a frame's head.
pub const HEAD: usize = 9;
/// Bytes of a payload that every peer takes (RFC 9113, 4.2).
pub const SMALLEST_MAX_SIZE: u32 = 1 << 14;
/// Bytes of a whole frame as we let peers send them.
pub const LARGEST_READ: usize = HEAD + SMALLEST_MAX_SIZE as usize;
/// Bytes of a payload beyond which no peer can go.
pub const LARGEST_MAX_SIZE: u32 = (1 << 24) - 1;
/// What every client sends first (RFC 9113, 3.4); a SETTINGS frame follows.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest window, and the largest stream.
pub const LARGEST: u32 = (1 << 31) - 1;

/// RFC 9113, 7. Codes that nobody defined pass as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

impl Code {
    pub const NO_ERROR: Self = Self(0);
    pub const PROTOCOL_ERROR: Self = Self(1);
    pub const INTERNAL_ERROR: Self = Self(2);
    pub const FLOW_CONTROL_ERROR: Self = Self(3);
    pub const SETTINGS_TIMEOUT: Self = Self(4);
    pub const STREAM_CLOSED: Self = Self(5);
    pub const FRAME_SIZE_ERROR: Self = Self(6);
    pub const REFUSED_STREAM: Self = Self(7);
    pub const CANCEL: Self = Self(8);
    pub const COMPRESSION_ERROR: Self = Self(9);
    pub const CONNECT_ERROR: Self = Self(10);
    pub const ENHANCE_YOUR_CALM: Self = Self(11);
    pub const INADEQUATE_SECURITY: Self = Self(12);
    pub const HTTP_1_1_REQUIRED: Self = Self(13);
}

/// What breaks when a frame is wrong. The text goes into GOAWAY and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("connection error {0:?}: {1}")]
    Connection(Code, &'static str),
    #[error("stream {0}: error {1:?}: {2}")]
    Stream(u32, Code, &'static str),
    /// The peer repeats what it must not: the connection ends with ENHANCE_YOUR_CALM.
    #[error("past a bound: {}", .0.name())]
    Excess(Limit),
}

impl From<Limit> for Fault {
    fn from(limit: Limit) -> Self {
        Self::Excess(limit)
    }
}

/// The nine bytes in front of every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the payload.
    pub length: u32,
    pub kind: u8,
    pub flags: u8,
    /// 0 is the connection.
    pub stream: u32,
}

/// Kinds of frames.
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

/// Flags, by the kinds that have them.
pub mod flag {
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// A frame whose payload has been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    Data {
        stream: u32,
        data: &'a [u8],
        /// Bytes of flow control: padding and its length count too.
        charged: u32,
        ends_stream: bool,
    },
    Headers {
        stream: u32,
        fragment: &'a [u8],
        /// Its stream is to be reset, but its fields belong to the tables.
        depends_on_itself: bool,
        ends_stream: bool,
        ends_block: bool,
    },
    Continuation {
        stream: u32,
        fragment: &'a [u8],
        ends_block: bool,
    },
    /// Priorities are ignored.
    Priority,
    Reset {
        stream: u32,
        code: Code,
    },
    Settings(Settings),
    SettingsAck,
    Ping {
        payload: [u8; 8],
        is_answer: bool,
    },
    GoAway {
        last_stream: u32,
        code: Code,
        debug: &'a [u8],
    },
    WindowUpdate {
        /// 0 is the connection.
        stream: u32,
        increment: u32,
    },
    /// Of a kind nobody defined: ignored, and counted.
    Unknown,
}

/// What a SETTINGS frame changes; RFC 9113, 6.5.2. Unknown ones are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub header_table_size: Option<u32>,
    pub enable_push: Option<bool>,
    pub max_concurrent_streams: Option<u32>,
    pub initial_window_size: Option<u32>,
    pub max_frame_size: Option<u32>,
    pub max_header_list_size: Option<u32>,
}

impl Head {
    pub fn parse(bytes: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            // The highest bit is reserved and says nothing.
            stream: u32::from_be_bytes(stream) & LARGEST,
        }
    }

    pub fn bytes(self) -> [u8; HEAD] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}
