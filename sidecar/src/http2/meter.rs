//! What a peer may repeat before its connection ends (RFC 9113, 10.5): frames that cost us more than they cost their sender.
//! Counters and their rules, no I/O.

use std::time::Duration;

use tokio::time::Instant;

/// A bound that a peer met. Its name is the config key and the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    MaxConcurrentStreams,
    HeaderList,
    HeaderCount,
    ContinuationFrames,
    Informational,
    PendingAcceptResets,
    PrematureResets,
    LibraryResets,
    PriorityFrames,
    WindowUpdateFrames,
    PingFrames,
    SettingsFrames,
    UnknownFrames,
    EmptyFrames,
    ConnectionBuffered,
    Preface,
    ProtocolDetection,
    HeaderBlock,
    ConnectionIdle,
    StreamProgress,
    RequestBody,
    Connections,
    ConnectionsPerPeer,
    TlsHandshakesPerSecond,
    TlsHandshakesAtOnce,
    DialsPerSecond,
    Queued,
    StrangerCalls,
    MemoryGuard,
    HeaderMemory,
    BufferedBytes,
    AccessLog,
}

impl Limit {
    pub const ALL: [Self; 32] = [
        Self::MaxConcurrentStreams,
        Self::HeaderList,
        Self::HeaderCount,
        Self::ContinuationFrames,
        Self::Informational,
        Self::PendingAcceptResets,
        Self::PrematureResets,
        Self::LibraryResets,
        Self::PriorityFrames,
        Self::WindowUpdateFrames,
        Self::PingFrames,
        Self::SettingsFrames,
        Self::UnknownFrames,
        Self::EmptyFrames,
        Self::ConnectionBuffered,
        Self::Preface,
        Self::ProtocolDetection,
        Self::HeaderBlock,
        Self::ConnectionIdle,
        Self::StreamProgress,
        Self::RequestBody,
        Self::Connections,
        Self::ConnectionsPerPeer,
        Self::TlsHandshakesPerSecond,
        Self::TlsHandshakesAtOnce,
        Self::DialsPerSecond,
        Self::Queued,
        Self::StrangerCalls,
        Self::MemoryGuard,
        Self::HeaderMemory,
        Self::BufferedBytes,
        Self::AccessLog,
    ];

