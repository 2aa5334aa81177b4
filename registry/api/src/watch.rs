//! The one watch loop: blocks on an index or a content hash, keeps the last good value, never spins.
//!
//! A failed, slow or undecodable answer takes nothing away: the last good value stays, its age and the error are
//! published beside it.

mod bucket;
mod step;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Read, WAIT};
use crate::{Client, Error};
use bucket::Bucket;
use step::{Position, after_answer};

/// The first back-off after an error, doubled up to `BACKOFF_MAX`, with full jitter.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// What a watch blocks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    Index,
    /// `agent/service/:id`.
    Hash,
}

/// What a watch knows: its last good value and how well it is doing.
#[derive(Debug)]
pub struct Watched<T> {
    /// The last good value; `None` until the first answer.
    pub value: Option<Arc<T>>,
    /// `X-Consul-Default-ACL-Policy` of the last answer.
    pub default_policy: Option<String>,
    /// When the registry last confirmed the value.
    pub confirmed: Option<Instant>,
    /// The last error, until the next good answer.
    pub last_error: Option<Arc<Error>>,
    /// Failures in a row.
    pub failures: u32,
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            default_policy: self.default_policy.clone(),
            confirmed: self.confirmed,
            last_error: self.last_error.clone(),
            failures: self.failures,
        }
    }
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self {
            value: None,
            default_policy: None,
            confirmed: None,
            last_error: None,
            failures: 0,
        }
    }
}

impl<T> Watched<T> {
    /// How long ago the registry last confirmed the value. A parked poll confirms nothing for up to five minutes,
    /// so an age below that is normal.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.confirmed
            .map(|confirmed| now.saturating_duration_since(confirmed))
    }
}

/// Starts a watch. The returned future does the work and ends with `stop`, or when every receiver is gone; the
/// caller owns and awaits it. `ask` makes one request with the index or hash it is given.
///
/// A receiver is woken for a changed value and for a changed health of the watch (first failure, recovery), not for
/// an answer that repeats the last one.
pub fn watch<T, Ask, Fut>(
    client: Client,
    blocking: Blocking,
    stop: CancellationToken,
    ask: Ask,
) -> (watch::Receiver<Watched<T>>, impl Future<Output = ()>)
where
    T: PartialEq,
    Ask: Fn(Client, Read) -> Fut,
    Fut: Future<Output = Result<Answer<T>, Error>>,
{
    let (sender, receiver) = watch::channel(Watched::default());
    let driver = async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = sender.closed() => {}
            () = drive(&client, blocking, &sender, &ask) => {}
        }
    };
    (receiver, driver)
}

async fn drive<T, Ask, Fut>(
    client: &Client,
    blocking: Blocking,
    sender: &watch::Sender<Watched<T>>,
    ask: &Ask,
) where
    T: PartialEq,
    Ask: Fn(Client, Read) -> Fut,
    Fut: Future<Output = Result<Answer<T>, Error>>,
{
    let mut position = Position::default();
    let mut bucket = Bucket::new(Instant::now());
    let mut failures = 0u32;
    loop {
        sleep(bucket.take(Instant::now())).await;
        match ask(client.clone(), request(blocking, &position)).await {
            Ok(answer) => {
                failures = 0;
                position = after_answer(blocking, &position, &answer);
                publish(sender, answer);
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                position = Position::default();
                publish_error(sender, error, failures);
                // Drawn first: the generator is no companion over an await.
                let draw = rand::rng().random();
                sleep(backoff(failures, draw)).await;
            }
        }
    }
}

fn request(blocking: Blocking, position: &Position) -> Read {
    match blocking {
        Blocking::Index => Read::after(position.index),
        Blocking::Hash => Read {
            hash: position.hash.clone(),
            wait: position.hash.is_some().then_some(WAIT),
            ..Read::default()
        },
    }
}

fn publish<T: PartialEq>(sender: &watch::Sender<Watched<T>>, answer: Answer<T>) {
    sender.send_if_modified(|watched| {
        let recovered = watched.failures > 0;
        let same = watched.value.as_deref() == Some(&answer.value)
            && watched.default_policy == answer.default_policy;
        watched.confirmed = Some(Instant::now());
        watched.failures = 0;
        watched.last_error = None;
        if !same {
            watched.value = Some(Arc::new(answer.value));
            watched.default_policy = answer.default_policy;
        }
        recovered || !same
    });
}

fn publish_error<T>(sender: &watch::Sender<Watched<T>>, error: Error, failures: u32) {
    sender.send_if_modified(|watched| {
        let first = watched.failures == 0;
        watched.failures = failures;
        watched.last_error = Some(Arc::new(error));
        first
    });
}

/// Full jitter: a uniform draw from zero to the doubled bound. `draw` is in `[0, 1)`.
fn backoff(failures: u32, draw: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (BACKOFF_MIN * 2u32.pow(doublings))
        .min(BACKOFF_MAX)
        .mul_f64(draw)
}

#[cfg(test)]
mod tests;
