//! Bounds of connections and how often peers met them: `outrigger_limit{scope,limit}`, bytes, counts or seconds,
//! `outrigger_limit_usage{scope,limit}` where there is a level, `outrigger_limit_hits_total{scope,limit}`; and why peers of ours left:
//! `outrigger_peer_goaway_total{code,debug}`. All labels come from closed lists.

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

use super::frame::Code;
use super::meter::Limit;
use crate::config::{Limits, PROCESS_ROWS, Process, ROWS, Scope};
use crate::memory::Account;
use crate::stack::Peer;
use crate::throttle::Shares;

/// The scope of what is nobody's in particular.
pub(crate) const PROCESS: &str = "process";

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
    usage: Family<Labels, Gauge>,
    hits: Family<Labels, Counter>,
    goaways: Family<Farewell, Counter>,
    told: Arc<Mutex<BTreeMap<(&'static str, Limit), Instant>>>,
    /// Bytes that all connections hold; not a metric itself, but wherever this goes they are counted.
    buffered: Arc<Account>,
    /// Likewise: what heads of calls hold.
    headers: Arc<Account>,
    /// Likewise: what is taken of peers that were reported.
    shares: Arc<Shares>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Farewell {
    code: &'static str,
    debug: &'static str,
}

/// Texts of GOAWAY that other implementations send besides ours.
const FAREWELLS: [&str; 6] = [
    "max_age",
    "max_idle",
    "graceful_stop",
    "server_shutting_down",
    "session_timed_out",
    "connection_aging",
];

/// Names of codes (RFC 9113, 7), by number.
const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new(buffered: Arc<Account>, headers: Arc<Account>) -> Self {
        Self {
            buffered,
            headers,
            ..Self::default()
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "outrigger_limit",
            "Bounds of connections and of the process as they are configured",
            self.values.clone(),
        );
        registry.register(
            "outrigger_limit_usage",
            "How much of them is used, where that is a level",
            self.usage.clone(),
        );
        registry.register(
            "outrigger_peer_goaway",
            "Connections of ours whose peer sent GOAWAY",
            self.goaways.clone(),
        );
        registry.register(
            "outrigger_limit_hits",
            "How often a peer met one of them",
            self.hits.clone(),
        );
    }

    /// States what is configured. Every bound has its series from the start, so that a rate over it is never without a beginning.
    pub(crate) fn state(&self, limits: &Limits, process: &Process) {
        for scope in Scope::ALL {
            self.state_scope(scope, limits);
        }
        for row in &PROCESS_ROWS {
            self.value(PROCESS, row.name, process.value(row) as f64);
        }
        for limit in Limit::OF_PROCESS {
            self.hits(PROCESS, limit);
        }
    }

    fn state_scope(&self, scope: Scope, limits: &Limits) {
        let (name, connection) = (scope.name(), limits.of(scope));
        let is_foreign = |limit: &Limit| {
            let row = ROWS.iter().find(|row| row.name == limit.name());
            row.is_some_and(|row| !row.applies_to(scope))
                || Limit::OF_PROCESS.contains(limit)
                || (*limit == Limit::ProtocolDetection && scope != Scope::AppOut)
        };
        for row in ROWS.iter().filter(|row| row.applies_to(scope)) {
            self.value(name, row.name, f64::from(connection.value(row)));
        }
        let times = &limits.connect;
        self.value(name, Limit::Preface.name(), times.preface.as_secs_f64());
        let header_block = times.header_block.as_secs_f64();
        self.value(name, Limit::HeaderBlock.name(), header_block);
        if scope == Scope::AppOut {
            let detection = times.protocol_detection.as_secs_f64();
            self.value(name, Limit::ProtocolDetection.name(), detection);
        }
        for limit in Limit::ALL.iter().filter(|limit| !is_foreign(limit)) {
            self.hits(name, *limit);
        }
    }

    /// A peer met a bound; `value` is what is configured.
    pub(crate) fn hit(&self, scope: Scope, limit: Limit, peer: &impl Debug) {
        self.hit_by(scope.name(), limit, peer);
    }

    /// The same of a connection, which may have met one of the process.
    pub(super) fn met(&self, scope: Scope, limit: Limit, peer: &Peer) {
        match Limit::OF_PROCESS.contains(&limit) {
            true => self.hit_by(PROCESS, limit, peer),
            false => self.hit_by(scope.name(), limit, peer),
        }
        if let (Limit::PrematureResets, Peer::Mesh(peer)) = (limit, peer) {
            self.shares.halve(peer, Instant::now());
        }
    }

    pub(super) fn met_by_upstream(&self, scope: Scope, limit: Limit) {
        let scope = match Limit::OF_PROCESS.contains(&limit) {
            true => PROCESS,
            false => scope.name(),
        };
        self.hit_by(scope, limit, &"an upstream");
    }

    /// What is taken of peers that were reported.
    pub(crate) fn shares(&self) -> &Arc<Shares> {
        &self.shares
    }

    /// A bound of the process was met.
    pub(crate) fn hit_process(&self, limit: Limit) {
        self.hit_by(PROCESS, limit, &"any");
    }

    fn hit_by(&self, scope: &'static str, limit: Limit, peer: &impl Debug) {
        self.hits(scope, limit).inc();
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let last = told.get(&(scope, limit));
        if last.is_none_or(|last| now.saturating_duration_since(*last) >= TOLD_EVERY) {
            told.insert((scope, limit), now);
            let value = self
                .values
                .get_or_create(&labels(scope, limit.name()))
                .get();
            tracing::warn!(
                scope,
                limit = limit.name(),
                value,
                ?peer,
                "a bound was met; told once a minute"
            );
        }
    }

    /// How much of a bound is used.
    pub(crate) fn uses(&self, scope: &'static str, limit: &'static str, level: u64) {
        let level = i64::try_from(level).unwrap_or(i64::MAX);
        self.usage.get_or_create(&labels(scope, limit)).set(level);
    }

    /// The level of a bound, for whoever moves it.
    pub(crate) fn usage(&self, scope: &'static str, limit: &'static str) -> Gauge {
        self.usage.get_or_create_owned(&labels(scope, limit))
    }

    /// Bytes that all connections hold.
    pub(crate) fn buffered(&self) -> &Arc<Account> {
        &self.buffered
    }

    /// What heads of calls hold.
    pub(super) fn headers(&self) -> &Arc<Account> {
        &self.headers
    }

    /// A peer of ours left, and said so.
    pub(super) fn left(&self, code: Code, debug: &'static str) {
        let code = usize::try_from(code.0)
            .ok()
            .and_then(|code| CODES.get(code));
        let code = code.copied().unwrap_or("other");
        self.goaways.get_or_create(&Farewell { code, debug }).inc();
    }

    fn value(&self, scope: &'static str, name: &'static str, value: f64) {
        self.values.get_or_create(&labels(scope, name)).set(value);
    }

    fn hits(&self, scope: &'static str, limit: Limit) -> Counter {
        self.hits.get_or_create_owned(&labels(scope, limit.name()))
    }
}