    /// Those of the process, whoever is at the other end.
    pub const OF_PROCESS: [Self; 4] = [
        Self::MemoryGuard,
        Self::HeaderMemory,
        Self::BufferedBytes,
        Self::AccessLog,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::MaxConcurrentStreams => "max_concurrent_streams",
            Self::HeaderList => "header_list",
            Self::HeaderCount => "header_count",
            Self::ContinuationFrames => "continuation_frames",
            Self::Informational => "informational",
            Self::PendingAcceptResets => "pending_accept_resets",
            Self::PrematureResets => "premature_resets",
            Self::LibraryResets => "library_resets",
            Self::PriorityFrames => "priority_frames",
            Self::WindowUpdateFrames => "window_update_frames",
            Self::PingFrames => "ping_frames",
            Self::SettingsFrames => "settings_frames",
            Self::UnknownFrames => "unknown_frames",
            Self::EmptyFrames => "empty_frames",
            Self::ConnectionBuffered => "connection_buffered",
            Self::Preface => "preface",
            Self::ProtocolDetection => "protocol_detection",
            Self::HeaderBlock => "header_block",
            Self::ConnectionIdle => "connection_idle",
            Self::StreamProgress => "stream_progress",
            Self::RequestBody => "request_body",
            Self::Connections => "connections",
            Self::ConnectionsPerPeer => "connections_per_peer",
            Self::TlsHandshakesPerSecond => "tls_handshakes_per_second",
            Self::TlsHandshakesAtOnce => "tls_handshakes_at_once",
            Self::DialsPerSecond => "dials_per_second",
            Self::Queued => "queued",
            Self::StrangerCalls => "stranger_calls",
            Self::MemoryGuard => "memory_guard",
            Self::HeaderMemory => "header_memory",
            Self::BufferedBytes => "buffered_bytes",
            Self::AccessLog => "access_log",
        }
    }

    /// What GOAWAY says of it. Where the `h2` crate has words for the same, they are these.
    pub fn debug(self) -> &'static str {
        match self {
            Self::MaxConcurrentStreams => "too_many_streams",
            Self::HeaderList => "header_list_way_too_large",
            Self::HeaderCount => "too_many_headers",
            Self::ContinuationFrames => "too_many_continuations",
            Self::Informational => "too_many_informational",
            Self::PendingAcceptResets => "too_many_resets",
            Self::PrematureResets => "too_many_premature_resets",
            Self::LibraryResets => "too_many_internal_resets",
            Self::PriorityFrames => "too_many_priorities",
            Self::WindowUpdateFrames => "too_many_window_updates",
            Self::PingFrames => "too_many_pings",
            Self::SettingsFrames => "too_many_settings",
            Self::UnknownFrames => "too_many_unknown_frames",
            Self::EmptyFrames => "too_many_data_frames",
            Self::ConnectionBuffered => "too_much_buffered",
            Self::Preface => "no_preface_in_time",
            Self::ProtocolDetection => "nothing_said_in_time",
            Self::HeaderBlock => "no_end_of_headers_in_time",
            Self::ConnectionIdle => "idle",
            Self::StreamProgress => "no_progress",
            Self::RequestBody => "request_too_slow",
            Self::Connections => "too_many_connections",
            Self::ConnectionsPerPeer => "too_many_connections_of_peer",
            Self::TlsHandshakesPerSecond => "too_many_handshakes",
            Self::TlsHandshakesAtOnce => "too_many_handshakes_at_once",
            Self::DialsPerSecond => "too_many_dials",
            Self::Queued => "too_many_queued",
            Self::StrangerCalls => "too_many_calls_of_strangers",
            Self::MemoryGuard => "short_of_memory",
            Self::HeaderMemory => "too_many_headers_held",
            Self::BufferedBytes => "too_many_bytes_held",
            Self::AccessLog => "too_many_lines",
        }
    }
}

/// How much of each is taken. Counts are of one connection, over its life unless said.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// CONTINUATION of one block.
    pub continuation_frames: u32,
    /// 1xx heads of one response.
    pub informational: u32,
    /// Streams opened and reset before any of them could begin.
    pub pending_accept_resets: u32,
    /// So many streams are looked at before their resets say something.
    pub premature_resets: u32,
    /// Resets that we had to make because of what came.
    pub library_resets: u32,
    /// A stream.
    pub priority_frames: u32,
    /// A stream, and ten times as many for each DATA frame we sent.
    pub window_update_frames: u32,
    /// In ten seconds in which we sent neither HEADERS nor DATA.
    pub ping_frames: u32,
    pub settings_frames: u32,
    pub unknown_frames: u32,
    /// DATA without a byte that does not end its stream.
    pub empty_frames: u32,
    /// A connection most of whose streams are reset within a second of their opening is ended; else it is told only.
    pub ends_premature_resets: bool,
}

const PREMATURE: Duration = Duration::from_secs(1);
const PING_WINDOW: Duration = Duration::from_secs(10);
/// Windows of pings past the bound that are forgiven.
const PING_STRIKES: u32 = 2;

/// The counters of one connection.
#[derive(Debug)]
pub struct Meter {
    tolerance: Tolerance,
    streams: u64,
    data_sent: u64,
    continuations: u32,
    reset_at_once: u32,
    premature: u64,
    is_premature_told: bool,
    library_resets: u32,
    priorities: u64,
    window_updates: u64,
    pings: Pings,
    settings: u32,
    unknown: u32,
    empty: u32,
}

#[derive(Debug, Default)]
struct Pings {
    since: Option<Instant>,
    count: u32,
    strikes: u32,
}

type Counted = Result<(), Limit>;

fn within(count: impl Into<u64>, most: impl Into<u64>, limit: Limit) -> Counted {
    match count.into() > most.into() {
        true => Err(limit),
        false => Ok(()),
    }
}

