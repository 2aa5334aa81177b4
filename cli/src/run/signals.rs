//! What is heard from outside: the order to stop, and signals that are the application's.

use std::io;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// SIGTERM, or Ctrl-C.
    Stop,
    /// To be passed on.
    Other(Number),
}

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    quit: Signal,
    first: Signal,
    second: Signal,
}

// === impl Signals ===

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            first: signal(SignalKind::user_defined1())?,
            second: signal(SignalKind::user_defined2())?,
        })
    }

    pub(super) async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.terminate.recv() => Heard::Stop,
            _ = self.interrupt.recv() => Heard::Stop,
            _ = self.hangup.recv() => Heard::Other(Number::HUP),
            _ = self.quit.recv() => Heard::Other(Number::QUIT),
            _ = self.first.recv() => Heard::Other(Number::USR1),
            _ = self.second.recv() => Heard::Other(Number::USR2),
        }
    }

    /// The order to stop, before there is anybody to pass others on to.
    pub(super) async fn stop(&mut self) {
        while self.next().await != Heard::Stop {}
    }
}