fn labels(scope: &'static str, limit: &'static str) -> Labels {
    Labels { scope, limit }
}

/// The text of a peer's GOAWAY as a label: one of those we know, or none at all.
pub(super) fn farewell(debug: &[u8]) -> &'static str {
    let ours = Limit::ALL.iter().map(|limit| limit.debug());
    let mut known = ours.chain(FAREWELLS);
    match debug {
        [] => "none",
        _ => known
            .find(|text| text.as_bytes() == debug)
            .unwrap_or("other"),
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
        metrics.state(&Limits::default(), &Process::default());
        metrics.hit(Scope::Mesh, Limit::PingFrames, &"a peer");
        let text = text(&metrics);
        for line in [
            "outrigger_limit{scope=\"edge\",limit=\"header_count\"} 100.0",
            "outrigger_limit{scope=\"app_in\",limit=\"preface\"} 5.0",
            "outrigger_limit{scope=\"app_out\",limit=\"protocol_detection\"} 5.0",
            "outrigger_limit_hits_total{scope=\"app_out\",limit=\"protocol_detection\"} 0",
            "outrigger_limit_hits_total{scope=\"mesh\",limit=\"ping_frames\"} 1",
            "outrigger_limit_hits_total{scope=\"edge\",limit=\"ping_frames\"} 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_peers_last_words_are_told_by_a_closed_list() {
        let metrics = Metrics::default();
        for (code, debug) in [
            (11, "too_many_pings"),
            (11, "x\ny"),
            (77, ""),
            (0, "max_age"),
        ] {
            metrics.left(Code(code), farewell(debug.as_bytes()));
        }
        let text = text(&metrics);
        for labels in [
            "{code=\"ENHANCE_YOUR_CALM\",debug=\"too_many_pings\"} 1",
            "{code=\"ENHANCE_YOUR_CALM\",debug=\"other\"} 1",
            "{code=\"other\",debug=\"none\"} 1",
            "{code=\"NO_ERROR\",debug=\"max_age\"} 1",
        ] {
            let line = format!("outrigger_peer_goaway_total{labels}");
            assert!(text.contains(&line), "{line}\n{text}");
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
