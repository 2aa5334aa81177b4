//! Metrics of calls and attempts. Labels come from contracts, the configuration and verified certificates only, never from a request.
//!
//! A call resolves its handles once per service and method; a bound on the number of label sets holds whatever a contract says.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hashbrown::{Equivalent, HashMap};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tonic::Code;

use super::{Direction, Facts};
use crate::attempt::safety::Decision;
use crate::grpc::status;
use crate::outcome::{By, Counts, Outcome};

pub(crate) type Labels = Vec<(&'static str, String)>;
/// Handles by direction, service and method.
type Table<H> = HashMap<Key, Arc<H>>;
type Key = (Direction, Arc<str>, Arc<str>);
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Methods with series of their own, over all services; further ones count as `other`.
const MAX_METHODS: usize = 500;

const LATENCY: [f64; 40] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_3, 0.000_6, 0.000_8, 0.001, 0.002, 0.003, 0.004, 0.005,
    0.006, 0.008, 0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16,
    0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
];
const SIZE: [f64; 13] = [
    1024.0,
    2048.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];

/// Finds handles without a copy of their key.
#[derive(Hash)]
struct Wanted<'a>(Direction, &'a str, &'a str);

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, (direction, service, method): &Key) -> bool {
        self.0 == *direction && self.1 == &**service && self.2 == &**method
    }
}

/// All metrics of calls.
#[derive(Clone, Debug)]
pub struct Metrics {
    attempt_started: Family<Labels, Counter>,
    attempt_duration: Histograms,
    attempt_sent: Histograms,
    attempt_received: Histograms,
    call_duration: Histograms,
    call_retries: Histograms,
    call_transparent_retries: Histograms,
    call_retry_delay: Histograms,
    server_started: Family<Labels, Counter>,
    server_duration: Histograms,
    server_sent: Histograms,
    server_received: Histograms,
    outcomes: Family<Labels, Counter>,
    messages: Family<Labels, Counter>,
    streams: Family<Labels, Gauge>,
    decisions: Family<Labels, Counter>,
    draws: Family<Labels, Counter>,
    transitions: Family<Labels, Counter>,
    ejections: Family<Labels, Counter>,
    overruled: Family<Labels, Counter>,
    authorizations: Family<Labels, Counter>,
    late_answers: Family<Labels, Counter>,
    refused_waiting: Family<Labels, Counter>,
    calls: Arc<Mutex<Table<CallHandles>>>,
    attempts: Arc<Mutex<Table<AttemptHandles>>>,
}

/// The series of one method at one service, one direction.
#[derive(Debug)]
pub struct CallHandles {
    direction: Direction,
    labels: Labels,
    service: Arc<str>,
    method: Arc<str>,
    metrics: MetricsRef,
    duration: Box<[OnceLock<Histogram>; 17]>,
    /// The application's own OK, which most calls end with.
    ok: OnceLock<Counter>,
    /// Calls to the application begun; unused outbound.
    pub started: Counter,
    messages_in: Counter,
    messages_out: Counter,
}

/// The series of attempts of one method at one upstream.
#[derive(Debug)]
pub struct AttemptHandles {
    labels: Labels,
    metrics: MetricsRef,
    started: Counter,
    series: Box<[OnceLock<(Histogram, Histogram, Histogram)>; 17]>,
}

/// The families handles are made from; without the handle tables, or they would own themselves.
type MetricsRef = Arc<Families>;

#[derive(Debug)]
struct Families {
    attempt_duration: Histograms,
    attempt_sent: Histograms,
    attempt_received: Histograms,
    call_duration: Histograms,
    call_retries: Histograms,
    call_transparent_retries: Histograms,
    call_retry_delay: Histograms,
    server_duration: Histograms,
    server_sent: Histograms,
    server_received: Histograms,
    outcomes: Family<Labels, Counter>,
}

/// A call that is open: counted until it is dropped.
#[derive(Debug)]
pub struct Open(Gauge);

// === impl Open ===

