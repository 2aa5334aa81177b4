//! The bounds of connections and streams, per kind of listener. Names and numbers are those of the table of defaults in the docs.

use std::time::Duration;

use serde::Deserialize;

use super::{Error, duration};

/// Limits by who is at the other end: the internet, a mesh peer, our own application.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub edge: Http2,
    pub mesh: Http2,
    pub local: Http2,
    pub connect: Connect,
}

/// One HTTP/2 connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default = "Http2::unset")]
pub struct Http2 {
    /// Calls open at once; more are refused with REFUSED_STREAM.
    pub max_concurrent_streams: Option<u32>,
    /// Bytes a stream may send before credit comes back. Also what one stream can make us hold.
    pub stream_window: Option<u32>,
    /// Bytes a connection may send before credit comes back. At least streams × stream window, or slow streams starve the others.
    pub connection_window: Option<u32>,
    /// Bytes of a header list (name + value + 32 each).
    pub header_list: Option<u32>,
    /// Fields of a header list.
    pub header_count: Option<usize>,
    /// Calls that were cancelled before we saw them, at once.
    pub pending_accept_resets: Option<usize>,
    /// Streams remembered after we reset them, so that late frames cost nothing.
    pub reset_memory: Option<usize>,
    /// Resets made by the library over a connection's life before it is closed.
    pub library_resets: Option<usize>,
    /// Bytes held for sending per stream.
    pub send_buffer: Option<usize>,
    #[serde(skip)]
    kind: Kind,
}

/// Reaching others, and how long connections last.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connect {
    /// To a mesh peer, handshake included.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// To the local application.
    #[serde(with = "duration")]
    pub application_timeout: Duration,
    #[serde(with = "duration")]
    pub backoff_first: Duration,
    #[serde(with = "duration")]
    pub backoff_longest: Duration,
    /// A mesh connection that carries nothing is closed.
    #[serde(with = "duration")]
    pub idle: Duration,
    /// A mesh connection retires about then (± 10 %), in any case before a leaf expires.
    #[serde(with = "duration")]
    pub age: Duration,
    #[serde(with = "duration")]
    pub ping_interval: Duration,
    #[serde(with = "duration")]
    pub ping_timeout: Duration,
    /// TLS handshakes that others make with us.
    #[serde(with = "duration")]
    pub handshake: Duration,
    /// HTTP/2 preface, protocol detection.
    #[serde(with = "duration")]
    pub preface: Duration,
    /// HTTP/1 header block.
    #[serde(with = "duration")]
    pub header_block: Duration,
    /// Connections accepted at once per listener; past it nothing is accepted until one ends.
    pub accepted: usize,
}

/// The numbers of one connection, defaults filled in.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    pub max_concurrent_streams: u32,
    pub stream_window: u32,
    pub connection_window: u32,
    pub header_list: u32,
    pub header_count: usize,
    pub pending_accept_resets: usize,
    pub reset_memory: usize,
    pub reset_duration: Duration,
    pub library_resets: usize,
    pub send_buffer: usize,
    /// Small frames nobody has read yet are budgeted towards strangers only: between sidecars a slow reader must not end a connection.
    pub small_frame_budget: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Kind {
    Edge,
    #[default]
    Mesh,
    Local,
}

const MIB: u32 = 1 << 20;

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            edge: Http2::edge(),
            mesh: Http2::mesh(),
            local: Http2::local(),
            connect: Connect::default(),
        }
    }
}

impl Limits {
    pub fn edge(&self) -> Connection {
        Http2 {
            kind: Kind::Edge,
            ..self.edge.clone()
        }
        .connection()
    }

    pub fn mesh(&self) -> Connection {
        Http2 {
            kind: Kind::Mesh,
            ..self.mesh.clone()
        }
        .connection()
    }

    pub fn local(&self) -> Connection {
        Http2 {
            kind: Kind::Local,
            ..self.local.clone()
        }
        .connection()
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        for (name, connection) in [
            ("edge", self.edge()),
            ("mesh", self.mesh()),
            ("local", self.local()),
        ] {
            let needed =
                u64::from(connection.max_concurrent_streams) * u64::from(connection.stream_window);
            if needed > u64::from(connection.connection_window) {
                return Err(Error::Value {
                    key: format!("sidecar.limits.{name}.connection_window"),
                    value: connection.connection_window.to_string(),
                    expected: format!(
                        "at least {needed} (max_concurrent_streams × stream_window), or slow streams starve the others"
                    ),
                });
            }
        }
        Ok(())
    }
}

// === impl Http2 ===

impl Http2 {
    fn unset() -> Self {
        Self {
            max_concurrent_streams: None,
            stream_window: None,
            connection_window: None,
            header_list: None,
            header_count: None,
            pending_accept_resets: None,
            reset_memory: None,
            library_resets: None,
            send_buffer: None,
            kind: Kind::Mesh,
        }
    }

    fn edge() -> Self {
        Self {
            kind: Kind::Edge,
            ..Self::unset()
        }
    }

    fn mesh() -> Self {
        Self::unset()
    }

    fn local() -> Self {
        Self {
            kind: Kind::Local,
            ..Self::unset()
        }
    }

    fn connection(&self) -> Connection {
        let base = match self.kind {
            Kind::Edge => Connection::EDGE,
            Kind::Mesh => Connection::MESH,
            Kind::Local => Connection::LOCAL,
        };
        Connection {
            max_concurrent_streams: self
                .max_concurrent_streams
                .unwrap_or(base.max_concurrent_streams),
            stream_window: self.stream_window.unwrap_or(base.stream_window),
            connection_window: self.connection_window.unwrap_or(base.connection_window),
            header_list: self.header_list.unwrap_or(base.header_list),
            header_count: self.header_count.unwrap_or(base.header_count),
            pending_accept_resets: self
                .pending_accept_resets
                .unwrap_or(base.pending_accept_resets),
            reset_memory: self.reset_memory.unwrap_or(base.reset_memory),
            library_resets: self.library_resets.unwrap_or(base.library_resets),
            send_buffer: self.send_buffer.unwrap_or(base.send_buffer),
            ..base
        }
    }
}

// === impl Connection ===

impl Connection {
    pub const EDGE: Self = Self {
        max_concurrent_streams: 100,
        stream_window: 64 << 10,
        connection_window: 8 * MIB,
        header_list: 16 << 10,
        header_count: 100,
        pending_accept_resets: 100,
        reset_memory: 200,
        reset_duration: Duration::from_secs(5),
        library_resets: 1024,
        send_buffer: 64 << 10,
        small_frame_budget: None,
    };

    pub const MESH: Self = Self {
        max_concurrent_streams: 200,
        stream_window: 64 << 10,
        connection_window: 16 * MIB,
        header_list: 32 << 10,
        header_count: 128,
        pending_accept_resets: 512,
        reset_memory: 1024,
        reset_duration: Duration::from_secs(10),
        library_resets: 4096,
        send_buffer: 64 << 10,
        small_frame_budget: Some(usize::MAX / 2),
    };

    pub const LOCAL: Self = Self {
        max_concurrent_streams: 1000,
        connection_window: 64 * MIB,
        pending_accept_resets: 2048,
        reset_memory: 2048,
        ..Self::MESH
    };
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            application_timeout: Duration::from_millis(300),
            backoff_first: Duration::from_millis(100),
            backoff_longest: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            age: Duration::from_secs(1800),
            ping_interval: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(20),
            handshake: Duration::from_secs(5),
            preface: Duration::from_secs(5),
            header_block: Duration::from_secs(10),
            accepted: 4096,
        }
    }
}
