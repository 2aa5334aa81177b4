//! Calls that go on beside something else and must not notice it.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::client::{Answer, Call, Client};
use crate::upstream::mirror;

/// Calls a second.
const RATE: u32 = 50;
/// The application says with which head a call came to it.
pub const PATH: &str = "/test.Echo/Mirror";
/// An attempt after the first one says so. A callee that takes only a share of its caller's calls asks it to come back in a second.
const REPEATED: &str = "grpc-previous-rpc-attempts";
/// And this is its caller's answer when that one was not taken either.
const THROTTLED: &str = "rate_limited";

/// Calls beside an attack: open loop, each timed from the moment it was due.
#[derive(Debug)]
pub struct Good {
    stop: CancellationToken,
    driver: JoinSet<Vec<Done>>,
}

/// A call that is over.
#[derive(Debug)]
struct Done {
    took: Duration,
    answer: Answer,
}

/// What calls came to some of which may have been throttled.
#[derive(Debug, Default)]
pub struct Calls {
    /// How long those took that were taken at once.
    pub took: Vec<Duration>,
    /// Those that were not: they wait as they are told, or fail.
    pub put_off: usize,
}

impl Good {
    /// Starts them.
    pub fn start(client: &Client) -> Self {
        let stop = CancellationToken::new();
        let mut driver = JoinSet::new();
        let (client, stopped) = (client.clone(), stop.clone());
        driver.spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / RATE);
            let mut running = JoinSet::new();
            loop {
                tokio::select! {
                    () = stopped.cancelled() => break,
                    due = ticks.tick() => {
                        let client = client.clone();
                        running.spawn(async move {
                            let message = mirror::Wanted::served().message();
                            let call = Call::new("orders", PATH).message(message);
                            let answer = client.call(call).await;
                            Done { took: due.elapsed(), answer }
                        });
                    }
                }
            }
            running.join_all().await
        });
        Self { stop, driver }
    }

    /// How long they took; panics if one of them failed.
    pub async fn stop(self, beside: &str) -> Vec<Duration> {
        let done = self.end(beside, |_| false).await;
        done.into_iter().map(|done| done.took).collect()
    }

    /// The same where their caller may be throttled.
    pub async fn stop_throttled(self, beside: &str) -> Calls {
        let done = self.end(beside, Done::is_refused).await;
        let (at_once, put_off): (Vec<_>, Vec<_>) = done
            .into_iter()
            .partition(|done| !done.is_refused() && !done.is_repeated());
        Calls {
            took: at_once.into_iter().map(|done| done.took).collect(),
            put_off: put_off.len(),
        }
    }

    async fn end(mut self, beside: &str, is_excused: impl Fn(&Done) -> bool) -> Vec<Done> {
        self.stop.cancel();
        let done = self.driver.join_next().await.unwrap().unwrap();
        let failed: Vec<_> = done
            .iter()
            .filter(|done| done.answer.code() != Code::Ok && !is_excused(done))
            .collect();
        assert!(
            failed.is_empty(),
            "beside {beside} {} of {} good calls failed; the first: {}",
            failed.len(),
            done.len(),
            failed[0].answer.summary()
        );
        done
    }
}

// === impl Done ===

impl Done {
    fn is_refused(&self) -> bool {
        self.answer.reason() == THROTTLED
    }

    fn is_repeated(&self) -> bool {
        let mut messages = self.answer.messages.iter();
        messages.any(|message| mirror::told(message).contains_key(REPEATED))
    }
}

// === impl Calls ===

impl Calls {
    pub fn add(&mut self, other: Self) {
        self.took.extend(other.took);
        self.put_off += other.put_off;
    }
}
