//! Once, or again: the stage that repeats a failed attempt where that is safe.
//!
//! Keeps the request (up to a bound) until something of a response was released to the caller, holds a response's headers as long as its
//! kind allows, judges how each attempt ended and asks `safety::may_retry`. Counts decisions; never repeats what may have run without
//! the contract's promise.

pub mod budget;

pub mod buffer;

pub mod hold;

pub mod safety;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use outrigger_consul::config::router::RouteDestination;
use rand::RngExt;
use tokio::time::{Instant, sleep};
use tower::layer::layer_fn;
use tower_layer::Layer;

use crate::contract::{Class, Kind as MethodKind};
use crate::error::{Error, Kind};
use crate::grpc::metadata::{self, PREVIOUS_ATTEMPTS};
use crate::observe;
use crate::outcome::consumer::Condition;
use crate::outcome::judge::Judge;
use crate::snapshot::{Shared, Upstream};
use crate::stack::{Call, Parts, Protocol, Reply, Stage};
use buffer::Source;
use hold::Held;
use safety::{Decision, Facts, may_retry};

/// A pick whose connection ended before the call left is undone this often at most.
const MAX_UNDONE: u32 = 64;

/// Until a method's median is known.
const MEDIAN: Duration = Duration::from_millis(1);

/// How often, when, and with what memory a call is repeated.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Counted repeats after the first attempt.
    pub max: u32,
    pub on: Vec<Condition>,
    pub base: Duration,
    pub cap: Duration,
    /// Request bytes kept for a repeat.
    pub buffer: usize,
}

#[derive(Debug)]
pub struct Attempt<S> {
    shared: Arc<Shared>,
    upstream: Arc<Upstream>,
    policy: Policy,
    inner: Rc<S>,
}

/// What is known of a call's repeats so far.
#[derive(Debug, Default)]
struct Progress {
    repeats: u32,
    transparent_used: bool,
    undone: u32,
}

pub fn layer<S>(
    shared: &Arc<Shared>,
    upstream: &Arc<Upstream>,
    policy: &Policy,
) -> impl Layer<S, Service = Attempt<S>> + Clone {
    let (shared, upstream, policy) = (shared.clone(), upstream.clone(), policy.clone());
    layer_fn(move |inner| Attempt {
        shared: shared.clone(),
        upstream: upstream.clone(),
        policy: policy.clone(),
        inner: Rc::new(inner),
    })
}

// === impl Policy ===

impl Default for Policy {
    fn default() -> Self {
        let on = vec![
            Condition::Unavailable,
            Condition::Transport,
            Condition::Pushback,
            Condition::AttemptTimeout,
        ];
        Self {
            max: 1,
            on,
            base: Duration::from_millis(25),
            cap: Duration::from_millis(250),
            buffer: 64 * 1024,
        }
    }
}

impl Policy {
    /// What a route asks for; a route that names no retry field leaves the defaults.
    pub fn of_route(route: &RouteDestination) -> Self {
        let asks = route.num_retries > 0
            || route.retry_on_connect_failure
            || !route.retry_on.is_empty()
            || !route.retry_on_status_codes.is_empty();
        if !asks {
            return Self::default();
        }
        let mut on = Vec::new();
        for condition in &route.retry_on {
            match condition.as_str() {
                "unavailable" => on.push(Condition::Unavailable),
                "reset" => on.push(Condition::Transport),
                "5xx" | "gateway-error" => {
                    on.extend([Condition::Unavailable, Condition::Transport]);
                }
                "cancelled" => on.push(Condition::Cancelled),
                "internal" => on.push(Condition::Internal),
                "resource-exhausted" | "envoy-ratelimited" => {
                    on.extend([Condition::ResourceExhausted, Condition::Pushback]);
                }
                // Unprocessed calls are repeated anyway.
                _ => {}
            }
        }
        if route
            .retry_on_status_codes
            .iter()
            .any(|code| matches!(code, 502..=504))
        {
            on.push(Condition::Unavailable);
        }
        if on.is_empty()
            && route.retry_on.is_empty()
            && route.retry_on_status_codes.is_empty()
            && !route.retry_on_connect_failure
        {
            // Only a number: the default conditions, that often.
            on = Self::default().on;
        }
        Self {
            max: route.num_retries.clamp(1, 4),
            on,
            ..Self::default()
        }
    }
}

