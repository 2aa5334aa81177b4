//! The edge's certificate: when it ends, how often its files were taken up or refused.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    not_after: Gauge,
    replaced: Counter,
    refused: Counter,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "outrigger_edge_certificate_not_after_seconds",
            "When the edge's certificate in force expires, Unix time",
            self.not_after.clone(),
        );
        registry.register(
            "outrigger_edge_certificate_replaced",
            "Certificates of the edge that came into force after the first",
            self.replaced.clone(),
        );
        registry.register(
            "outrigger_edge_certificate_refused",
            "Changes of the edge's certificate files that were not taken up",
            self.refused.clone(),
        );
    }

    pub(super) fn first(&self, not_after: i64) {
        self.not_after.set(not_after);
    }

    pub(super) fn replaced(&self, not_after: i64) {
        self.not_after.set(not_after);
        self.replaced.inc();
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
    }
}
