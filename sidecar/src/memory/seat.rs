//! Accepted connections in the order in which they came: the newest are the first that are sent away.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Of the connections, one in so many is sent away.
const SENT_AWAY: usize = 8;

/// Those that were not sent away.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<Open>);

/// The newest last.
#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, CancellationToken>,
}

/// An accepted connection's place among them.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    leave: CancellationToken,
}

// === impl Seats ===

impl Seats {
    pub(super) fn take(self: &Arc<Self>) -> Seat {
        let leave = CancellationToken::new();
        let mut open = self.open();
        open.next += 1;
        let number = open.next;
        open.connections.insert(number, leave.clone());
        drop(open);
        Seat {
            seats: Arc::clone(self),
            number,
            leave,
        }
    }

    pub(super) fn send_newest_away(&self) {
        let mut open = self.open();
        for _ in 0..open.connections.len().div_ceil(SENT_AWAY) {
            if let Some((_, leave)) = open.connections.pop_last() {
                leave.cancel();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.open().connections.is_empty()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Seat ===

impl Seat {
    /// Ready when this connection is to be sent away.
    pub(crate) fn sent_away(&self) -> impl Future<Output = ()> + use<> {
        self.leave.clone().cancelled_owned()
    }

    #[cfg(test)]
    pub(super) fn is_sent_away(&self) -> bool {
        self.leave.is_cancelled()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.open().connections.remove(&self.number);
    }
}