impl Open {
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

fn latency() -> Histogram {
    Histogram::new(LATENCY)
}

fn size() -> Histogram {
    Histogram::new(SIZE)
}

fn repeats() -> Histogram {
    Histogram::new([1.0, 2.0, 3.0, 4.0, 5.0])
}

fn transparent() -> Histogram {
    Histogram::new([1.0, 2.0, 3.0, 4.0, 5.0, 10.0])
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        let histograms = |make: fn() -> Histogram| Histograms::new_with_constructor(make);
        Self {
            attempt_started: Family::default(),
            attempt_duration: histograms(latency),
            attempt_sent: histograms(size),
            attempt_received: histograms(size),
            call_duration: histograms(latency),
            call_retries: histograms(repeats),
            call_transparent_retries: histograms(transparent),
            call_retry_delay: histograms(latency),
            server_started: Family::default(),
            server_duration: histograms(latency),
            server_sent: histograms(size),
            server_received: histograms(size),
            outcomes: Family::default(),
            messages: Family::default(),
            streams: Family::default(),
            decisions: Family::default(),
            draws: Family::default(),
            transitions: Family::default(),
            ejections: Family::default(),
            overruled: Family::default(),
            authorizations: Family::default(),
            late_answers: Family::default(),
            refused_waiting: Family::default(),
            calls: Arc::default(),
            attempts: Arc::default(),
        }
    }
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        self.register_histograms(registry);
        self.register_counters(registry);
        registry.register(
            "outrigger_streams_open",
            "Calls open now",
            self.streams.clone(),
        );
    }

    fn register_histograms(&self, registry: &mut Registry) {
        let mut histogram = |name: &str, help: &str, family: &Histograms| {
            registry.register(name, help, family.clone());
        };
        histogram(
            "grpc_client_attempt_duration_seconds",
            "Time of an attempt until its stream ended",
            &self.attempt_duration,
        );
        histogram(
            "grpc_client_attempt_sent_total_compressed_message_size_bytes",
            "Bytes sent in an attempt",
            &self.attempt_sent,
        );
        histogram(
            "grpc_client_attempt_rcvd_total_compressed_message_size_bytes",
            "Bytes received in an attempt",
            &self.attempt_received,
        );
        histogram(
            "grpc_client_call_duration_seconds",
            "Time of a call, all attempts included",
            &self.call_duration,
        );
        histogram(
            "grpc_client_call_retries",
            "Repeats of a call, zero not recorded",
            &self.call_retries,
        );
        histogram(
            "grpc_client_call_transparent_retries",
            "Uncounted repeats of a call, zero not recorded",
            &self.call_transparent_retries,
        );
        histogram(
            "grpc_client_call_retry_delay_seconds",
            "Time a call waited between its attempts",
            &self.call_retry_delay,
        );
        histogram(
            "grpc_server_call_duration_seconds",
            "Time of a call to the application",
            &self.server_duration,
        );
        histogram(
            "grpc_server_call_sent_total_compressed_message_size_bytes",
            "Bytes the application answered",
            &self.server_sent,
        );
        histogram(
            "grpc_server_call_rcvd_total_compressed_message_size_bytes",
            "Bytes the application received",
            &self.server_received,
        );
    }

    fn register_counters(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, family: &Family<Labels, Counter>| {
            registry.register(name, help, family.clone());
        };
        counter(
            "grpc_client_attempt_started",
            "Attempts begun",
            &self.attempt_started,
        );
        counter(
            "grpc_server_call_started",
            "Calls to the application begun",
            &self.server_started,
        );
        counter(
            "outrigger_call_outcomes",
            "Calls by how they ended",
            &self.outcomes,
        );
        counter(
            "outrigger_call_messages",
            "Messages that passed",
            &self.messages,
        );
        counter(
            "outrigger_retry_decisions",
            "What followed a failed attempt",
            &self.decisions,
        );
        counter(
            "outrigger_split_draws",
            "Calls by the leg they were given",
            &self.draws,
        );
        counter(
            "outrigger_breaker_transitions",
            "Changes of a breaker's state",
            &self.transitions,
        );
        counter(
            "outrigger_ejections",
            "Endpoints taken out of the set",
            &self.ejections,
        );
        counter(
            "outrigger_ejections_overruled",
            "Calls to endpoints that the guard kept in the set",
            &self.overruled,
        );
        counter(
            "outrigger_authz_decisions",
            "Decisions on callers",
            &self.authorizations,
        );
        counter(
            "outrigger_deadline_late_answers",
            "Calls that were answered by their deadline",
            &self.late_answers,
        );
        counter(
            "outrigger_admission_refused",
            "Calls refused because too many waited",
            &self.refused_waiting,
        );
    }

    fn families(&self) -> MetricsRef {
        Arc::new(Families {
            attempt_duration: self.attempt_duration.clone(),
            attempt_sent: self.attempt_sent.clone(),
            attempt_received: self.attempt_received.clone(),
            call_duration: self.call_duration.clone(),
            call_retries: self.call_retries.clone(),
            call_transparent_retries: self.call_transparent_retries.clone(),
            call_retry_delay: self.call_retry_delay.clone(),
            server_duration: self.server_duration.clone(),
            server_sent: self.server_sent.clone(),
            server_received: self.server_received.clone(),
            outcomes: self.outcomes.clone(),
        })
    }

    /// The series of one method; resolved once.
    pub fn call(
        &self,
        direction: Direction,
        service: &Arc<str>,
        method: &Arc<str>,
    ) -> Arc<CallHandles> {
        let mut known = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handles) = known.get(&Wanted(direction, service, method)) {
            return handles.clone();
        }
        let key = (direction, service.clone(), method.clone());
        let method: Arc<str> = if known.len() >= MAX_METHODS {
            "other".into()
        } else {
            method.clone()
        };
        let labels = match direction {
            Direction::Outbound => vec![
                ("grpc_method", method.to_string()),
                ("grpc_target", format!("outrigger:///{service}")),
            ],
            Direction::Inbound | Direction::Edge => labels_of(&method),
        };
        let way = |way: &str| {
            let labels = vec![
                ("direction", direction.name().to_owned()),
                ("service", service.to_string()),
                ("grpc_method", method.to_string()),
                ("way", way.to_owned()),
            ];
            self.messages.get_or_create_owned(&labels)
        };
        let (messages_in, messages_out) = (way("request"), way("response"));
        let shown = method.clone();
        let handles = Arc::new(CallHandles {
            direction,
            labels,
            service: service.clone(),
            method,
            metrics: self.families(),
            duration: Box::new(std::array::from_fn(|_| OnceLock::new())),
            ok: OnceLock::new(),
            started: self.server_started.get_or_create_owned(&labels_of(&shown)),
            messages_in,
            messages_out,
        });
        if known.len() < MAX_METHODS * 2 {
            known.insert(key, handles.clone());
        }
        handles
    }

    /// The series of the attempts of one method; resolved once.
    pub fn attempt(&self, service: &Arc<str>, method: &Arc<str>) -> Arc<AttemptHandles> {
        let mut known = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handles) = known.get(&Wanted(Direction::Outbound, service, method)) {
            return handles.clone();
        }
        let key = (Direction::Outbound, service.clone(), method.clone());
        let shown: &str = if known.len() >= MAX_METHODS {
            "other"
        } else {
            method
        };
        let labels = vec![
            ("grpc_method", shown.to_owned()),
            ("grpc_target", format!("outrigger:///{service}")),
        ];
        let handles = Arc::new(AttemptHandles {
            started: self.attempt_started.get_or_create_owned(&labels),
            labels,
            metrics: self.families(),
            series: Box::new(std::array::from_fn(|_| OnceLock::new())),
        });
        if known.len() < MAX_METHODS * 2 {
            known.insert(key, handles.clone());
        }
        handles
    }

    /// Calls of one direction that are open now.
    pub fn streams(&self, direction: Direction, service: &str) -> Gauge {
        self.streams.get_or_create_owned(&vec![
            ("direction", direction.name().to_owned()),
            ("service", service.to_owned()),
        ])
    }

    pub fn decision(&self, service: &str, decision: Decision) {
        self.decisions
            .get_or_create(&vec![
                ("service", service.to_owned()),
                ("decision", decision.name().to_owned()),
            ])
            .inc();
    }

    pub fn draw(&self, service: &str, leg: &str, how: &str) {
        self.draws
            .get_or_create(&vec![
                ("service", service.to_owned()),
                ("leg", leg.to_owned()),
                ("how", how.to_owned()),
            ])
            .inc();
    }

    pub fn transition(&self, service: &str, endpoint: &str, to: &str) {
        self.transitions
            .get_or_create(&vec![
                ("service", service.to_owned()),
                ("endpoint", endpoint.to_owned()),
                ("to", to.to_owned()),
            ])
            .inc();
        if to == "open" {
            self.ejections
                .get_or_create(&vec![
                    ("service", service.to_owned()),
                    ("cause", "breaker".to_owned()),
                ])
                .inc();
        }
    }

    pub fn overruled(&self, service: &str) {
        self.overruled
            .get_or_create(&vec![("service", service.to_owned())])
            .inc();
    }

    /// `peer` is a verified certificate's service, or `other`.
    pub fn authorization(&self, peer: &str, decision: &str) -> Counter {
        self.authorizations.get_or_create_owned(&vec![
            ("peer", peer.to_owned()),
            ("decision", decision.to_owned()),
        ])
    }

    pub fn late_answer(&self, service: &str) {
        self.late_answers
            .get_or_create(&vec![("service", service.to_owned())])
            .inc();
    }

    pub fn refused_waiting(&self, service: &str, reason: &str) {
        self.refused_waiting
            .get_or_create(&vec![
                ("direction", "outbound".to_owned()),
                ("service", service.to_owned()),
                ("reason", reason.to_owned()),
            ])
            .inc();
    }
}

