//! The operators' view: the health port. Read only; it says nothing that a caller could use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::accept::bind::{Bound, Listener};
use crate::snapshot::Shared;

/// What is still missing.
mod readiness;

pub use readiness::Readiness;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A data-plane thread turns its counter every second; one that is silent for this long hangs.
const SILENT: Duration = Duration::from_secs(5);

/// What the health port reads.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) pulses: Arc<[AtomicU64]>,
    pub(crate) shared: Arc<Shared>,
}

/// The view and what was last seen of the threads.
#[derive(Clone)]
struct Seen {
    view: View,
    alive: watch::Receiver<bool>,
}

/// Serves until `stop`.
pub(crate) async fn serve(socket: Bound, view: View, stop: CancellationToken) {
    let listener = match socket.listen() {
        Ok(Listener::Tcp(listener)) => listener,
        Ok(Listener::Unix(_)) => return tracing::error!("the health port is a TCP port"),
        Err(err) => return tracing::error!(error = %err, "the health port cannot be served"),
    };
    let (sender, alive) = watch::channel(true);
    let watching = watch_pulses(Arc::clone(&view.pulses), sender);
    let router = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/ready/outbound", get(ready_outbound))
        .route("/metrics", get(metrics))
        .route("/snapshot", get(snapshot))
        .with_state(Seen { view, alive });
    let stopped = stop.clone();
    let serving = axum::serve(listener, router)
        .with_graceful_shutdown(async move { stopped.cancelled().await })
        .into_future();
    let bounded = async {
        stop.cancelled().await;
        // A scraper that keeps its connection open must not keep us.
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    tokio::select! {
        served = serving => if let Err(err) = served {
            tracing::error!(error = %err, "the health port ended");
        },
        () = watching => {}
        () = bounded => {}
    }
}

async fn watch_pulses(pulses: Arc<[AtomicU64]>, alive: watch::Sender<bool>) {
    let mut last: Vec<(u64, Instant)> = pulses.iter().map(|_| (0, Instant::now())).collect();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for (pulse, seen) in pulses.iter().zip(&mut last) {
            let count = pulse.load(Ordering::Relaxed);
            if count != seen.0 {
                *seen = (count, Instant::now());
            }
        }
        alive.send_replace(last.iter().all(|(_, at)| at.elapsed() < SILENT));
    }
}

async fn live(State(seen): State<Seen>) -> StatusCode {
    if *seen.alive.borrow() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

async fn ready(State(seen): State<Seen>) -> Response {
    let missing = seen.view.readiness.missing();
    answer(&seen.view.readiness, &missing)
}

async fn ready_outbound(State(seen): State<Seen>) -> Response {
    let missing = seen.view.readiness.missing_outbound();
    answer(&seen.view.readiness, &missing)
}

fn answer(readiness: &Readiness, missing: &[&str]) -> Response {
    let status = if missing.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(json!({"ready": missing.is_empty(), "waiting_for": missing, "since_s": readiness.since().as_secs()}))).into_response()
}

async fn metrics(State(seen): State<Seen>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &seen.view.registry) {
        Ok(()) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Services, endpoints with their state, and how old every watch is.
async fn snapshot(State(seen): State<Seen>) -> Response {
    let shared = &seen.view.shared;
    let ages = shared
        .ages
        .read(Instant::now())
        .into_iter()
        .map(|(watch, age)| (watch, json!(age.as_secs_f64())))
        .collect::<serde_json::Map<_, _>>();
    let upstreams = shared
        .upstreams
        .keys()
        .map(|name| json!(name))
        .collect::<Vec<_>>();
    Json(json!({"service": shared.service, "upstreams": upstreams, "ages_s": ages})).into_response()
}
