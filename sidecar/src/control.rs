//! Who tells us: registration, checks and watches at the registry. Never on the data path.
//!
//! What the registry says replaces parts of `crate::snapshot::Shared`; what it fails to say takes nothing away. A registry that
//! forgot us (a fresh one under the same address) gets the registration again.

mod check;

mod endpoints;

mod probe;

mod register;

mod watch;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outrigger_consul::Client;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::proxy::Addresses;
use crate::snapshot::Shared;
use register::Registration;

/// What leaving may take: the process ends anyway, and checks expire by themselves.
const LEAVE: Duration = Duration::from_secs(2);

/// What the control side needs to start.
#[derive(Debug)]
pub struct Start {
    pub config: Arc<Config>,
    pub addresses: Addresses,
    pub shared: Arc<Shared>,
    pub client: Client,
    pub tracker: TaskTracker,
    pub shutdown: CancellationToken,
}

/// The running control side.
#[derive(Debug)]
pub struct Control {
    client: Client,
    registration: Arc<Registration>,
    shared: Arc<Shared>,
    halt: CancellationToken,
    /// Ends once the registering task has stopped.
    registering: TaskTracker,
}

impl Control {
    /// Starts all loops on the current runtime; they end with `shutdown`, or when the sidecar deregisters.
    pub fn start(start: Start) -> Self {
        let halt = start.shutdown.child_token();
        let registration = Arc::new(Registration::new(&start.config, &start.addresses));
        let watches = watch::Watches {
            client: start.client.clone(),
            shared: start.shared.clone(),
            tracker: start.tracker.clone(),
            halt: halt.clone(),
            states: Arc::default(),
        };
        let definition = registration
            .proxy
            .as_ref()
            .map(|proxy| watches.definition(&proxy.id));
        watches.intentions();
        for upstream in start.shared.upstreams.values() {
            watches.upstream(upstream, definition.clone());
        }
        let registering = TaskTracker::new();
        let checks = check::Checks {
            client: start.client.clone(),
            shared: start.shared.clone(),
            registration: registration.clone(),
            probe: start.config.application.as_ref().map(probe::Probe::new),
        };
        start
            .tracker
            .spawn(registering.track_future(checks.run(halt.clone())));
        registering.close();
        watch::refresh_ready(&start.shared);
        Self {
            client: start.client,
            registration,
            shared: start.shared,
            halt,
            registering,
        }
    }

    /// Adds the critical maintenance check, so that callers stop choosing us. Calls are still served.
    pub async fn maintenance(&self) {
        self.shared.set_draining();
        let leave = async {
            for id in self.registration.ids() {
                if let Err(error) = self.client.service_maintenance(id, true, "draining").await {
                    tracing::warn!(%error, id, "maintenance mode could not be set; callers learn of the drain by GOAWAY only");
                }
            }
        };
        if timeout(LEAVE, leave).await.is_err() {
            tracing::warn!(
                "the registry did not answer in time; callers learn of the drain by GOAWAY only"
            );
        }
    }

    /// Another process of the same instance is registered in our place: it feeds the checks from now on.
    pub async fn hand_over(&self) {
        self.halt.cancel();
        if timeout(LEAVE, self.registering.wait()).await.is_err() {
            tracing::warn!("the registry did not answer in time");
        }
    }

    /// Ends the checks, then removes proxy and application from the registry.
    pub async fn deregister(&self) {
        self.shared.set_draining();
        self.shared.ready.registered.store(false, Ordering::Release);
        self.halt.cancel();
        let leave = async {
            // Or the running check would register us again.
            self.registering.wait().await;
            for id in self.registration.ids() {
                match self.client.deregister_service(id).await {
                    Ok(()) | Err(outrigger_consul::Error::NotFound { .. }) => {}
                    Err(error) => {
                        tracing::warn!(%error, id, "could not deregister; the check will expire");
                    }
                }
            }
        };
        if timeout(LEAVE, leave).await.is_err() {
            tracing::warn!("the registry did not answer in time; the checks will expire");
        }
    }
}
