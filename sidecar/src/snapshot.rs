//! What we believe: the process-wide state every data-plane thread reads and the control side replaces.
//!
//! Each part is immutable behind an `ArcSwap`; the last good one serves on, for ever. The data path never waits for the control side,
//! except a first call that waits for the first snapshot within its fail-fast time.

mod metrics;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::attempt::budget::Budget;
use crate::attempt::buffer::Account;
use crate::balance::endpoint::Endpoint;
use crate::config::{self, Config};
use crate::connect;
use crate::contract::Contract;
use crate::http2::meter::Limit;
use crate::intention::Intentions;
use crate::memory::Guard;
use crate::observe::lines::Lines;
use crate::observe::metrics::Metrics;
use crate::observe::trace::Exporter;
use crate::opaque;
use crate::route::chain::Chain;

/// Why the shared state could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "cannot read the contract {path}: {source}; check that the file exists and is readable"
    )]
    ReadContract {
        path: String,
        source: std::io::Error,
    },
    #[error(transparent)]
    Bounds(#[from] config::Error),
    #[error("cannot decode the contract {path}: {source}")]
    DecodeContract {
        path: String,
        source: crate::contract::Error,
    },
}

/// Process-wide state: configuration, snapshots, metrics.
#[derive(Debug)]
pub struct Shared {
    pub config: Arc<Config>,
    pub ready: Ready,
    /// The application's own name.
    pub service: Arc<str>,
    /// What the application itself promises.
    pub contract: Contract,
    /// Who may be called: declared in the configuration, nobody else.
    pub upstreams: BTreeMap<Arc<str>, Arc<Upstream>>,
    /// Who may call us; `None` until the registry answered: then everything is denied.
    pub intentions: ArcSwapOption<Intentions>,
    pub metrics: Metrics,
    pub(crate) opaque: opaque::Metrics,
    pub traces: Exporter,
    pub clock: Clock,
    /// How much memory is left, and what every connection counts on.
    pub memory: Arc<Guard>,
    /// Request bytes kept for repeats, over all calls.
    pub retry_bytes: Arc<Account>,
    pub ages: Ages,
    lines: Lines,
    draining: AtomicBool,
    trust_domain: ArcSwapOption<String>,
    epoch: watch::Sender<u64>,
}

/// A declared upstream and what is known of it.
#[derive(Debug)]
pub struct Upstream {
    pub name: Arc<str>,
    pub contract: Contract,
    /// Where its calls go; `None` until the registry answered.
    pub chain: ArcSwapOption<Chain>,
    pub budget: Budget,
    /// Calls that wait for a ready endpoint, over all threads.
    pub waiting: AtomicU32,
}

/// One target of a chain and its instances. Kept by id, so that endpoints survive a change of the chain.
#[derive(Debug)]
pub struct Target {
    pub id: Arc<str>,
    pub service: Arc<str>,
    /// `None` until the registry answered.
    pub endpoints: ArcSwapOption<Vec<Arc<Endpoint>>>,
}

/// Milliseconds since the process began, for state kept in atomics.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

/// When each kind of watch was last confirmed by the registry.
#[derive(Debug, Default)]
pub struct Ages {
    /// By kind of watch and what is watched.
    confirmed: Mutex<BTreeMap<(&'static str, Arc<str>), Instant>>,
    pub errors: AtomicU64,
    pub watches: AtomicU64,
}

/// Which conditions of readiness hold; the health port reads them.
#[derive(Debug, Default)]
pub struct Ready {
    /// The registry answered once for every declared upstream and for the intentions.
    pub(crate) snapshot: AtomicBool,
    /// Application and proxy are in the registry with a passing check.
    pub(crate) registered: AtomicBool,
    /// The application's check passes now.
    pub(crate) application: AtomicBool,
}

/// What one data-plane thread owns besides [`Shared`].
#[derive(Debug)]
pub struct Thread {
    pub shared: Arc<Shared>,
    pub pool: Rc<connect::Pool>,
    pub application: Option<Rc<connect::Application>>,
}

// === impl Shared ===

impl Shared {
    /// Reads the contracts the configuration names; everything else starts empty.
    pub fn new(config: Arc<Config>) -> Result<Arc<Self>, Error> {
        let now = Instant::now();
        let read = |path: &Option<std::path::PathBuf>| {
            path.as_deref()
                .map_or_else(|| Ok(Contract::default()), read_contract)
        };
        let contract = config.application.as_ref().map_or_else(
            || Ok(Contract::default()),
            |application| read(&application.contract),
        )?;
        let mut upstreams = BTreeMap::new();
        for upstream in &config.upstreams {
            let name: Arc<str> = upstream.name.as_str().into();
            upstreams.insert(
                name.clone(),
                Arc::new(Upstream::new(name, read(&upstream.contract)?, now)),
            );
        }
        let memory = Guard::new(&config.limits, config.edge.is_some())?;
        let traces = Exporter::from_environment(&config.service, &config.instance, &config.version);
        Ok(Arc::new(Self {
            service: config.service.as_str().into(),
            ready: Ready::default(),
            contract,
            upstreams,
            intentions: ArcSwapOption::empty(),
            metrics: Metrics::default(),
            opaque: opaque::Metrics::default(),
            traces,
            lines: Lines::new(memory.bounds().access_log, now),
            memory,
            clock: Clock(now),
            retry_bytes: Arc::default(),
            ages: Ages::default(),
            draining: AtomicBool::new(false),
            trust_domain: ArcSwapOption::empty(),
            epoch: watch::Sender::new(0),
            config,
        }))
    }

