//! Who may connect, over all threads: how many connections there are, of one peer and of all, and how many handshakes begin.

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::rate::Rate;
use crate::config::{Connection, Scope};
use crate::http2::Metrics;
use crate::http2::meter::Limit;
use crate::identity::spiffe::SpiffeId;

/// Whom a connection counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    Address(IpAddr),
    Identity(SpiffeId),
    /// Whoever may open our Unix socket.
    Socket,
}

/// The listeners of one scope, over all threads.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Connection,
    open: AtomicU32,
    ended: Notify,
    peers: Mutex<HashMap<Peer, u32>>,
    handshakes: Option<Handshakes>,
    metrics: Metrics,
    connections: Gauge,
}

#[derive(Debug)]
struct Handshakes {
    rate: Mutex<Rate>,
    at_once: Arc<Semaphore>,
    usage: Gauge,
}

/// Held by a connection while it lives.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    peer: Option<Peer>,
}

/// Held while a handshake is in progress; nothing where there are none.
#[derive(Debug)]
pub(crate) struct Handshake(Option<(OwnedSemaphorePermit, Gauge)>);

// === impl Admission ===

impl Admission {
    pub(crate) fn new(limits: Connection, metrics: Metrics) -> Arc<Self> {
        let scope = limits.scope.name();
        let usage = |limit: Limit| metrics.usage(scope, limit.name());
        let handshakes = (limits.tls_handshakes_at_once > 0).then(|| Handshakes {
            rate: Mutex::new(Rate::new(limits.tls_handshakes_per_second)),
            at_once: Arc::new(Semaphore::new(limits.tls_handshakes_at_once as usize)),
            usage: usage(Limit::TlsHandshakesAtOnce),
        });
        Arc::new(Self {
            open: AtomicU32::new(0),
            ended: Notify::new(),
            peers: Mutex::default(),
            handshakes,
            connections: usage(Limit::Connections),
            metrics,
            limits,
        })
    }

    /// A place for one more connection; waits until there is one.
    pub(super) async fn enter(self: &Arc<Self>) -> Permit {
        let mut is_counted = false;
        loop {
            // Before the look, so that no end is missed.
            let ended = self.ended.notified();
            if let Some(permit) = self.try_enter() {
                return permit;
            }
            if !std::mem::replace(&mut is_counted, true) {
                self.hit(Limit::Connections, &"whoever comes next");
            }
            ended.await;
        }
    }

    fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        let most = self.limits.connections;
        let more = |open: u32| (open < most).then(|| open + 1);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.open.fetch_update(set, get, more).ok()?;
        self.connections.inc();
        Some(Permit {
            admission: Arc::clone(self),
            peer: None,
        })
    }

    /// Leave to begin a handshake; waits for it.
    pub(super) async fn begin_handshake(&self) -> Handshake {
        let Some(handshakes) = &self.handshakes else {
            return Handshake::none();
        };
        let wait = lock(&handshakes.rate).take(Instant::now());
        if !wait.is_zero() {
            self.hit(Limit::TlsHandshakesPerSecond, &"whoever comes next");
            sleep(wait).await;
        }
        if handshakes.at_once.available_permits() == 0 {
            self.hit(Limit::TlsHandshakesAtOnce, &"whoever comes next");
        }
        let permit = Arc::clone(&handshakes.at_once).acquire_owned().await;
        let usage = handshakes.usage.clone();
        Handshake(permit.ok().map(|permit| {
            usage.inc();
            (permit, usage)
        }))
    }

    pub(crate) fn scope(&self) -> Scope {
        self.limits.scope
    }

    fn hit(&self, limit: Limit, peer: &impl Debug) {
        self.metrics.hit(self.limits.scope, limit, peer);
    }
}

// === impl Handshake ===

impl Handshake {
    /// There is nothing to begin.
    pub(super) fn none() -> Self {
        Self(None)
    }
}

// === impl Permit ===

impl Permit {
    /// The connection is this peer's. False if it has too many already: then it is closed.
    #[must_use]
    pub(crate) fn counts_for(&mut self, peer: Peer) -> bool {
        let admission = &self.admission;
        let mut peers = lock(&admission.peers);
        let open = peers.get(&peer).copied().unwrap_or(0);
        if open >= admission.limits.connections_per_peer {
            drop(peers);
            admission.hit(Limit::ConnectionsPerPeer, &peer);
            return false;
        }
        peers.insert(peer.clone(), open + 1);
        self.peer = Some(peer);
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let admission = &self.admission;
        if let Some(peer) = self.peer.take() {
            let mut peers = lock(&admission.peers);
            let left = peers.get(&peer).map_or(0, |open| open.saturating_sub(1));
            match left {
                0 => peers.remove(&peer),
                left => peers.insert(peer, left),
            };
        }
        admission.open.fetch_sub(1, Ordering::Relaxed);
        admission.connections.dec();
        admission.ended.notify_waiters();
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        if let Some((_, usage)) = &self.0 {
            usage.dec();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn admission(change: impl FnOnce(&mut Connection)) -> Arc<Admission> {
        let mut limits = Connection::new(Scope::Mesh);
        change(&mut limits);
        Admission::new(limits, Metrics::default())
    }

    #[tokio::test]
    async fn the_next_connection_waits_for_the_end_of_another() {
        let admission = admission(|limits| limits.connections = 2);
        let first = admission.enter().await;
        let _second = admission.enter().await;
        let mut third = std::pin::pin!(admission.enter());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        third.await;
    }

    #[tokio::test]
    async fn a_peer_has_its_own_number_and_gets_it_back() {
        let admission = admission(|limits| limits.connections_per_peer = 1);
        let peer = |last| Peer::Address(IpAddr::from([127, 0, 0, last]));
        let mut permits = Vec::new();
        for _ in 0..3 {
            permits.push(admission.enter().await);
        }
        let [first, second, third] = &mut permits[..] else {
            unreachable!("there are three");
        };
        assert!(first.counts_for(peer(1)));
        assert!(!second.counts_for(peer(1)));
        assert!(third.counts_for(peer(2)));
        drop(permits);
        assert!(lock(&admission.peers).is_empty());
        assert!(admission.enter().await.counts_for(peer(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn handshakes_wait_for_their_turn_and_for_each_other() {
        let admission = admission(|limits| {
            limits.tls_handshakes_per_second = 2;
            limits.tls_handshakes_at_once = 3;
        });
        let start = Instant::now();
        let mut begun = Vec::new();
        for _ in 0..3 {
            begun.push(admission.begin_handshake().await);
        }
        assert_eq!(start.elapsed().as_millis(), 500);
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        let mut fourth = std::pin::pin!(admission.begin_handshake());
        assert!(fourth.as_mut().now_or_never().is_none());
        begun.pop();
        fourth.await;
    }
}
