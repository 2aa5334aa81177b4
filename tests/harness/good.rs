//! Calls that go on beside something else and must not notice it.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::client::{Call, Client};

/// Calls a second.
const RATE: u32 = 50;

/// Calls beside an attack: open loop, each timed from the moment it was due.
#[derive(Debug)]
pub struct Good {
    stop: CancellationToken,
    driver: JoinSet<Vec<(Duration, String)>>,
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
                            let answer = client.call(Call::new("orders", "/test.Echo/Echo")).await;
                            (due.elapsed(), answer)
                        });
                    }
                }
            }
            let done = running.join_all().await.into_iter();
            done.map(|(took, answer)| match answer.code() {
                Code::Ok => (took, String::new()),
                _ => (took, answer.summary()),
            })
            .collect()
        });
        Self { stop, driver }
    }

    /// How long they took; panics if one of them failed.
    pub async fn stop(self, beside: &str) -> Vec<Duration> {
        self.stop_with(beside, None).await
    }

    /// The same, but for this reason they may fail.
    pub async fn stop_with(mut self, beside: &str, excused: Option<&str>) -> Vec<Duration> {
        self.stop.cancel();
        let done = self.driver.join_next().await.unwrap().unwrap();
        let is_excused = |why: &str| excused.is_some_and(|reason| why.contains(reason));
        let failed: Vec<_> = done
            .iter()
            .filter(|(_, why)| !why.is_empty() && !is_excused(why))
            .collect();
        assert!(
            failed.is_empty(),
            "beside {beside} {} of {} good calls failed; the first: {}",
            failed.len(),
            done.len(),
            failed[0].1
        );
        done.into_iter().map(|(took, _)| took).collect()
    }
}