    /// Registers all metrics of routing, calls and snapshots.
    pub fn register(self: &Arc<Self>, registry: &mut prometheus_client::registry::Registry) {
        self.metrics.register(registry);
        self.opaque.register(registry);
        registry.register_collector(Box::new(metrics::State(self.clone())));
    }

    /// Whether a call that was over then is logged.
    pub(crate) fn may_log(&self, now: Instant) -> bool {
        let may = self.lines.take(now);
        if !may {
            self.memory.metrics().hit_process(Limit::AccessLog);
        }
        may
    }

    /// Called by the identity source whenever the roots name the trust domain.
    pub fn set_trust_domain(&self, trust_domain: &str) {
        let trust_domain = trust_domain.to_ascii_lowercase();
        if self
            .trust_domain
            .load()
            .as_ref()
            .is_none_or(|known| **known != trust_domain)
        {
            self.trust_domain.store(Some(Arc::new(trust_domain)));
            self.touch();
        }
    }

    pub fn trust_domain(&self) -> Option<Arc<String>> {
        self.trust_domain.load_full()
    }

    /// Changes whenever any snapshot was replaced.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }

    pub(crate) fn touch(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Whether this sidecar is leaving.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Sends the last spans. Blocks up to two seconds: call it on a thread that may.
    pub fn shut_down_telemetry(&self) {
        self.traces.shut_down();
    }
}

fn read_contract(path: &std::path::Path) -> Result<Contract, Error> {
    let shown = || path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| Error::ReadContract {
        path: shown(),
        source,
    })?;
    Contract::decode(&bytes).map_err(|source| Error::DecodeContract {
        path: shown(),
        source,
    })
}

// === impl Upstream ===

impl Upstream {
    pub fn new(name: Arc<str>, contract: Contract, now: Instant) -> Self {
        Self {
            name,
            contract,
            chain: ArcSwapOption::empty(),
            budget: Budget::new(crate::attempt::budget::Config::default(), now),
            waiting: AtomicU32::new(0),
        }
    }
}

// === impl Target ===

impl Target {
    pub fn new(id: &str, service: &str) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            service: service.into(),
            endpoints: ArcSwapOption::empty(),
        })
    }
}

// === impl Clock ===

impl Clock {
    pub fn new(start: Instant) -> Self {
        Self(start)
    }

    pub fn millis(self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.0).as_millis()).unwrap_or(u64::MAX)
    }

    /// The same, wrapping after 49 days.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "wraps on purpose; readers compare differences"
    )]
    pub fn short_millis(self, now: Instant) -> u32 {
        self.millis(now) as u32
    }
}

// === impl Ages ===

impl Ages {
    /// Notes that the registry confirmed this watch's value at `at`.
    pub(crate) fn confirm(&self, kind: &'static str, what: &Arc<str>, at: Instant) {
        self.lock().insert((kind, what.clone()), at);
    }

    /// The watch has ended.
    pub(crate) fn forget(&self, kind: &'static str, what: &Arc<str>) {
        self.lock().remove(&(kind, what.clone()));
    }

    /// Kind of watch and how old the oldest value of that kind is.
    pub fn read(&self, now: Instant) -> Vec<(String, Duration)> {
        let mut oldest: BTreeMap<&str, Duration> = BTreeMap::new();
        for ((kind, _), at) in self.lock().iter() {
            let age = now.saturating_duration_since(*at);
            let known = oldest.entry(kind).or_default();
            *known = age.max(*known);
        }
        oldest
            .into_iter()
            .map(|(kind, age)| (kind.to_owned(), age))
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(&'static str, Arc<str>), Instant>> {
        self.confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Ready ===

impl Ready {
    pub fn has_snapshot(&self) -> bool {
        self.snapshot.load(Ordering::Acquire)
    }

    pub fn is_registered(&self) -> bool {
        self.registered.load(Ordering::Acquire)
    }

    pub fn application_passes(&self) -> bool {
        self.application.load(Ordering::Acquire)
    }
}

// === impl Thread ===

impl Thread {
    pub fn new(
        shared: Arc<Shared>,
        pool: Rc<connect::Pool>,
        application: Option<Rc<connect::Application>>,
    ) -> Rc<Self> {
        Rc::new(Self {
            shared,
            pool,
            application,
        })
    }
}
