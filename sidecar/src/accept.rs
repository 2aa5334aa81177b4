//! How a connection arrives: a bound socket, a loop that never ends by an error, and what is spoken on it.

/// Binding TCP ports and Unix sockets.
pub(crate) mod bind;

/// A TCP or Unix stream, and one whose first bytes were read already.
pub(crate) mod stream;

/// HTTP/2 or HTTP/1.1.
pub(crate) mod detect;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use bind::Listener;
use stream::Plain;

const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_LONGEST: Duration = Duration::from_secs(1);

/// Connections open on one listener, and who waits for one to end.
#[derive(Debug, Default)]
struct Open {
    count: Cell<usize>,
    ended: Notify,
}

/// Held by a connection while it lives.
#[derive(Debug)]
pub(crate) struct Permit(Rc<Open>);

/// Accepts until `stop`. Errors of `accept` (no file descriptors left, for one) back off; past `most` open connections nothing is accepted
/// until one has ended.
pub(crate) async fn run(
    listener: Listener,
    most: usize,
    stop: CancellationToken,
    mut arrived: impl FnMut(Plain, Permit),
) {
    let open = Rc::<Open>::default();
    let accepting = async {
        let mut failures = Failures::default();
        loop {
            while open.count.get() >= most {
                open.ended.notified().await;
            }
            match listener.accept().await {
                Ok(stream) => {
                    failures = Failures::default();
                    open.count.set(open.count.get() + 1);
                    arrived(stream, Permit(Rc::clone(&open)));
                }
                Err(err) => sleep(failures.next(&err, Instant::now())).await,
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = accepting => {}
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.ended.notify_one();
    }
}

/// Errors of `accept` in a row.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    told: Option<Instant>,
}

// === impl Failures ===

impl Failures {
    /// The wait after one more; tells at most once a second.
    fn next(&mut self, err: &io::Error, now: Instant) -> Duration {
        if self
            .told
            .is_none_or(|told| now.duration_since(told) >= Duration::from_secs(1))
        {
            self.told = Some(now);
            tracing::warn!(error = %err, "cannot accept a connection; trying again");
        }
        let wait = BACKOFF_FIRST
            .saturating_mul(1 << self.count.min(10))
            .min(BACKOFF_LONGEST);
        self.count += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_accept_backs_off_to_a_second() {
        let mut failures = Failures::default();
        let waits: Vec<u128> = (0..9)
            .map(|_| {
                failures
                    .next(&io::ErrorKind::Other.into(), Instant::now())
                    .as_millis()
            })
            .collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }
}
