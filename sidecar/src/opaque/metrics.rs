//! Opaque connections, counted and told: `outrigger_tcp_*` and one line of the access log a connection. Labels come from the configuration
//! and verified certificates: `service` is the callee, `peer` the caller.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::copy::{Way, copy};
use crate::config::Scope;
use crate::error::Kind;
use crate::http2::{self, Limit};
use crate::memory::Account;
use crate::observe::Direction;
use crate::observe::log::millis;
use crate::observe::metrics::Labels;

#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    opened: Family<Labels, Counter>,
    closed: Family<Labels, Counter>,
    open: Family<Labels, Gauge>,
    bytes: Family<Labels, Counter>,
}

/// One connection, from its arrival to its line in the log.
#[derive(Debug)]
pub(super) struct Observed {
    metrics: Metrics,
    labels: Labels,
    open: Gauge,
    direction: Direction,
    service: Arc<str>,
    peer: Arc<str>,
    begun: Instant,
    pub(super) endpoint: Option<Arc<str>>,
    pub(super) attempts: u32,
    /// From the caller to the callee, and back.
    ways: [Way; 2],
    /// What the log says besides the reason.
    pub(super) detail: Option<String>,
    /// Whoever is dropped before it is told otherwise was cut.
    reason: &'static str,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "outrigger_tcp_connections_opened",
            "Opaque connections that arrived",
            self.opened.clone(),
        );
        registry.register(
            "outrigger_tcp_connections_closed",
            "Opaque connections by why they ended",
            self.closed.clone(),
        );
        registry.register(
            "outrigger_tcp_open",
            "Opaque connections open now",
            self.open.clone(),
        );
        registry.register(
            "outrigger_tcp_bytes",
            "Bytes of opaque connections: sent by the caller, received by it",
            self.bytes.clone(),
        );
    }

    pub(super) fn observe(
        &self,
        direction: Direction,
        service: &Arc<str>,
        peer: &Arc<str>,
        buffered: &Arc<Account>,
    ) -> Observed {
        let labels = vec![
            ("direction", direction.name().to_owned()),
            ("service", service.to_string()),
            ("peer", peer.to_string()),
        ];
        self.opened.get_or_create(&labels).inc();
        let open = self.open.get_or_create_owned(&labels);
        open.inc();
        let ways = ["sent", "received"].map(|way| {
            let labels = Self::with(&labels, "way", way);
            Way::new(
                self.bytes.get_or_create_owned(&labels),
                Arc::clone(buffered),
            )
        });
        Observed {
            metrics: self.clone(),
            labels,
            ways,
            open,
            direction,
            service: Arc::clone(service),
            peer: Arc::clone(peer),
            begun: Instant::now(),
            endpoint: None,
            attempts: 0,
            detail: None,
            reason: Kind::Cut.flag(),
        }
    }

    fn with(labels: &Labels, name: &'static str, value: &str) -> Labels {
        let mut labels = labels.clone();
        labels.push((name, value.to_owned()));
        labels
    }
}

// === impl Observed ===

impl Observed {
    /// Carries between the caller's side and the callee's. Whose side took no bytes is counted by its scope.
    pub(super) async fn carry<N, F>(
        &mut self,
        (near, near_scope): (&mut N, Scope),
        (far, far_scope): (&mut F, Scope),
        patience: Duration,
        bounds: &http2::Metrics,
    ) -> Result<(), Kind>
    where
        N: AsyncRead + AsyncWrite + Unpin,
        F: AsyncRead + AsyncWrite + Unpin,
    {
        let result = copy(near, far, &mut self.ways, patience).await;
        if result == Err(Kind::Stalled) {
            let [up, _] = &self.ways;
            let scope = if up.is_stuck() { far_scope } else { near_scope };
            bounds.hit(scope, Limit::StreamProgress, &self.peer);
        }
        result
    }

    /// Why it ended; by itself is `closed`.
    pub(super) fn ends(mut self, ended: Result<(), Kind>) {
        self.reason = ended.err().map_or("closed", Kind::flag);
    }
}

macro_rules! line {
    ($level:ident, $it:expr) => {{
        let it = $it;
        let [sent, received] = it.ways.each_ref().map(Way::moved);
        tracing::$level!(
            target: "outrigger::connection",
            direction = it.direction.name(),
            peer = &*it.peer,
            service = &*it.service,
            endpoint = it.endpoint.as_deref(),
            attempts = it.attempts,
            reason = it.reason,
            error = it.detail,
            elapsed = millis(it.begun.elapsed()),
            bytes_in = sent,
            bytes_out = received,
            "connection"
        );
    }};
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.open.dec();
        let labels = Metrics::with(&self.labels, "reason", self.reason);
        self.metrics.closed.get_or_create(&labels).inc();
        if self.reason == "closed" && self.attempts <= 1 {
            line!(debug, &*self);
        } else {
            line!(info, &*self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_counted_once_however_it_ends() {
        let metrics = Metrics::default();
        let (service, peer, buffered) = ("payments".into(), "web".into(), Arc::default());
        let begin = || metrics.observe(Direction::Inbound, &service, &peer, &buffered);
        begin().ends(Ok(()));
        begin().ends(Err(Kind::Denied));
        drop(begin());
        let open = begin();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let labels = "direction=\"inbound\",service=\"payments\",peer=\"web\"";
        for line in [
            format!("outrigger_tcp_connections_opened_total{{{labels}}} 4"),
            format!("outrigger_tcp_connections_closed_total{{{labels},reason=\"closed\"}} 1"),
            format!("outrigger_tcp_connections_closed_total{{{labels},reason=\"denied\"}} 1"),
            format!("outrigger_tcp_connections_closed_total{{{labels},reason=\"cut\"}} 1"),
            format!("outrigger_tcp_open{{{labels}}} 1"),
        ] {
            assert!(text.contains(&line), "{line}\n{text}");
        }
        drop(open);
    }
}
