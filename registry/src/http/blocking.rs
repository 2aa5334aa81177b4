//! Blocking reads, once for every family: evaluate, and if the answer is no newer than the client's, wait for what
//! it depends on.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use rand::RngExt as _;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::call::{Call, ReadOptions};
use crate::error::Refusal;
use crate::limit::Limits;
use crate::state::State;
use crate::watch::Topic;

/// One evaluation of a read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) index: u64,
    pub(super) topics: Vec<Topic>,
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    pub(super) content_type: &'static str,
    /// Unrelated writes that move the index do not end the wait while the content stays the same.
    pub(super) suppress: bool,
}

impl Found {
    pub(super) fn json(index: u64, topics: Vec<Topic>, body: Bytes) -> Self {
        Self {
            index,
            topics,
            status: StatusCode::OK,
            body,
            content_type: "application/json",
            suppress: false,
        }
    }

    /// Absent, which is an answer that can be waited on.
    pub(super) fn absent(index: u64, topics: Vec<Topic>, message: String) -> Self {
        Self {
            index,
            topics,
            status: StatusCode::NOT_FOUND,
            body: message.into(),
            content_type: "text/plain; charset=utf-8",
            suppress: true,
        }
    }

    pub(super) fn suppressing(mut self) -> Self {
        self.suppress = true;
        self
    }
}

/// How long a read waits: the default, bounded, plus up to a sixteenth so that a fleet does not return at once.
fn wait(limits: &Limits, asked: Option<Duration>) -> Duration {
    let wait = asked.map_or(limits.wait_default, |wait| wait.min(limits.wait_max));
    wait + (wait / u32::try_from(limits.wait_jitter).unwrap_or(u32::MAX))
        .mul_f64(rand::rng().random())
}

/// The deadline of a read that starts now.
pub(super) fn deadline(shared: &Shared, options: &ReadOptions) -> Instant {
    let limits = &shared.config.limits;
    if options.wait.is_some_and(|wait| wait > limits.wait_max) {
        shared.hits.count("wait_max");
    }
    Instant::now() + wait(limits, options.wait)
}

pub(super) async fn answer(
    shared: &Arc<Shared>,
    call: &Call,
    evaluate: impl Fn(&State) -> Result<Found, Refusal>,
) -> Result<Response, Refusal> {
    let options = call.read_options()?;
    let found = until_newer(shared, call, &options, evaluate).await?;
    let mut response = (found.status, found.body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(found.content_type));
    index_headers(headers, found.index, &options);
    Ok(response)
}

/// Evaluates until the index passes the client's, the wait is over or the registry stops.
async fn until_newer(
    shared: &Arc<Shared>,
    call: &Call,
    options: &ReadOptions,
    evaluate: impl Fn(&State) -> Result<Found, Refusal>,
) -> Result<Found, Refusal> {
    let mut state = shared.store.state();
    let mut found = evaluate(&state)?;
    if options.index == 0 || found.index > options.index {
        return Ok(found);
    }
    let deadline = deadline(shared, options);
    let _held = park(shared, call)?;
    let mut least = options.index;
    loop {
        let subscription = shared.store.subscribe(found.topics.clone());
        let latest = shared.store.state();
        let over = if Arc::ptr_eq(&latest, &state) {
            tokio::select! {
                () = subscription.woken() => false,
                () = sleep_until(deadline) => true,
                () = shared.stopping.cancelled() => true,
            }
        } else {
            // Something was committed between the evaluation and the subscription.
            false
        };
        state = shared.store.state();
        let next = evaluate(&state)?;
        let unchanged = next.suppress && next.status == found.status && next.body == found.body;
        if unchanged {
            least = least.max(next.index);
        }
        found = next;
        if over || found.index > least {
            return Ok(found);
        }
    }
}

/// Counts a parked read against its client's bound.
pub(super) fn park(shared: &Shared, call: &Call) -> Result<super::client_count::Held, Refusal> {
    shared.watches.take(call.client).map_err(|limit| {
        let text = "too many blocking queries from this address";
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, text).past(limit)
    })
}

pub(super) fn index_headers(headers: &mut HeaderMap, index: u64, options: &ReadOptions) {
    headers.insert("x-consul-index", HeaderValue::from(index.max(1)));
    headers.insert("x-consul-knownleader", HeaderValue::from_static("true"));
    headers.insert("x-consul-lastcontact", HeaderValue::from_static("0"));
    headers.insert(
        "x-consul-effective-consistency",
        HeaderValue::from_static(options.consistency),
    );
    headers.insert(
        "x-consul-query-backend",
        HeaderValue::from_static("blocking-query"),
    );
    if options.cached {
        headers.insert("x-cache", HeaderValue::from_static("MISS"));
    }
}
