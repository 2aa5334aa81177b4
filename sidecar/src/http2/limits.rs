//! Our limits as settings of the library. Its own defaults suit a server at the end of the line, not a proxy in the middle: a slow reader
//! or a burst of cancelled calls would end a shared connection.

use crate::config::Connection;

/// Calls sent to a new connection before the peer said how many it takes.
pub(super) const BEFORE_SETTINGS: usize = 100;

pub(super) fn server(limits: &Connection) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.max_concurrent_streams)
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_header_list_size(limits.header_list)
        .max_send_buffer_size(limits.send_buffer)
        .max_pending_accept_reset_streams(limits.pending_accept_resets)
        .max_concurrent_reset_streams(limits.reset_memory)
        .reset_stream_duration(limits.reset_duration)
        .max_local_error_reset_streams(Some(limits.library_resets));
    if let Some(budget) = limits.small_frame_budget {
        builder.data_frame_budget(budget);
    }
    builder
}

pub(super) fn client(limits: &Connection) -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_max_send_streams(BEFORE_SETTINGS)
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_header_list_size(limits.header_list)
        .max_send_buffer_size(limits.send_buffer)
        .max_concurrent_reset_streams(limits.reset_memory)
        .reset_stream_duration(limits.reset_duration)
        .max_local_error_reset_streams(Some(limits.library_resets))
        .enable_push(false);
    if let Some(budget) = limits.small_frame_budget {
        builder.data_frame_budget(budget);
    }
    builder
}