// === impl CallHandles ===

impl CallHandles {
    /// Records a call that is over.
    pub fn finish(&self, outcome: &Outcome, facts: &Facts) {
        let families = &self.metrics;
        let (sent, received) = (facts.sent(), outcome.received);
        self.messages_in.inc_by(sent.messages);
        self.messages_out.inc_by(received.messages);
        if outcome.is_ok() && outcome.by == By::App {
            self.ok
                .get_or_init(|| {
                    families
                        .outcomes
                        .get_or_create_owned(&self.outcome(outcome))
                })
                .inc();
        } else {
            families
                .outcomes
                .get_or_create(&self.outcome(outcome))
                .inc();
        }
        let seconds = outcome.elapsed.as_secs_f64();
        if self.direction == Direction::Outbound {
            self.duration(outcome.code, &families.call_duration)
                .observe(seconds);
            let observe = |family: &Histograms, value: f64| {
                if value > 0.0 {
                    family.get_or_create(&self.labels).observe(value);
                }
            };
            let transparent = facts.transparent.get();
            observe(
                &families.call_retries,
                f64::from(facts.attempts.get().saturating_sub(1 + transparent)),
            );
            observe(&families.call_transparent_retries, f64::from(transparent));
            observe(
                &families.call_retry_delay,
                facts.retry_delay.get().as_secs_f64(),
            );
        } else {
            self.duration(outcome.code, &families.server_duration)
                .observe(seconds);
            let labels = with_status(&self.labels, outcome.code);
            observe_bytes(&families.server_received, &labels, sent);
            observe_bytes(&families.server_sent, &labels, received);
        }
    }

