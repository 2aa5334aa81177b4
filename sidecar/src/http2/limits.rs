//! Our limits as the connection's.

use super::connection::Config;
use super::hpack::Bounds;
use super::meter::Tolerance;
use crate::config::{Connection, Scope};

pub(super) fn config(limits: &Connection) -> Config {
    Config {
        stream_window: limits.stream_window,
        connection_window: limits.connection_window,
        max_concurrent_streams: limits.max_concurrent_streams,
        header_list: Bounds {
            bytes: limits.header_list as usize,
            count: limits.header_count as usize,
        },
        reset_memory: limits.reset_memory as usize,
        asks_before_resets: limits.scope == Scope::AppIn,
        tolerance: Tolerance {
            continuation_frames: limits.continuation_frames,
            informational: limits.informational,
            pending_accept_resets: limits.pending_accept_resets,
            premature_resets: limits.premature_resets,
            library_resets: limits.library_resets,
            priority_frames: limits.priority_frames,
            window_update_frames: limits.window_update_frames,
            ping_frames: limits.ping_frames,
            settings_frames: limits.settings_frames,
            unknown_frames: limits.unknown_frames,
            empty_frames: limits.empty_frames,
            ends_premature_resets: limits.is_strange(),
        },
    }
}
