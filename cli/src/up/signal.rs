//! Ctrl-C, SIGTERM and a closed terminal: the first asks for an ordered stop, the second for an end.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the user has asked for so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    pub(super) stop: CancellationToken,
    pub(super) force: CancellationToken,
}

/// The signals that mean "stop".
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Turns signals into wishes, for as long as it is polled.
    pub(super) async fn follow(mut self, wishes: Wishes) {
        self.next().await;
        wishes.stop.cancel();
        self.next().await;
        wishes.force.cancel();
        std::future::pending::<()>().await;
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
