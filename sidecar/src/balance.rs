//! Which instance gets the attempt: two choices by weight, the one with the lower load, among those that are ready and worth asking.
//!
//! Waits while nobody is ready, at most the fail-fast time; endpoints are a snapshot of their own, so churn rebuilds no stack. Opens the
//! attempt (deadline, attempt number and trace of the next hop are written here, at the moment of dispatch) and tells breaker, estimate
//! and metrics how it ended. Repeats nothing.

pub mod endpoint;

pub mod ewma;

pub mod open;

pub mod p2c;

pub mod select;

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::breaker;
use crate::connect::{Pool, State, Strangers};
use crate::error::{Error, Kind};
use crate::exchange;
use crate::route::chain::Leaf;
use crate::snapshot::{Shared, Target, Thread, Upstream};
use crate::stack::{Call, Reply, Stage};
use endpoint::Endpoint;
use select::{Choice, Picked, Time};

/// No endpoint ready for this long without a break: calls fail at once.
pub(crate) const FAIL_FAST: Duration = Duration::from_secs(3);

/// What a choice needs to know of endpoints.
pub trait Look {
    fn state(&self, endpoint: &Arc<Endpoint>, now: Instant) -> State;

    /// Starts connecting where nothing is open.
    fn warm(&self, endpoint: &Arc<Endpoint>);
}

/// How endpoints are reached from this thread.
pub trait Reach: Look + 'static {
    /// Why the last connection to it was not made; `None` if it was, or nobody tried.
    fn failure(&self, endpoint: &Arc<Endpoint>) -> Option<Kind>;

    /// A call was refused, because as many of `upstream` wait as may.
    fn crowded(&self, upstream: &str);

    /// Room for calls of connections that were never served, to one upstream.
    fn strangers(&self) -> Strangers;

    /// Ready when some endpoint's state has changed since this future was made.
    fn changed(&self) -> impl Future<Output = ()> + 'static;

    fn exchange(
        &self,
        endpoint: &Arc<Endpoint>,
        call: Call,
    ) -> impl Future<Output = Result<Reply, Error>>;
}

/// The balancing stage of one leaf.
#[derive(Debug)]
pub struct Balance<R> {
    shared: Arc<Shared>,
    upstream: Arc<Upstream>,
    leaf: Arc<Leaf>,
    reach: R,
    strangers: Strangers,
    breaker: breaker::Config,
    /// Since when nobody was ready, and when that was last seen.
    unready: Cell<Option<(Instant, Instant)>>,
}

/// Counts a waiting call until it stops waiting.
struct Waiting<'a>(&'a Upstream);

/// Whether a call to this target would find somebody connected.
pub fn has_ready(reach: &impl Reach, target: &Target) -> bool {
    let endpoints = target.endpoints.load();
    let now = Instant::now();
    endpoints.as_ref().is_some_and(|endpoints| {
        endpoints
            .iter()
            .any(|endpoint| endpoint.healthy && reach.state(endpoint, now) == State::Ready)
    })
}

/// Opens connections ahead of calls, where the registry says that there will be calls, and keeps doing so; one a thread. Never ends.
pub async fn keep_warm(thread: Rc<Thread>) {
    let mut snapshots = thread.shared.changes();
    loop {
        for upstream in thread.shared.upstreams.values() {
            let Some(chain) = upstream
                .chain
                .load_full()
                .filter(|chain| !chain.is_opaque())
            else {
                continue;
            };
            for endpoints in chain
                .targets
                .iter()
                .filter_map(|target| target.endpoints.load_full())
            {
                for endpoint in endpoints.iter().filter(|endpoint| endpoint.healthy) {
                    thread.pool.warm(endpoint);
                }
            }
        }
        let changed = thread.pool.changed();
        tokio::select! {
            () = changed => {}
            changed = snapshots.changed() => if changed.is_err() { return },
        }
    }
}

impl<R: Reach> Balance<R> {
    pub fn new(shared: &Arc<Shared>, upstream: &Arc<Upstream>, leaf: &Arc<Leaf>, reach: R) -> Self {
        Self {
            shared: shared.clone(),
            upstream: upstream.clone(),
            leaf: leaf.clone(),
            strangers: reach.strangers(),
            reach,
            breaker: breaker::Config::default(),
            unready: Cell::new(None),
        }
    }

    async fn attempt(&self, call: Call) -> Result<Reply, Error> {
        let picked = self.pick(&call).await?;
        if picked.overruled {
            self.shared.metrics.overruled(&self.upstream.name);
        }
        let opened = open::open(&self.shared, &self.upstream, &picked, &self.breaker, call)?;
        let result = self.reach.exchange(&picked.endpoint, opened.call).await;
        opened.attempt.follow(result)
    }

    /// An endpoint with its permission, waiting for one if need be.
    async fn pick(&self, call: &Call) -> Result<Picked, Error> {
        match self.choose(&call.facts, Instant::now()) {
            // Only who has to wait gets ready to be woken.
            Choice::Wait => self.wait(call).await,
            choice => self.settle(choice),
        }
    }

