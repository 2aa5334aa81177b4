//! The leaf in force: when it ends, how often it was renewed, whether a new one is overdue.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Material;

#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    not_after: Gauge,
    renewals: Counter,
    overdue: Gauge,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "outrigger_identity_not_after_seconds",
            "When the leaf in force expires, Unix time",
            self.not_after.clone(),
        );
        registry.register(
            "outrigger_identity_renewals",
            "Leaves that came into force",
            self.renewals.clone(),
        );
        registry.register(
            "outrigger_identity_overdue",
            "1 when no new leaf came by 75 % of the life of the one in force",
            self.overdue.clone(),
        );
    }

    pub(super) fn renewed(&self, material: &Material) {
        self.not_after
            .set(i64::try_from(material.validity.not_after.as_secs()).unwrap_or(i64::MAX));
        self.renewals.inc();
    }

    pub(super) fn overdue(&self, overdue: bool) {
        self.overdue.set(i64::from(overdue));
    }
}
