//! Connections opened and lost, dials that failed.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(super) opened: Counter,
    pub(super) failed: Counter,
    pub(super) open: Gauge,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "outrigger_connections_opened",
            "Mesh connections we opened",
            self.opened.clone(),
        );
        registry.register(
            "outrigger_connect_failures",
            "Attempts to open one that failed",
            self.failed.clone(),
        );
        registry.register(
            "outrigger_connections_open",
            "Mesh connections we hold open",
            self.open.clone(),
        );
    }
}
