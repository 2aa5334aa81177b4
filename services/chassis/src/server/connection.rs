//! Connections: accept, serve HTTP/1.1 and h2c alike, drain. Every connection
//! is a task of this set; the drain tells each to finish, waits for the grace,
//! then cuts what is left and says how much that was.

use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Listener;
use crate::listener::Connection;

/// Streams at once on one connection.
const STREAMS: u32 = 1000;
const STREAM_WINDOW: u32 = 64 * 1024;
/// Streams times their window, or stalled ones would starve the others.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;
/// What the sidecar adds to 32 KiB of the caller's stays within this.
const HEADER_LIST: u32 = 40 * 1024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept (no descriptors left) the loop must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn serve(
    listener: Listener,
    router: Router,
    shutdown: &CancellationToken,
    grace: Duration,
) {
    let protocol = protocol();
    let draining = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(stream) => {
                    let served = serve_one(&protocol, &draining, stream, router.clone());
                    connections.spawn(served);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    tracing::info!(connections = draining.count(), "draining");
    if tokio::time::timeout(grace, draining.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(?grace, "calls in flight were cut: the grace is over");
    }
    connections.shutdown().await;
}

fn protocol() -> auto::Builder<TokioExecutor> {
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    protocol
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST)
        // The peer is our own sidecar: a burst of cancelled calls is its
        // callers' doing and must not end the connection all of them share.
        .max_pending_accept_reset_streams(STREAMS as usize)
        .max_local_error_reset_streams(None);
    protocol
}

fn serve_one(
    protocol: &auto::Builder<TokioExecutor>,
    draining: &GracefulShutdown,
    stream: Connection,
    router: Router,
) -> impl Future<Output = ()> + Send + 'static {
    let connection = protocol
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .into_owned();
    let connection = draining.watch(connection);
    async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "connection ended");
        }
    }
}