impl Meter {
    pub fn new(tolerance: Tolerance) -> Self {
        Self {
            tolerance,
            streams: 0,
            data_sent: 0,
            continuations: 0,
            reset_at_once: 0,
            premature: 0,
            is_premature_told: false,
            library_resets: 0,
            priorities: 0,
            window_updates: 0,
            pings: Pings::default(),
            settings: 0,
            unknown: 0,
            empty: 0,
        }
    }

    /// A turn begins: what came before it has been looked at.
    pub fn begin_turn(&mut self) {
        self.reset_at_once = 0;
    }

    pub fn stream_opened(&mut self) {
        self.streams += 1;
    }

    /// We sent HEADERS.
    pub fn headers_sent(&mut self) {
        self.pings = Pings::default();
    }

    /// We sent DATA.
    pub fn data_sent(&mut self) {
        self.data_sent += 1;
        self.pings = Pings::default();
    }

    pub fn block_begins(&mut self) {
        self.continuations = 0;
    }

    pub fn continuation(&mut self) -> Counted {
        self.continuations += 1;
        let most = self.tolerance.continuation_frames;
        within(self.continuations, most, Limit::ContinuationFrames)
    }

    /// `count`: 1xx heads of this response so far.
    pub fn informational(&self, count: u32) -> Counted {
        within(count, self.tolerance.informational, Limit::Informational)
    }

    /// The peer reset a stream that nobody had looked at.
    pub fn reset_before_begun(&mut self) -> Counted {
        self.reset_at_once += 1;
        let most = self.tolerance.pending_accept_resets;
        within(self.reset_at_once, most, Limit::PendingAcceptResets)
    }

    /// A stream was reset, by either side. `Ok(true)`: most of this peer's streams end so, for the first time.
    pub fn reset(&mut self, opened: Instant, now: Instant) -> Result<bool, Limit> {
        if now.saturating_duration_since(opened) >= PREMATURE {
            return Ok(false);
        }
        self.premature += 1;
        let seen = u64::from(self.tolerance.premature_resets);
        let is_attack = self.streams > seen && self.premature * 2 > self.streams;
        match is_attack {
            true if self.tolerance.ends_premature_resets => Err(Limit::PrematureResets),
            true => Ok(!std::mem::replace(&mut self.is_premature_told, true)),
            false => Ok(false),
        }
    }

    /// We reset a stream because of what came.
    pub fn library_reset(&mut self) -> Counted {
        self.library_resets += 1;
        let most = self.tolerance.library_resets;
        within(self.library_resets, most, Limit::LibraryResets)
    }

    /// Resets of that kind so far.
    pub fn library_resets(&self) -> u32 {
        self.library_resets
    }

    pub fn priority(&mut self) -> Counted {
        self.priorities += 1;
        let most = u64::from(self.tolerance.priority_frames) * (1 + self.streams);
        within(self.priorities, most, Limit::PriorityFrames)
    }

    pub fn window_update(&mut self) -> Counted {
        self.window_updates += 1;
        let factor = u64::from(self.tolerance.window_update_frames);
        let most = factor * (5 + 2 * (self.streams + 10 * self.data_sent));
        within(self.window_updates, most, Limit::WindowUpdateFrames)
    }

    pub fn ping(&mut self, now: Instant) -> Counted {
        let pings = &mut self.pings;
        let since = *pings.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= PING_WINDOW {
            (pings.since, pings.count) = (Some(now), 0);
        }
        pings.count += 1;
        if pings.count > self.tolerance.ping_frames {
            pings.strikes += 1;
        }
        within(pings.strikes, PING_STRIKES, Limit::PingFrames)
    }

    pub fn settings(&mut self) -> Counted {
        self.settings += 1;
        let most = self.tolerance.settings_frames;
        within(self.settings, most, Limit::SettingsFrames)
    }

    pub fn unknown(&mut self) -> Counted {
        self.unknown += 1;
        within(
            self.unknown,
            self.tolerance.unknown_frames,
            Limit::UnknownFrames,
        )
    }

