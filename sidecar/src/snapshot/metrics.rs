//! Gauges read from the state they describe when they are scraped, never set on transitions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::time::Instant;

use super::Shared;
use crate::breaker::Mode;
use crate::observe::metrics::Labels;

/// Estimates are shown per endpoint only while a service has few.
const SHOWN_ENDPOINTS: usize = 64;

#[derive(Debug)]
pub(super) struct State(pub(super) Arc<Shared>);

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let shared = &self.0;
        let now = Instant::now();
        let one = |kind: &'static str, value: String| vec![(kind, value)];
        let ages: Vec<(Labels, f64)> = shared
            .ages
            .read(now)
            .into_iter()
            .map(|(kind, age)| (one("watch", kind), age.as_secs_f64()))
            .collect();
        gauges(
            &mut encoder,
            "outrigger_snapshot_age_seconds",
            "Time since the registry last confirmed what we believe",
            &ages,
        )?;
        let plain = |value: f64| vec![(Labels::new(), value)];
        gauges(
            &mut encoder,
            "outrigger_watches",
            "Watches that run at the registry",
            &plain(shared.ages.watches.load(Ordering::Relaxed) as f64),
        )?;
        let errors = plain(shared.ages.errors.load(Ordering::Relaxed) as f64);
        gauges(
            &mut encoder,
            "outrigger_watch_errors",
            "Failed answers of the registry",
            &errors,
        )?;
        gauges(
            &mut encoder,
            "outrigger_retry_buffer_bytes",
            "Request bytes kept for a repeat",
            &plain(shared.retry_bytes.used() as f64),
        )?;
        let budgets: Vec<(Labels, f64)> = shared
            .upstreams
            .values()
            .map(|upstream| {
                (
                    one("service", upstream.name.to_string()),
                    upstream.budget.remaining(now) as f64,
                )
            })
            .collect();
        gauges(
            &mut encoder,
            "outrigger_retry_budget_remaining",
            "Repeats the budget would still allow",
            &budgets,
        )?;
        let endpoints = Endpoints::read(shared, now);
        gauges(
            &mut encoder,
            "outrigger_balance_endpoints",
            "Endpoints by state",
            &endpoints.states,
        )?;
        gauges(
            &mut encoder,
            "outrigger_balance_latency_seconds",
            "Estimated latency of an endpoint",
            &endpoints.latencies,
        )?;
        gauges(
            &mut encoder,
            "outrigger_breaker_state",
            "0 closed, 1 open, 2 half-open",
            &endpoints.breakers,
        )
    }
}

#[derive(Default)]
struct Endpoints {
    states: Vec<(Labels, f64)>,
    latencies: Vec<(Labels, f64)>,
    breakers: Vec<(Labels, f64)>,
}

impl Endpoints {
    fn read(shared: &Shared, now: Instant) -> Self {
        let mut read = Self::default();
        for upstream in shared.upstreams.values() {
            let Some(chain) = upstream.chain.load_full() else {
                continue;
            };
            let (mut healthy, mut unhealthy, mut ejected) = (0, 0, 0);
            let mut seen = std::collections::BTreeSet::new();
            for endpoint in chain
                .targets
                .iter()
                .filter_map(|target| target.endpoints.load_full())
                .flat_map(|endpoints| endpoints.to_vec())
            {
                if !seen.insert(endpoint.id.clone()) {
                    continue;
                }
                let mode = endpoint.state.breaker.state().mode;
                match (endpoint.healthy, mode) {
                    (false, _) => unhealthy += 1,
                    (true, Mode::Closed) => healthy += 1,
                    (true, Mode::Open | Mode::HalfOpen) => ejected += 1,
                }
                if seen.len() <= SHOWN_ENDPOINTS {
                    let labels = vec![
                        ("service", upstream.name.to_string()),
                        ("endpoint", endpoint.id.to_string()),
                    ];
                    if let Some(estimate) = endpoint.state.latency.load() {
                        read.latencies.push((
                            labels.clone(),
                            f64::from(estimate.read(shared.clock.short_millis(now))) / 1_000.0,
                        ));
                    }
                    read.breakers.push((labels, [0.0, 1.0, 2.0][mode as usize]));
                }
            }
            for (state, count) in [
                ("healthy", healthy),
                ("unhealthy", unhealthy),
                ("ejected", ejected),
            ] {
                read.states.push((
                    vec![
                        ("service", upstream.name.to_string()),
                        ("state", state.to_owned()),
                    ],
                    f64::from(count),
                ));
            }
        }
        read
    }
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[(Labels, f64)],
) -> Result<(), std::fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        let gauge = ConstGauge::new(*value);
        if labels.is_empty() {
            return gauge.encode(metric);
        }
        gauge.encode(metric.encode_family(labels)?)?;
    }
    Ok(())
}
