//! Registers us and keeps our checks alive: probes the application every second and feeds the TTLs.
//!
//! A change of health is told at once, an unchanged one every few seconds. A registry that does not know our checks has forgotten us: we
//! register again. Failures are retried every second; nothing here ever gives up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outrigger_consul::check::Status;
use outrigger_consul::{Client, Error};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::probe::Probe;
use super::register::Registration;
use crate::snapshot::Shared;

const EVERY: Duration = Duration::from_secs(1);

/// An unchanged status is repeated this often: well within the TTL.
const REPEAT: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Checks {
    pub(super) client: Client,
    pub(super) shared: Arc<Shared>,
    pub(super) registration: Arc<Registration>,
    /// `None` without an application: we are as healthy as we are alive.
    pub(super) probe: Option<Probe>,
}

/// What the registry was last told.
#[derive(Debug, Default)]
struct Told {
    registered: bool,
    status: Option<Status>,
    at: Option<Instant>,
    failing: bool,
}

impl Checks {
    pub(super) async fn run(mut self, halt: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Told::default();
        loop {
            tokio::select! {
                () = halt.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let (status, output) = match &mut self.probe {
                None => (Status::Passing, "calls others only".to_owned()),
                Some(probe) => match probe.ask().await {
                    Ok(()) => (Status::Passing, "the application answers".to_owned()),
                    Err(why) => (Status::Critical, why),
                },
            };
            let passes = status == Status::Passing;
            if self.shared.ready.application.swap(passes, Ordering::AcqRel) != passes {
                tracing::info!(passes, output, "the application's health changed");
            }
            tokio::select! {
                () = halt.cancelled() => return,
                () = self.tell(&mut told, status, &output) => {}
            }
        }
    }

    async fn tell(&self, told: &mut Told, status: Status, output: &str) {
        let due = told.status != Some(status) || told.at.is_none_or(|at| at.elapsed() >= REPEAT);
        if told.registered && !due {
            return;
        }
        match self.try_tell(told, status, output).await {
            Ok(()) => {
                if told.failing {
                    tracing::info!("the registry answers again");
                }
                *told = Told {
                    registered: true,
                    status: Some(status),
                    at: Some(Instant::now()),
                    failing: false,
                };
                self.shared
                    .ready
                    .registered
                    .store(status == Status::Passing, Ordering::Release);
            }
            Err(error) => {
                // A registry that does not know the check has lost us; anything else may pass.
                if matches!(error, Error::NotFound { .. }) && told.registered {
                    tracing::warn!("the registry does not know us any more; registering again");
                    told.registered = false;
                }
                if !told.failing {
                    tracing::warn!(%error, "cannot tell the registry about us; trying on");
                }
                told.failing = true;
                told.at = None;
            }
        }
    }

    async fn try_tell(&self, told: &Told, status: Status, output: &str) -> Result<(), Error> {
        if !told.registered {
            self.client
                .register_service(&self.registration.application)
                .await?;
            if let Some(proxy) = &self.registration.proxy {
                self.client.register_service(proxy).await?;
            }
        }
        self.client
            .check_update(&self.registration.application_check, status, output)
            .await?;
        if self.registration.proxy.is_some() {
            self.client
                .check_update(
                    &self.registration.proxy_check,
                    Status::Passing,
                    "the sidecar is alive",
                )
                .await?;
        }
        Ok(())
    }
}
