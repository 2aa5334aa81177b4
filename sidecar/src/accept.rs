//! How a connection arrives: a bound socket, a loop that never ends by an error, and what is spoken on it.

/// Binding TCP ports and Unix sockets.
pub(crate) mod bind;

/// A TCP or Unix stream, and one whose first bytes were read already.
pub(crate) mod stream;

/// HTTP/2 or HTTP/1.1.
pub(crate) mod detect;

/// Who may connect.
pub(crate) mod admission;

/// So many a second.
pub(crate) mod rate;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use admission::{Admission, Handshake, Permit};
use bind::Listener;
use stream::Plain;

const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_LONGEST: Duration = Duration::from_secs(1);

/// What a listener's connections begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A handshake, which has to wait for its turn.
    Tls,
    Nothing,
}

/// A connection that may be served.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) stream: Plain,
    pub(crate) permit: Permit,
    pub(crate) handshake: Handshake,
}

/// Accepts until `stop`. Errors of `accept` (no file descriptors left, for one) back off; while there is no place for one more
/// connection, or its handshake has to wait, nothing is accepted.
pub(crate) async fn run(
    listener: Listener,
    admission: Arc<Admission>,
    opening: Opening,
    stop: CancellationToken,
    mut arrived: impl FnMut(Arrived),
) {
    let accepting = async {
        let mut failures = Failures::default();
        loop {
            let permit = admission.enter().await;
            match listener.accept().await {
                Ok(stream) => {
                    failures.end();
                    let handshake = match opening {
                        Opening::Tls => admission.begin_handshake().await,
                        Opening::Nothing => Handshake::none(),
                    };
                    arrived(Arrived {
                        stream,
                        permit,
                        handshake,
                    });
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

/// Errors of `accept` in a row.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    told: Option<Instant>,
}

// === impl Failures ===

impl Failures {
    /// One was accepted: the next wait is short again, but no sooner told of.
    fn end(&mut self) {
        self.count = 0;
    }

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
        failures.end();
        let wait = failures.next(&io::ErrorKind::Other.into(), Instant::now());
        assert_eq!(wait.as_millis(), 10);
    }

    #[test]
    fn failures_are_told_of_once_a_second_however_they_come() {
        let start = Instant::now();
        let mut failures = Failures::default();
        let mut told = 0;
        for millis in (0..3000).step_by(10) {
            let before = failures.told;
            failures.next(
                &io::ErrorKind::Other.into(),
                start + Duration::from_millis(millis),
            );
            told += usize::from(failures.told != before);
            failures.end();
        }
        assert_eq!(told, 3);
    }
}
