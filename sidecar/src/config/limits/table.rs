//! Every bound of a listener and its connections: its name is its config key, the label of its metric and its row in the docs.

use super::Scope;

/// One bound.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub of: Of,
    /// Edge, mesh, local; 0 where it does not apply.
    pub defaults: [u32; 3],
    /// Towards our application it is so much more than from it: whatever passed the mesh must fit (see [`super::ADDED`]).
    pub more_towards_application: u32,
    pub unit: &'static str,
    pub about: &'static str,
    /// What happens one past it.
    pub effect: &'static str,
    pub(super) place: fn(&mut Connection) -> &mut u32,
}

/// What a row bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// What others open.
    Listener,
    /// Each connection, whoever opened it.
    Connection,
    /// What we do to reach others.
    Dials,
    /// What whoever is called is given to do.
    Callee,
}

/// The numbers of one scope.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    pub scope: Scope,
    pub connections: u32,
    pub connections_per_peer: u32,
    pub tls_handshakes_per_second: u32,
    pub tls_handshakes_at_once: u32,
    pub dials_per_second: u32,
    pub queued: u32,
    pub stranger_calls: u32,
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
    pub premature_resets: u32,
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
pub const ROWS: [Row; 26] = [
    Row {
        name: "connections",
        of: Of::Listener,
        defaults: [10_000, 4_096, 1_024],
        more_towards_application: 0,
        unit: "connections",
        about: "Connections open at once, over all threads.",
        effect: "nothing is accepted until one ends",
        place: |limits| &mut limits.connections,
    },
    Row {
        name: "connections_per_peer",
        of: Of::Listener,
        defaults: [200, 64, 4_096],
        more_towards_application: 0,
        unit: "connections",
        about: "The same of one peer: an address, in the mesh a SPIFFE id.",
        effect: "the new one is closed",
        place: |limits| &mut limits.connections_per_peer,
    },
    Row {
        name: "tls_handshakes_per_second",
        of: Of::Listener,
        defaults: [500, 500, 0],
        more_towards_application: 0,
        unit: "handshakes",
        about: "Handshakes that others begin in a second.",
        effect: "accepting waits",
        place: |limits| &mut limits.tls_handshakes_per_second,
    },
    Row {
        name: "tls_handshakes_at_once",
        of: Of::Listener,
        defaults: [256, 256, 0],
        more_towards_application: 0,
        unit: "handshakes",
        about: "Handshakes in progress.",
        effect: "accepting waits",
        place: |limits| &mut limits.tls_handshakes_at_once,
    },
    Row {
        name: "dials_per_second",
        of: Of::Dials,
        defaults: [0, 50, 0],
        more_towards_application: 0,
        unit: "connections",
        about: "Connections we begin in a second, over all endpoints.",
        effect: "the dial waits",
        place: |limits| &mut limits.dials_per_second,
    },
    Row {
        name: "queued",
        of: Of::Dials,
        defaults: [0, 1_024, 0],
        more_towards_application: 0,
        unit: "calls",
        about: "Calls of an upstream that wait for an instance, over all threads; a quarter more of connections that have been served before.",
        effect: "overloaded, told to come back in half a second",
        place: |limits| &mut limits.queued,
    },
    Row {
        name: "stranger_calls",
        of: Of::Callee,
        defaults: [0, 64, 64],
        more_towards_application: 0,
        unit: "calls",
        about: "Calls that an upstream, or our application, has of connections on which not ten calls were answered: each until it is answered, for 50 ms at most; of one data-plane thread.",
        effect: "the call waits",
        place: |limits| &mut limits.stranger_calls,
    },
    Row {
        name: "max_concurrent_streams",
        of: Of::Connection,
        defaults: [100, 200, 1_000],
        more_towards_application: 0,
        unit: "streams",
        about: "Streams open at once.",
        effect: "REFUSED_STREAM",
        place: |limits| &mut limits.max_concurrent_streams,
    },
    Row {
        name: "stream_window",
        of: Of::Connection,
        defaults: [16 << 10, 64 << 10, 64 << 10],
        more_towards_application: 0,
        unit: "bytes",
        about: "What a stream may send before credit comes back; also what one stream can make us hold.",
        effect: "flow control",
        place: |limits| &mut limits.stream_window,
    },
    Row {
        name: "known_stream_window",
        of: Of::Connection,
        defaults: [64 << 10, 64 << 10, 64 << 10],
        more_towards_application: 0,
        unit: "bytes",
        about: "The same once ten calls of the connection were answered.",
        effect: "flow control",
        place: |limits| &mut limits.known_stream_window,
    },
    Row {
        name: "connection_window",
        of: Of::Connection,
        defaults: [8 << 20, 16 << 20, 64 << 20],
        more_towards_application: 0,
        unit: "bytes",
        about: "What a connection may send before credit comes back. At least streams × stream window, or slow streams starve the others.",
        effect: "flow control",
        place: |limits| &mut limits.connection_window,
    },
    Row {
        name: "connection_buffered",
        of: Of::Connection,
        defaults: [1 << 20, 8 << 20, 16 << 20],
        more_towards_application: 0,
        unit: "bytes",
        about: "What may wait for those it is sent to.",
        effect: "reading pauses; if hardly any of it leaves in a second, the largest holders are reset",
        place: |limits| &mut limits.connection_buffered,
    },
    Row {
        name: "header_list",
        of: Of::Connection,
        defaults: [16 << 10, 36 << 10, 32 << 10],
        more_towards_application: 8 << 10,
        unit: "bytes",
        about: "A header list: name, value and 32 a field.",
        effect: "431 or RESOURCE_EXHAUSTED; past four times as much GOAWAY",
        place: |limits| &mut limits.header_list,
    },
    Row {
        name: "header_count",
        of: Of::Connection,
        defaults: [100, 136, 128],
        more_towards_application: 16,
        unit: "fields",
        about: "Fields of a header list.",
        effect: "431 or RESOURCE_EXHAUSTED",
        place: |limits| &mut limits.header_count,
    },
    Row {
        name: "continuation_frames",
        of: Of::Connection,
        defaults: [5, 5, 5],
        more_towards_application: 0,
        unit: "frames",
        about: "CONTINUATION of one block.",
        effect: "GOAWAY too_many_continuations",
        place: |limits| &mut limits.continuation_frames,
    },
    Row {
        name: "informational",
        of: Of::Connection,
        defaults: [8, 8, 8],
        more_towards_application: 0,
        unit: "heads",
        about: "1xx heads of one response.",
        effect: "the stream is reset, INTERNAL",
        place: |limits| &mut limits.informational,
    },
    Row {
        name: "pending_accept_resets",
        of: Of::Connection,
        defaults: [100, 512, 2_048],
        more_towards_application: 0,
        unit: "streams",
        about: "Streams opened and reset in one burst.",
        effect: "GOAWAY too_many_resets",
        place: |limits| &mut limits.pending_accept_resets,
    },
    Row {
        name: "premature_resets",
        of: Of::Connection,
        defaults: [500, 500, 500],
        more_towards_application: 0,
        unit: "streams",
        about: "Streams a connection may have had while more than half of them were reset within a second of their opening, by either side.",
        effect: "edge: GOAWAY too_many_premature_resets; mesh: half of the peer's calls are refused for a while; our application: counted",
        place: |limits| &mut limits.premature_resets,
    },
    Row {
        name: "library_resets",
        of: Of::Connection,
        defaults: [1_024, 4_096, 4_096],
        more_towards_application: 0,
        unit: "resets",
        about: "Resets that what came made us send. Except at the edge a connection is drained at an eighth of it, and at a quarter told its last stream without an answer.",
        effect: "GOAWAY too_many_internal_resets",
        place: |limits| &mut limits.library_resets,
    },
    Row {
        name: "reset_memory",
        of: Of::Connection,
        defaults: [200, 1_024, 2_048],
        more_towards_application: 0,
        unit: "streams",
        about: "Streams we reset whose late frames cost nothing.",
        effect: "late frames count as library_resets",
        place: |limits| &mut limits.reset_memory,
    },
    Row {
        name: "priority_frames",
        of: Of::Connection,
        defaults: [100, 1_000, 1_000],
        more_towards_application: 0,
        unit: "frames",
        about: "PRIORITY a stream.",
        effect: "GOAWAY too_many_priorities",
        place: |limits| &mut limits.priority_frames,
    },
    Row {
        name: "window_update_frames",
        of: Of::Connection,
        defaults: [1, 10, 10],
        more_towards_application: 0,
        unit: "times",
        about: "WINDOW_UPDATE: so many times 5 + 2 × (streams + 10 × DATA we sent).",
        effect: "GOAWAY too_many_window_updates",
        place: |limits| &mut limits.window_update_frames,
    },
    Row {
        name: "ping_frames",
        of: Of::Connection,
        defaults: [1, 10, 10],
        more_towards_application: 0,
        unit: "frames",
        about: "PING in ten seconds in which we sent neither HEADERS nor DATA.",
        effect: "GOAWAY too_many_pings, after two strikes",
        place: |limits| &mut limits.ping_frames,
    },
    Row {
        name: "settings_frames",
        of: Of::Connection,
        defaults: [100, 1_000, 1_000],
        more_towards_application: 0,
        unit: "frames",
        about: "SETTINGS and their acknowledgements.",
        effect: "GOAWAY too_many_settings",
        place: |limits| &mut limits.settings_frames,
    },
    Row {
        name: "unknown_frames",
        of: Of::Connection,
        defaults: [1_000, 10_000, 10_000],
        more_towards_application: 0,
        unit: "frames",
        about: "Frames of unknown kinds, GOAWAY, and answers to pings.",
        effect: "GOAWAY too_many_unknown_frames",
        place: |limits| &mut limits.unknown_frames,
    },
    Row {
        name: "empty_frames",
        of: Of::Connection,
        defaults: [100, 1_000, 1_000],
        more_towards_application: 0,
        unit: "frames",
        about: "DATA without a byte that does not end its stream.",
        effect: "GOAWAY too_many_data_frames",
        place: |limits| &mut limits.empty_frames,
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
            Scope::AppOut if self.of == Of::Callee => 0,
            Scope::AppIn if !matches!(self.of, Of::Connection | Of::Callee) => 0,
            Scope::AppOut => local,
            Scope::AppIn => local + self.more_towards_application,
        }
    }

    pub fn applies_to(&self, scope: Scope) -> bool {
        self.default_of(scope) > 0
    }
}

impl Connection {
    /// The defaults.
    pub fn new(scope: Scope) -> Self {
        let mut connection = Self {
            scope,
            connections: 0,
            connections_per_peer: 0,
            tls_handshakes_per_second: 0,
            tls_handshakes_at_once: 0,
            dials_per_second: 0,
            queued: 0,
            stranger_calls: 0,
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
            premature_resets: 0,
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
