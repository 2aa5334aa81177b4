//! One instance of a service as the balancer sees it: where it is, whom to expect there, and what is known of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

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
    /// Attempts open now, over all threads.
    pub pending: AtomicU32,
    /// Estimated latency.
    pub latency: ewma::Shared,
    pub breaker: Breaker,
    /// No new calls until then, in milliseconds of the process's clock: it said that it is leaving or not there yet.
    pub held_until: AtomicU64,
}
