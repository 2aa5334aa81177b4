//! Bounds of HTTP/2 connections and how often peers met them: `outrigger_limit{scope,limit}`, bytes, counts or seconds, and
//! `outrigger_limit_hits_total{scope,limit}`. The labels come from two closed lists.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::meter::Limit;
use crate::config::{Limits, ROWS, Scope};

/// The first of a bound's hits in so much time is logged.
const TOLD_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    scope: &'static str,
    limit: &'static str,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    values: Family<Labels, Gauge<f64, AtomicU64>>,
    hits: Family<Labels, Counter>,
    told: Arc<Mutex<BTreeMap<(&'static str, Limit), Instant>>>,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "outrigger_limit",
            "Bounds of HTTP/2 connections as they are configured",
            self.values.clone(),
        );
        registry.register(
            "outrigger_limit_hits",
            "How often a peer met one of them",
            self.hits.clone(),
        );
    }

    /// States what is configured. Every bound has its series from the start, so that a rate over it is never without a beginning.
    pub(crate) fn state(&self, limits: &Limits) {
        for scope in Scope::ALL {
            let connection = limits.of(scope);
            for row in &ROWS {
                self.value(scope, row.name, f64::from(connection.value(row)));
            }
            let times = &limits.connect;
            self.value(scope, Limit::Preface.name(), times.preface.as_secs_f64());
            let header_block = times.header_block.as_secs_f64();
            self.value(scope, Limit::HeaderBlock.name(), header_block);
            for limit in Limit::ALL {
                self.hits(scope, limit);
            }
        }
    }

    /// A peer met a bound; `value` is what is configured.
    pub(crate) fn hit(&self, scope: Scope, limit: Limit, peer: &impl Debug) {
        self.hits(scope, limit).inc();
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let last = told.get(&(scope.name(), limit));
        if last.is_none_or(|last| now.saturating_duration_since(*last) >= TOLD_EVERY) {
            told.insert((scope.name(), limit), now);
            let value = self
                .values
                .get_or_create(&labels(scope, limit.name()))
                .get();
            tracing::warn!(
                scope = scope.name(),
                limit = limit.name(),
                value,
                ?peer,
                "a peer met a bound; told once a minute"
            );
        }
    }

    fn value(&self, scope: Scope, name: &'static str, value: f64) {
        self.values.get_or_create(&labels(scope, name)).set(value);
    }

    fn hits(&self, scope: Scope, limit: Limit) -> Counter {
        self.hits.get_or_create_owned(&labels(scope, limit.name()))
    }
}

fn labels(scope: Scope, limit: &'static str) -> Labels {
    Labels {
        scope: scope.name(),
        limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn every_bound_has_its_value_and_its_hits() {
        let metrics = Metrics::default();
        metrics.state(&Limits::default());
        metrics.hit(Scope::Mesh, Limit::PingFrames, &"a peer");
        let text = text(&metrics);
        for line in [
            "outrigger_limit{scope=\"edge\",limit=\"header_count\"} 100.0",
            "outrigger_limit{scope=\"local\",limit=\"preface\"} 5.0",
            "outrigger_limit_hits_total{scope=\"mesh\",limit=\"ping_frames\"} 1",
            "outrigger_limit_hits_total{scope=\"edge\",limit=\"ping_frames\"} 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    /// A row that is not only flow control is met by name.
    #[test]
    fn what_a_row_bounds_is_what_is_counted() {
        let uncounted = [
            "stream_window",
            "known_stream_window",
            "connection_window",
            "reset_memory",
        ];
        for row in ROWS.iter().filter(|row| !uncounted.contains(&row.name)) {
            assert!(
                Limit::ALL.iter().any(|limit| limit.name() == row.name),
                "{}",
                row.name
            );
        }
    }
}
