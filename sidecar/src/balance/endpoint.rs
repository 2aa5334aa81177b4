//! One instance of a service as the balancer sees it: where it is, whom to expect there, and what is known of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::balance::ewma;
use crate::breaker::Breaker;
use crate::identity::spiffe::SpiffeId;

/// One instance. Replaced as a whole when its facts change; `state` is carried over by registry id, so that breaker, estimate and count of
/// open attempts survive churn.
#[derive(Debug)]
pub struct Endpoint {
    /// The registry's service id: unique, the label in metrics and logs.
    pub id: Arc<str>,
    /// The service it is an instance of.
    pub service: Arc<str>,
    pub address: SocketAddr,
    /// Who must answer the handshake.
    pub identity: Arc<SpiffeId>,
    /// Server name sent in the handshake (the chain target's SNI).
    pub sni: Arc<str>,
    pub weight: u32,
    /// Passing (or warning) in the registry.
    pub healthy: bool,
    pub version: Option<Arc<str>>,
    pub state: Arc<State>,
}

/// What all threads share about an endpoint: plain atomics, each on a cache line of its own.
#[derive(Debug, Default)]
pub struct State {
    /// Attempts and opaque connections open now, over all threads.
    pub pending: AtomicU32,
    /// Estimated latency.
    pub latency: ewma::Shared,
    pub breaker: Breaker,
    /// No new calls until then, in milliseconds of the process's clock: it said that it is leaving or not there yet.
    pub held_until: AtomicU64,
}

/// An attempt, or an opaque connection, that counts as open on its endpoint until it is dropped.
#[derive(Debug)]
pub struct Pending(Arc<Endpoint>);

// === impl Pending ===

impl Pending {
    pub fn new(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.state.pending.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(endpoint))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.state.pending.fetch_sub(1, Ordering::Relaxed);
    }
}
