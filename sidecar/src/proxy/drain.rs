//! Leaving in order, so that no call is lost: callers hear of it, then GOAWAY, then calls in progress end, then the rest is cut; our own
//! application keeps calling others until its connections are gone; the registry forgets us last.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shutdown;
use crate::admin::Readiness;
use crate::config::Drain;
use crate::control::Control;
use crate::http2::server::Ending;

/// What a cut gets to write its last trailers.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Listeners that end together, with what arrived on them.
#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    /// Nothing more is accepted; connections say GOAWAY.
    pub(super) leave: CancellationToken,
    /// Connections end.
    pub(super) cut: CancellationToken,
    pub(super) accepting: TaskTracker,
    /// Connections and calls.
    pub(super) tasks: TaskTracker,
}

/// What the threads are told.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    /// Mesh and edge listeners.
    pub(super) inbound: Class,
    /// Our application's.
    pub(super) outbound: Class,
    /// Calls the application still works on end as `cut`.
    pub(super) cut_application: CancellationToken,
    /// Calls of ours that others still work on end as `cut`.
    pub(super) cut_pool: CancellationToken,
    pub(super) stop: CancellationToken,
}

// === impl Class ===

impl Class {
    pub(super) fn ending(
        &self,
    ) -> Ending<impl Future<Output = ()> + use<>, impl Future<Output = ()> + use<>> {
        Ending {
            leave: self.leave.clone().cancelled_owned(),
            cut: self.cut.clone().cancelled_owned(),
        }
    }

    /// True when every connection ended by itself.
    async fn ended_by(&self, deadline: Instant) -> bool {
        self.tasks.close();
        timeout_at(deadline, self.tasks.wait()).await.is_ok()
    }

    async fn end(&self) {
        self.leave.cancel();
        self.cut.cancel();
        self.accepting.close();
        let ending = async { tokio::join!(self.accepting.wait(), self.tasks.wait()) };
        if timeout(LAST_WORDS, ending).await.is_err() {
            tracing::debug!("connections were still closing");
        }
    }
}

/// Why a sidecar leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The instance is going.
    Leaving,
    /// Another process has its sockets: nobody has to move on, only connections do.
    Replaced,
}

/// Runs the order; bounded by propagation and grace, except that the registry may take a moment to answer.
pub(super) async fn drain(
    config: &Drain,
    how: How,
    signals: &Signals,
    control: &Control,
    readiness: &Readiness,
    shutdown: &Shutdown,
) {
    tracing::info!(?how, propagation = ?config.propagation, grace = ?config.grace, "leaving");
    let order = async {
        match how {
            How::Leaving => {
                readiness.drain();
                in_order(config, signals, control, &shutdown.propagated).await;
            }
            How::Replaced => replaced(config, signals, control).await,
        }
    };
    tokio::select! {
        biased;
        () = shutdown.hurry.cancelled() => tracing::info!("what is in progress is not waited for"),
        () = order => {}
    }
    shutdown.propagated.cancel();
    signals.inbound.end().await;
    signals.cut_pool.cancel();
    signals.outbound.end().await;

    if how == How::Leaving {
        control.deregister().await;
    }
    signals.stop.cancel();
}

/// Callers and application connect anew, to the successor; calls in progress end here.
async fn replaced(config: &Drain, signals: &Signals, control: &Control) {
    let deadline = Instant::now() + config.grace;
    signals.inbound.leave.cancel();
    signals.outbound.leave.cancel();
    control.hand_over().await;
    if !signals.inbound.ended_by(deadline).await {
        tracing::warn!("calls are still in progress at the end of the grace period; they are cut");
        signals.cut_application.cancel();
        sleep(LAST_WORDS).await;
    }
    if !signals.outbound.ended_by(deadline).await {
        tracing::warn!("the application still has calls in progress; they are cut");
    }
}

/// Ready when calls in progress and the application's connections ended by themselves, or their time is over.
async fn in_order(
    config: &Drain,
    signals: &Signals,
    control: &Control,
    propagated: &CancellationToken,
) {
    let deadline = Instant::now() + config.propagation + config.grace;
    tokio::join!(control.maintenance(), sleep(config.propagation));

    signals.inbound.leave.cancel();
    propagated.cancel();
    if !signals.inbound.ended_by(deadline).await {
        tracing::warn!("calls are still in progress at the end of the grace period; they are cut");
        signals.cut_application.cancel();
        sleep(LAST_WORDS).await;
    }
    signals.inbound.end().await;

    // GOAWAY to our application would make it lose nothing, but until its last connection is gone it may need us to finish.
    if !signals.outbound.ended_by(deadline).await {
        tracing::debug!("the application is still connected at the end of the grace period");
    }
}