    pub fn empty(&mut self) -> Counted {
        self.empty += 1;
        within(self.empty, self.tolerance.empty_frames, Limit::EmptyFrames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Tolerance = Tolerance {
        continuation_frames: 5,
        informational: 8,
        pending_accept_resets: 100,
        premature_resets: 500,
        library_resets: 1024,
        priority_frames: 100,
        window_update_frames: 1,
        ping_frames: 1,
        settings_frames: 100,
        unknown_frames: 1000,
        empty_frames: 100,
        ends_premature_resets: true,
    };

    /// How often `step` goes well.
    fn taken(meter: &mut Meter, mut step: impl FnMut(&mut Meter) -> Counted) -> u32 {
        (0..).find(|_| step(meter).is_err()).unwrap()
    }

    #[test]
    fn each_frame_is_taken_up_to_its_bound_and_not_once_more() {
        let meter = || Meter::new(STRICT);
        assert_eq!(taken(&mut meter(), Meter::continuation), 5);
        assert_eq!(taken(&mut meter(), Meter::reset_before_begun), 100);
        assert_eq!(taken(&mut meter(), Meter::library_reset), 1024);
        assert_eq!(taken(&mut meter(), Meter::settings), 100);
        assert_eq!(taken(&mut meter(), Meter::unknown), 1000);
        assert_eq!(taken(&mut meter(), Meter::empty), 100);
        assert_eq!(taken(&mut meter(), Meter::priority), 100);
        assert_eq!(taken(&mut meter(), Meter::window_update), 5);
    }

    #[test]
    fn streams_and_data_earn_more_of_what_belongs_to_them() {
        let mut meter = Meter::new(STRICT);
        meter.stream_opened();
        meter.data_sent();
        assert_eq!(taken(&mut meter, Meter::priority), 200);
        assert_eq!(taken(&mut meter, Meter::window_update), 27);
    }

    #[test]
    fn a_block_and_a_turn_begin_anew() {
        let mut meter = Meter::new(STRICT);
        assert_eq!(taken(&mut meter, Meter::continuation), 5);
        meter.block_begins();
        assert_eq!(taken(&mut meter, Meter::continuation), 5);
        assert_eq!(taken(&mut meter, Meter::reset_before_begun), 100);
        meter.begin_turn();
        assert_eq!(taken(&mut meter, Meter::reset_before_begun), 100);
    }

    #[test]
    fn pings_count_while_nothing_else_is_sent() {
        let start = Instant::now();
        let mut meter = Meter::new(STRICT);
        // The first is free, two strikes are forgiven.
        assert_eq!(taken(&mut meter, |meter| meter.ping(start)), 3);
        meter.data_sent();
        assert_eq!(taken(&mut meter, |meter| meter.ping(start)), 3);
        let mut meter = Meter::new(STRICT);
        for window in 0..20 {
            meter
                .ping(start + PING_WINDOW * window)
                .expect("one a window");
        }
    }

    #[test]
    fn a_peer_most_of_whose_streams_are_reset_early_is_found_out() {
        let start = Instant::now();
        let run = |tolerance: Tolerance, late: Duration, every: u64| {
            let mut meter = Meter::new(tolerance);
            (0..2000_u64).find_map(|number| {
                meter.stream_opened();
                if number % every != 0 {
                    return None;
                }
                match meter.reset(start, start + late) {
                    Ok(false) => None,
                    told => Some((number, told)),
                }
            })
        };
        let at_once = Duration::from_millis(20);
        assert_eq!(
            run(STRICT, at_once, 1),
            Some((500, Err(Limit::PrematureResets)))
        );
        assert_eq!(run(STRICT, PREMATURE, 1), None);
        assert_eq!(run(STRICT, at_once, 3), None);
        let told = Tolerance {
            ends_premature_resets: false,
            ..STRICT
        };
        assert_eq!(run(told, at_once, 1), Some((500, Ok(true))));
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> =
            Limit::ALL.iter().map(|limit| limit.name()).collect();
        assert_eq!(names.len(), Limit::ALL.len());
    }
}
