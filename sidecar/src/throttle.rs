//! A mesh peer most of whose streams are reset within a second of their opening makes us work for nothing. It is no stranger, so its
//! connection stays; but after each report only half as many of its calls are taken, and twice as many again every ten seconds. What
//! is not taken hears so before anything was done for it.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tower::layer::layer_fn;
use tower_layer::Layer;

use crate::error::{Error, Kind};
use crate::identity::spiffe::SpiffeId;
use crate::snapshot::Shared;
use crate::stack::{Call, Peer, Reply, Stage};

/// One halving is forgiven in so much time.
const FORGIVEN: Duration = Duration::from_secs(10);
/// One call in 32 is always taken.
const MOST_HALVINGS: u32 = 5;

/// The share of a peer's calls that is taken. Time is an argument.
#[derive(Clone, Copy, Debug)]
struct Share {
    halvings: u32,
    /// From then on they are forgiven.
    since: Instant,
    /// Calls since the last one that was taken.
    passed: u32,
}

/// Peers that were reported, over all threads.
#[derive(Debug, Default)]
pub struct Shares {
    peers: Mutex<HashMap<SpiffeId, Share>>,
    /// How many, so that nobody locks while there are none.
    count: AtomicUsize,
}

/// The throttling stage.
#[derive(Debug)]
pub struct Throttle<S> {
    shares: Arc<Shares>,
    inner: Rc<S>,
}

pub fn layer<S>(shared: &Arc<Shared>) -> impl Layer<S, Service = Throttle<S>> + Clone {
    let shares = Arc::clone(shared.memory.metrics().shares());
    layer_fn(move |inner| Throttle {
        shares: Arc::clone(&shares),
        inner: Rc::new(inner),
    })
}

impl<S: Stage> Stage for Throttle<S> {
    async fn call(&self, call: Call) -> Result<Reply, Error> {
        if let Peer::Mesh(peer) = &call.peer
            && !self.shares.takes(peer, Instant::now())
        {
            let why =
                "too many of the peer's calls are reset at once; limits.mesh, premature_resets";
            return Err(Error::unprocessed(Kind::RateLimited, why).with_pushback(FORGIVEN / 10));
        }
        self.inner.call(call).await
    }
}

// === impl Share ===

impl Share {
    fn halvings(&self, now: Instant) -> u32 {
        let forgiven = now.saturating_duration_since(self.since).as_secs() / FORGIVEN.as_secs();
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        self.halvings.saturating_sub(forgiven)
    }

    fn halve(&mut self, now: Instant) {
        self.halvings = (self.halvings(now) + 1).min(MOST_HALVINGS);
        self.since = now;
    }

    /// Whether the next call is taken: one in two, in four, and so on.
    fn takes(&mut self, now: Instant) -> bool {
        self.passed += 1;
        let is_taken = self.passed >= 1 << self.halvings(now);
        if is_taken {
            self.passed = 0;
        }
        is_taken
    }
}

// === impl Shares ===

impl Shares {
    /// A peer was reported.
    pub(crate) fn halve(&self, peer: &SpiffeId, now: Instant) {
        let mut peers = self.peers();
        let share = peers.entry(peer.clone()).or_insert(Share {
            halvings: 0,
            since: now,
            passed: 0,
        });
        share.halve(now);
        let part = 1 << share.halvings;
        self.count.store(peers.len(), Ordering::Relaxed);
        drop(peers);
        tracing::warn!(?peer, part, "one call in so many of this peer is taken");
    }

    fn takes(&self, peer: &SpiffeId, now: Instant) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return true;
        }
        let mut peers = self.peers();
        let Some(share) = peers.get_mut(peer) else {
            return true;
        };
        if share.halvings(now) > 0 {
            return share.takes(now);
        }
        peers.remove(peer);
        self.count.store(peers.len(), Ordering::Relaxed);
        true
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<SpiffeId, Share>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> SpiffeId {
        let id = format!("spiffe://a.consul/ns/default/dc/dc1/svc/{name}");
        SpiffeId::parse(&id).unwrap()
    }

    #[test]
    fn each_report_halves_and_time_gives_back() {
        let (shares, web, start) = (Shares::default(), peer("web"), Instant::now());
        let taken = |seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            (0..64).filter(|_| shares.takes(&web, now)).count()
        };
        assert_eq!(taken(0), 64);
        shares.halve(&web, start);
        assert_eq!(taken(0), 32);
        shares.halve(&web, start);
        assert_eq!(taken(9), 16);
        assert_eq!(taken(10), 32);
        assert!(
            shares.takes(&peer("other"), start),
            "it is this peer's alone"
        );
        assert_eq!(taken(20), 64);
        assert!(shares.peers().is_empty());
        for _ in 0..9 {
            shares.halve(&web, start);
        }
        assert_eq!(taken(0), 2, "never less than one in 32");
    }
}
