//! Which instance gets the connection, and the connection to it: the balancer's choice among the healthy ones whose breaker lets it
//! through, two choices by weight and open connections. Whoever cannot be reached is left for another one, until the fail-fast time is over.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::{Instant, sleep, sleep_until};

use super::metrics::Observed;
use crate::balance::endpoint::{Endpoint, Pending};
use crate::balance::open::changed_to;
use crate::balance::select::{self, Choice, Picked, Time};
use crate::balance::{FAIL_FAST, Look};
use crate::breaker;
use crate::connect::{DialError, Opaque, State};
use crate::error::{Error, Kind};
use crate::route::chain::Leaf;
use crate::snapshot::{Shared, Thread, Upstream};

/// Before somebody is asked again who could not be reached just now.
const PAUSE: Duration = Duration::from_millis(250);

/// A connection to an instance, which counts as one of its open ones.
pub(super) struct Reached {
    pub(super) opaque: Opaque,
    pub(super) pending: Pending,
}

/// Each of these connections is dialled anew, so nobody is more ready than others.
struct Anew;

impl Look for Anew {
    fn state(&self, _: &Arc<Endpoint>, _: Instant) -> State {
        State::Ready
    }

    fn warm(&self, _: &Arc<Endpoint>) {}
}

/// Tries one instance after the other. Cancel-safe: what was opened is dropped with it.
pub(super) async fn reach(
    thread: &Rc<Thread>,
    upstream: &Upstream,
    observed: &mut Observed,
) -> Result<Reached, Error> {
    let (shared, config) = (&thread.shared, breaker::Config::default());
    let deadline = Instant::now() + FAIL_FAST;
    let mut snapshots = shared.changes();
    let mut tried = Vec::new();
    let mut last = None;
    loop {
        let leaf = leaf(upstream)?;
        let wait = match select::choose(&leaf.targets, &Anew, &config, &tried, time(shared)) {
            Choice::Picked(picked) => {
                if tried.contains(&picked.endpoint.id) {
                    sleep(PAUSE).await;
                }
                if picked.overruled {
                    shared.metrics.overruled(&upstream.name);
                }
                observed.attempts += 1;
                observed.endpoint = Some(Arc::clone(&picked.endpoint.id));
                match attempt(thread, upstream, &picked, &config).await {
                    Err(err) if is_worth_another(err.kind) && Instant::now() < deadline => {
                        tried.push(Arc::clone(&picked.endpoint.id));
                        last = Some(err);
                        continue;
                    }
                    done => return done,
                }
            }
            Choice::BreakerOpen(left) => left,
            Choice::Empty => return Err(unreachable(upstream, "has no healthy instance")),
            Choice::Wait => FAIL_FAST,
        };
        let now = Instant::now();
        if now >= deadline {
            let error = || unreachable(upstream, "has no instance that can be asked");
            return Err(last.unwrap_or_else(error));
        }
        tokio::select! {
            _ = snapshots.changed() => {}
            () = sleep_until(deadline.min(now + wait)) => {}
        }
    }
}

fn leaf(upstream: &Upstream) -> Result<Arc<Leaf>, Error> {
    let chain = upstream.chain.load_full().ok_or_else(|| {
        let why = "the registry has not answered yet; check that it is reachable";
        Error::unprocessed(Kind::NotReady, why)
    })?;
    let has_healthy = |leaf: &Leaf| {
        let mut endpoints = leaf
            .targets
            .iter()
            .filter_map(|target| target.endpoints.load_full());
        endpoints.any(|endpoints| endpoints.iter().any(|endpoint| endpoint.healthy))
    };
    chain
        .walk_connection(&mut || rand::rng().random::<f64>(), &has_healthy)
        .and_then(|walked| chain.leaves.get(walked.leaf).cloned())
        .ok_or_else(|| Error::unprocessed(Kind::NoRoute, "the chain leads nowhere"))
}

fn time(shared: &Shared) -> Time {
    let now = Instant::now();
    Time {
        now,
        millis: shared.clock.millis(now),
        short: shared.clock.short_millis(now),
    }
}

/// What one instance refuses on principle the others refuse too.
fn is_worth_another(kind: Kind) -> bool {
    !matches!(kind, Kind::Denied | Kind::NoRoute | Kind::NotReady)
}

async fn attempt(
    thread: &Rc<Thread>,
    upstream: &Upstream,
    picked: &Picked,
    config: &breaker::Config,
) -> Result<Reached, Error> {
    let pending = Pending::new(&picked.endpoint);
    let dialed = thread.pool.dial_opaque(&picked.endpoint).await;
    let failure = dialed.as_ref().err().map(DialError::kind);
    let now = thread.shared.clock.millis(Instant::now());
    let breaker = &picked.endpoint.state.breaker;
    let changed = match failure {
        Some(Kind::Connect | Kind::Handshake | Kind::NoEndpoint) => {
            breaker.failure(config, now, rand::rng().random())
        }
        // It is there, if only to refuse.
        _ => breaker.success(config, now),
    };
    if let Some(mode) = changed {
        let reason = failure.map_or("ok", Kind::flag);
        changed_to(mode, &thread.shared, upstream, &picked.endpoint, reason);
    }
    match dialed {
        Ok(opaque) => Ok(Reached { opaque, pending }),
        Err(err) => Err(Error::unprocessed(err.kind(), err.to_string())),
    }
}

fn unreachable(upstream: &Upstream, why: &str) -> Error {
    let detail = format!("{} {why}; check its health in the registry", upstream.name);
    Error::unprocessed(Kind::NoEndpoint, detail)
}
