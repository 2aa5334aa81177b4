//! Every bound of an HTTP/2 connection: its name is its config key, the label of its metric and its row in the docs.

use super::Scope;

/// One bound.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    /// Edge, mesh, local.
    pub defaults: [u32; 3],
    pub unit: &'static str,
    pub about: &'static str,
    /// What happens one past it.
    pub effect: &'static str,
    pub(super) place: fn(&mut Connection) -> &mut u32,
}

/// The numbers of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    pub scope: Scope,
    pub max_concurrent_streams: u32,
    pub stream_window: u32,
    pub known_stream_window: u32,
    pub connection_window: u32,
    pub connection_buffered: u32,
    pub header_list: u32,
    pub header_count: u32,
    pub continuation_frames: u32,
    pub informational: u32,
    pub pending_accept_resets: u32,
    pub library_resets: u32,
    pub reset_memory: u32,
    pub priority_frames: u32,
    pub window_update_frames: u32,
    pub ping_frames: u32,
    pub settings_frames: u32,
    pub unknown_frames: u32,
    pub empty_frames: u32,
}

/// In the order of the docs.
pub const ROWS: [Row; 18] = [
    Row {
        name: "max_concurrent_streams",
        defaults: [100, 200, 1_000],
        unit: "streams",
        about: "Streams open at once.",
        effect: "REFUSED_STREAM",
        place: |connection| &mut connection.max_concurrent_streams,
    },
    Row {
        name: "stream_window",
        defaults: [16 << 10, 64 << 10, 64 << 10],
        unit: "bytes",
        about: "What a stream may send before credit comes back; also what one stream can make us hold.",
        effect: "flow control",
        place: |connection| &mut connection.stream_window,
    },
    Row {
        name: "known_stream_window",
        defaults: [64 << 10, 64 << 10, 64 << 10],
        unit: "bytes",
        about: "The same once the connection has had ten calls.",
        effect: "flow control",
        place: |connection| &mut connection.known_stream_window,
    },
    Row {
        name: "connection_window",
        defaults: [8 << 20, 16 << 20, 64 << 20],
        unit: "bytes",
        about: "What a connection may send before credit comes back. At least streams × stream window, or slow streams starve the others.",
        effect: "flow control",
        place: |connection| &mut connection.connection_window,
    },
    Row {
        name: "connection_buffered",
        defaults: [1 << 20, 8 << 20, 16 << 20],
        unit: "bytes",
        about: "What may wait for those it is sent to.",
        effect: "the largest holder is reset",
        place: |connection| &mut connection.connection_buffered,
    },
    Row {
        name: "header_list",
        defaults: [16 << 10, 32 << 10, 32 << 10],
        unit: "bytes",
        about: "A header list: name, value and 32 a field.",
        effect: "431 or RESOURCE_EXHAUSTED; past four times as much GOAWAY",
        place: |connection| &mut connection.header_list,
    },
    Row {
        name: "header_count",
        defaults: [100, 128, 128],
        unit: "fields",
        about: "Fields of a header list.",
        effect: "431 or RESOURCE_EXHAUSTED",
        place: |connection| &mut connection.header_count,
    },
    Row {
        name: "continuation_frames",
        defaults: [5, 5, 5],
        unit: "frames",
        about: "CONTINUATION of one block.",
        effect: "GOAWAY too_many_continuations",
        place: |connection| &mut connection.continuation_frames,
    },
    Row {
        name: "informational",
        defaults: [8, 8, 8],
        unit: "heads",
        about: "1xx heads of one response.",
        effect: "the stream is reset, INTERNAL",
        place: |connection| &mut connection.informational,
    },
    Row {
        name: "pending_accept_resets",
        defaults: [100, 512, 2_048],
        unit: "streams",
        about: "Streams opened and reset in one burst.",
        effect: "GOAWAY too_many_resets",
        place: |connection| &mut connection.pending_accept_resets,
    },
    Row {
        name: "library_resets",
        defaults: [1_024, 4_096, 4_096],
        unit: "resets",
        about: "Resets that what came made us send. Except at the edge a connection is drained at an eighth of it.",
        effect: "GOAWAY too_many_internal_resets",
        place: |connection| &mut connection.library_resets,
    },
    Row {
        name: "reset_memory",
        defaults: [200, 1_024, 2_048],
        unit: "streams",
        about: "Streams we reset whose late frames cost nothing.",
        effect: "late frames count as library_resets",
        place: |connection| &mut connection.reset_memory,
    },
    Row {
        name: "priority_frames",
        defaults: [100, 1_000, 1_000],
        unit: "frames",
        about: "PRIORITY a stream.",
        effect: "GOAWAY too_many_priorities",
        place: |connection| &mut connection.priority_frames,
    },
    Row {
        name: "window_update_frames",
        defaults: [1, 10, 10],
        unit: "times",
        about: "WINDOW_UPDATE: so many times 5 + 2 × (streams + 10 × DATA we sent).",
        effect: "GOAWAY too_many_window_updates",
        place: |connection| &mut connection.window_update_frames,
    },
    Row {
        name: "ping_frames",
        defaults: [1, 10, 10],
        unit: "frames",
        about: "PING in ten seconds in which we sent neither HEADERS nor DATA.",
        effect: "GOAWAY too_many_pings, after two strikes",
        place: |connection| &mut connection.ping_frames,
    },
    Row {
        name: "settings_frames",
        defaults: [100, 1_000, 1_000],
        unit: "frames",
        about: "SETTINGS and their acknowledgements.",
        effect: "GOAWAY too_many_settings",
        place: |connection| &mut connection.settings_frames,
    },
    Row {
        name: "unknown_frames",
        defaults: [1_000, 10_000, 10_000],
        unit: "frames",
        about: "Frames of unknown kinds.",
        effect: "GOAWAY too_many_unknown_frames",
        place: |connection| &mut connection.unknown_frames,
    },
    Row {
        name: "empty_frames",
        defaults: [100, 1_000, 1_000],
        unit: "frames",
        about: "DATA without a byte that does not end its stream.",
        effect: "GOAWAY too_many_data_frames",
        place: |connection| &mut connection.empty_frames,
    },
];

