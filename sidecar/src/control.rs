//! Who tells us: registration, checks and watches at the registry.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::snapshot::Shared;

/// What the control side needs to start.
#[derive(Debug)]
pub struct Start {
    pub config: Arc<Config>,
    pub addresses: crate::proxy::Addresses,
    pub shared: Arc<Shared>,
    pub client: outrigger_consul::Client,
    pub tracker: TaskTracker,
    pub shutdown: CancellationToken,
}

/// The running control side.
#[derive(Debug)]
pub struct Control {}

impl Control {
    pub fn start(_start: Start) -> Self {
        Self {}
    }

    /// Adds the critical maintenance check, so that callers stop choosing us.
    pub async fn maintenance(&self) {}

    /// Removes proxy, then application, from the registry.
    pub async fn deregister(&self) {}
}
