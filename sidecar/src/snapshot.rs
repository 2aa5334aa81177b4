//! What we believe: the process-wide state every data-plane thread reads and the control side replaces.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use crate::config::Config;
use crate::connect;

/// Why the shared state could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the contract {path}: {source}; check that the file exists and is readable")]
    ReadContract { path: String, source: std::io::Error },
    #[error("cannot decode the contract {path}: {detail}; it must be a protobuf FileDescriptorSet")]
    DecodeContract { path: String, detail: String },
}

/// Process-wide state: configuration, snapshots, metrics.
#[derive(Debug)]
pub struct Shared {
    pub config: Arc<Config>,
    pub ready: Ready,
    trust_domain: ArcSwapOption<String>,
    epoch: watch::Sender<u64>,
}

/// Which conditions of readiness hold; the health port reads them.
#[derive(Debug, Default)]
pub struct Ready {
    /// The registry answered once for every declared upstream and for the intentions.
    snapshot: AtomicBool,
    /// Application and proxy are in the registry with a passing check.
    registered: AtomicBool,
    /// The application's check passes now.
    application: AtomicBool,
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
        Ok(Arc::new(Self { config, ready: Ready::default(), trust_domain: ArcSwapOption::empty(), epoch: watch::Sender::new(0) }))
    }

    /// Called by the identity source whenever the roots name the trust domain.
    pub fn set_trust_domain(&self, trust_domain: &str) {
        self.trust_domain.store(Some(Arc::new(trust_domain.to_ascii_lowercase())));
        self.touch();
    }

    /// Changes whenever any snapshot was replaced.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }

    pub(crate) fn touch(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
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
    pub fn new(shared: Arc<Shared>, pool: Rc<connect::Pool>, application: Option<Rc<connect::Application>>) -> Rc<Self> {
        Rc::new(Self { shared, pool, application })
    }
}