impl<S: Stage> Stage for Attempt<S> {
    async fn call(&self, mut call: Call) -> Result<Reply, Error> {
        let body = std::mem::replace(&mut call.body, observe::empty());
        let source = Source::new(body, self.policy.buffer, &self.shared.retry_bytes);
        let mut started = Instant::now();
        self.upstream.budget.deposit(started);
        let mut progress = Progress::default();
        loop {
            call.attempt = progress.repeats + 1;
            let result = self.inner.call(copy(&call, &source)).await;
            if matches!(&result, Err(error) if error.unsent) {
                self.undo(&mut progress, &source).await?;
                started = Instant::now();
                continue;
            }
            let held = hold::judge(result, self.judge(&call, started), kind(&call)).await;
            let (outcome, result) = match held {
                Held::Open(reply) => {
                    source.commit();
                    return Ok(reply);
                }
                Held::Over(outcome, result) => (outcome, result),
            };
            let facts = self.facts(&call, &progress, &source);
            let decision = may_retry(&outcome, &facts, || {
                self.upstream.budget.withdraw(Instant::now())
            });
            if !outcome.is_ok() {
                self.shared.metrics.decision(&self.upstream.name, decision);
                call.facts.decision.set(Some(decision));
            }
            match decision {
                Decision::Stop(_) => {
                    source.commit();
                    return result;
                }
                Decision::Transparent => {
                    progress.transparent_used = true;
                    call.facts.transparent.set(call.facts.transparent.get() + 1);
                }
                Decision::Go(wait) => {
                    // The old stream is given up before the wait, not after it.
                    drop(result);
                    progress.repeats += 1;
                    call.facts
                        .leave_leg
                        .set(progress.repeats == self.policy.max);
                    call.facts
                        .retry_delay
                        .set(call.facts.retry_delay.get() + wait);
                    sleep(wait).await;
                }
            }
            started = Instant::now();
        }
    }
}

impl<S> Attempt<S> {
    /// The connection ended before the call left: pick again, uncounted. Bounded, and it gives way to the tasks that must notice.
    async fn undo(&self, progress: &mut Progress, source: &Source) -> Result<(), Error> {
        progress.undone += 1;
        if progress.undone > MAX_UNDONE || !source.is_replayable() {
            return Err(Error::unprocessed(
                Kind::NoEndpoint,
                "connections ended before the call could leave",
            ));
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    fn judge(&self, call: &Call, started: Instant) -> Judge {
        Judge::new(call.protocol == Protocol::Grpc, kind(call), started)
    }

    fn facts(&self, call: &Call, progress: &Progress, source: &Source) -> Facts<'_> {
        Facts {
            class: call
                .promise
                .as_ref()
                .map_or(Class::Unknown, |promise| promise.class),
            committed: false,
            replayable: source.is_replayable(),
            transparent_used: progress.transparent_used,
            repeats: progress.repeats,
            max_repeats: self.policy.max,
            on: &self.policy.on,
            backoff: budget::backoff(
                progress.repeats + 1,
                self.policy.base,
                self.policy.cap,
                rand::rng().random(),
            ),
            deadline: call.deadline,
            median: MEDIAN,
            now: Instant::now(),
        }
    }
}

fn kind(call: &Call) -> MethodKind {
    call.promise
        .as_ref()
        .map_or(MethodKind::Unknown, |promise| promise.kind)
}

/// The call once more, with a body that replays what was already read.
fn copy(call: &Call, source: &Source) -> Call {
    let mut headers = call.headers.clone();
    if let Some(tried) = metadata::previous_attempts(&headers, call.attempt) {
        headers.say(PREVIOUS_ATTEMPTS, tried);
    }
    Call::new(Parts {
        method: call.method.clone(),
        uri: call.uri.clone(),
        authority: call.authority.clone(),
        headers,
        body: source.replay(),
        protocol: call.protocol,
        peer: call.peer.clone(),
        received: call.received,
        service: call.service.clone(),
        promise: call.promise.clone(),
        deadline: call.deadline,
        attempt: call.attempt,
        trace: call.trace,
        facts: call.facts.clone(),
        early: call.early.clone(),
        room: call.room.clone(),
    })
}

#[cfg(test)]
mod tests;
