//! What a sidecar still waits for, as `/ready` and the log say it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::identity::Current;
use crate::snapshot::Shared;

/// Reads the conditions where they are known; owns only whether we are leaving.
#[derive(Debug)]
pub struct Readiness {
    identity: Arc<Current>,
    shared: Arc<Shared>,
    draining: AtomicBool,
}

// === impl Readiness ===

impl Readiness {
    pub fn new(identity: Arc<Current>, shared: Arc<Shared>) -> Self {
        Self { identity, shared, draining: AtomicBool::new(false) }
    }

    /// From now on `/ready` says no.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
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