    async fn wait(&self, call: &Call) -> Result<Picked, Error> {
        let mut waiting = None;
        let mut snapshots = self.shared.changes();
        loop {
            let changed = self.reach.changed();
            let now = Instant::now();
            match self.choose(&call.facts, now) {
                Choice::Wait => {}
                choice => return self.settle(choice),
            }
            let until = self.unready_since(now) + FAIL_FAST;
            if until <= now {
                return Err(self.unreachable());
            }
            if waiting.is_none() {
                waiting = Some(self.queue(call.facts.is_known)?);
            }
            tokio::select! {
                () = changed => {}
                _ = snapshots.changed() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    fn queue(&self, is_known: bool) -> Result<Waiting<'_>, Error> {
        let queued = self.shared.config.limits.mesh().queued;
        Waiting::start(&self.upstream, most_waiting(queued, is_known)).inspect_err(|_| {
            let name = &self.upstream.name;
            self.reach.crowded(name);
            self.shared.metrics.refused_waiting(name, "overloaded");
        })
    }

    /// What a choice that need not wait means for the call.
    fn settle(&self, choice: Choice) -> Result<Picked, Error> {
        match choice {
            Choice::Picked(picked) => {
                self.unready.set(None);
                Ok(picked)
            }
            Choice::BreakerOpen(left) => {
                let error = Error::unprocessed(
                    Kind::BreakerOpen,
                    format!(
                        "the breaker of every ready instance of {} is open; it failed too often just now",
                        self.upstream.name
                    ),
                );
                Err(error.with_pushback(left))
            }
            Choice::Empty => {
                Err(self.no_endpoint("has no healthy instance; check its health in the registry"))
            }
            Choice::Wait => Err(self.unreachable()),
        }
    }

    fn choose(&self, facts: &crate::observe::Facts, now: Instant) -> Choice {
        let tried = &*facts.tried.borrow();
        let time = Time {
            now,
            millis: self.shared.clock.millis(now),
            short: self.shared.clock.short_millis(now),
        };
        let choose = |targets: &[Arc<Target>]| {
            select::choose(targets, &self.reach, &self.breaker, tried, time)
        };
        if facts.leave_leg.get()
            && !self.leaf.escape.is_empty()
            && let Choice::Picked(picked) = choose(&self.leaf.escape)
        {
            return Choice::Picked(picked);
        }
        choose(&self.leaf.targets)
    }

    /// Nobody was ready since then, as far as calls looked; a silence longer than the fail-fast time proves no such thing.
    fn unready_since(&self, now: Instant) -> Instant {
        let since = match self.unready.get() {
            Some((since, seen)) if now.saturating_duration_since(seen) <= FAIL_FAST => since,
            _ => now,
        };
        self.unready.set(Some((since, now)));
        since
    }

    /// Nobody could be reached in time. If all of them failed the handshake, that is the reason; anything else may pass.
    fn unreachable(&self) -> Error {
        let endpoints = self
            .leaf
            .targets
            .iter()
            .filter_map(|target| target.endpoints.load_full());
        let failures: Vec<_> = endpoints
            .flat_map(|endpoints| endpoints.iter().cloned().collect::<Vec<_>>())
            .filter(|endpoint| endpoint.healthy)
            .map(|endpoint| self.reach.failure(&endpoint))
            .collect();
        let name = &self.upstream.name;
        if !failures.is_empty() && failures.iter().all(|kind| *kind == Some(Kind::Handshake)) {
            return Error::unprocessed(
                Kind::Handshake,
                format!(
                    "no instance of {name} proved to be {name}; check that both sides use one registry"
                ),
            );
        }
        self.no_endpoint(
            "has no reachable instance; check that its sidecars are up and that identities match",
        )
    }

    fn no_endpoint(&self, why: &str) -> Error {
        Error::unprocessed(Kind::NoEndpoint, format!("{} {why}", self.upstream.name))
    }
}

impl<R: Reach> Stage for Balance<R> {
    async fn call(&self, call: Call) -> Result<Reply, Error> {
        let line = call.facts.line.clone();
        let attempt = pin!(self.attempt(call));
        self.strangers.answered(line, attempt).await
    }
}

impl Look for Rc<Pool> {
    fn state(&self, endpoint: &Arc<Endpoint>, now: Instant) -> State {
        Pool::state(self, endpoint, now)
    }

    fn warm(&self, endpoint: &Arc<Endpoint>) {
        Pool::warm(self, endpoint);
    }
}

impl Reach for Rc<Pool> {
    fn crowded(&self, upstream: &str) {
        Pool::crowded(self, upstream);
    }

    fn failure(&self, endpoint: &Arc<Endpoint>) -> Option<Kind> {
        Pool::failure(self, endpoint)
    }

    fn strangers(&self) -> Strangers {
        Pool::strangers(self)
    }

    fn changed(&self) -> impl Future<Output = ()> + 'static {
        Pool::changed(self)
    }

    fn exchange(
        &self,
        endpoint: &Arc<Endpoint>,
        call: Call,
    ) -> impl Future<Output = Result<Reply, Error>> {
        exchange::exchange(self, endpoint, call)
    }
}

/// Whoever opens one connection after the other, and hangs up, cannot fill the places of those that have been served before.
fn most_waiting(queued: u32, is_known: bool) -> u32 {
    match is_known {
        true => queued.saturating_add(queued / 4),
        false => queued,
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn start(upstream: &'a Upstream, most: u32) -> Result<Self, Error> {
        if upstream.waiting.fetch_add(1, Ordering::Relaxed) >= most {
            upstream.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::unprocessed(
                Kind::Overloaded,
                "too many calls wait for an instance already",
            )
            .with_pushback(Duration::from_millis(500)));
        }
        Ok(Self(upstream))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
