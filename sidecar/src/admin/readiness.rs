//! What a sidecar still waits for, as `/ready` and the log say it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::identity::Current;
use crate::snapshot::Shared;

/// While something is missing it is said this often.
const TOLD_EVERY: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Reads the conditions where they are known; owns only whether we are leaving.
#[derive(Debug)]
pub struct Readiness {
    identity: Arc<Current>,
    shared: Arc<Shared>,
    draining: AtomicBool,
    since: Instant,
}

// === impl Readiness ===

impl Readiness {
    pub fn new(identity: Arc<Current>, shared: Arc<Shared>) -> Self {
        Self {
            identity,
            shared,
            draining: AtomicBool::new(false),
            since: Instant::now(),
        }
    }

    /// From now on `/ready` says no.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Since when this process runs.
    pub fn since(&self) -> Duration {
        self.since.elapsed()
    }

    /// Says every 10 s in the log what is missing, until nothing is. Never ends.
    pub async fn narrate(&self) {
        let mut told = Vec::new();
        let mut last = Instant::now();
        loop {
            let missing = self.missing();
            if missing != told || (!missing.is_empty() && last.elapsed() >= TOLD_EVERY) {
                if missing.is_empty() {
                    tracing::info!("ready");
                } else {
                    tracing::info!(waiting_for = ?missing, since = ?self.since(), "not ready yet");
                }
                told = missing;
                last = Instant::now();
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Ready when nothing is missing.
    pub async fn ready(&self) {
        while !self.missing().is_empty() {
            sleep(LOOK_EVERY).await;
        }
    }

    /// What `/ready` waits for; empty = ready.
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = self.missing_outbound();
        if self.shared.config.application.is_some() && !self.shared.ready.application_passes() {
            missing.push("application");
        }
        if !self.shared.ready.is_registered() {
            missing.push("registered");
        }
        if self.draining.load(Ordering::Acquire) {
            missing.push("draining");
        }
        missing
    }

    /// What `/ready/outbound` waits for; empty = the application can call others.
    pub fn missing_outbound(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if self.identity.load().is_none() {
            missing.push("identity");
        }
        if !self.shared.ready.has_snapshot() {
            missing.push("snapshot");
        }
        missing
    }
}