    fn outcome(&self, outcome: &Outcome) -> Labels {
        vec![
            ("direction", self.direction.name().to_owned()),
            ("service", self.service.to_string()),
            ("grpc_method", self.method.to_string()),
            ("grpc_status", status::name(outcome.code).to_owned()),
            ("reason", outcome.reason_flag().to_owned()),
            ("by", outcome.by.name().to_owned()),
        ]
    }

    fn duration(&self, code: Code, family: &Histograms) -> &Histogram {
        self.duration[code as usize]
            .get_or_init(|| family.get_or_create_owned(&with_status(&self.labels, code)))
    }
}

// === impl AttemptHandles ===

impl AttemptHandles {
    pub fn start(&self) {
        self.started.inc();
    }

    /// Records an attempt that is over.
    pub fn finish(&self, code: Code, elapsed: Duration, sent: Counts, received: Counts) {
        let (duration, out, back) = self.series[code as usize].get_or_init(|| {
            let labels = with_status(&self.labels, code);
            (
                self.metrics.attempt_duration.get_or_create_owned(&labels),
                self.metrics.attempt_sent.get_or_create_owned(&labels),
                self.metrics.attempt_received.get_or_create_owned(&labels),
            )
        });
        duration.observe(elapsed.as_secs_f64());
        out.observe(sent.bytes as f64);
        back.observe(received.bytes as f64);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn labels_of(method: &str) -> Labels {
    vec![("grpc_method", method.to_owned())]
}

fn with_status(labels: &Labels, code: Code) -> Labels {
    let mut labels = labels.clone();
    labels.push(("grpc_status", status::name(code).to_owned()));
    labels
}

fn observe_bytes(family: &Histograms, labels: &Labels, counts: Counts) {
    family.get_or_create(labels).observe(counts.bytes as f64);
}