impl Row {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.name == name)
    }

    pub fn default_of(&self, scope: Scope) -> u32 {
        let [edge, mesh, local] = self.defaults;
        match scope {
            Scope::Edge => edge,
            Scope::Mesh => mesh,
            Scope::Local => local,
        }
    }
}

impl Connection {
    /// The defaults.
    pub fn new(scope: Scope) -> Self {
        let mut connection = Self {
            scope,
            max_concurrent_streams: 0,
            stream_window: 0,
            known_stream_window: 0,
            connection_window: 0,
            connection_buffered: 0,
            header_list: 0,
            header_count: 0,
            continuation_frames: 0,
            informational: 0,
            pending_accept_resets: 0,
            library_resets: 0,
            reset_memory: 0,
            priority_frames: 0,
            window_update_frames: 0,
            ping_frames: 0,
            settings_frames: 0,
            unknown_frames: 0,
            empty_frames: 0,
        };
        for row in &ROWS {
            *(row.place)(&mut connection) = row.default_of(scope);
        }
        connection
    }

    /// A bound by its row.
    pub fn value(mut self, row: &Row) -> u32 {
        *(row.place)(&mut self)
    }

    /// The peer is a stranger: a connection that is used against us ends.
    pub fn is_strange(&self) -> bool {
        self.scope == Scope::Edge
    }

    /// Library resets at which a connection is drained and replaced, long before it would have to end.
    pub fn drains_at(&self) -> Option<u32> {
        (!self.is_strange()).then(|| (self.library_resets / 8).max(1))
    }
}
