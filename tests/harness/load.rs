//! Open-loop load: calls start by the clock whether or not earlier ones are done, so that a stall is seen and not waited out.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Call, Client};

/// Calls that are being made in the background.
#[derive(Debug)]
pub struct Load {
    stop: CancellationToken,
    driver: JoinSet<Report>,
}

/// What became of them.
#[derive(Debug, Default)]
pub struct Report {
    pub calls: u64,
    /// When a failed call was started, and how it ended.
    pub failures: Vec<(Instant, String)>,
}

impl Load {
    /// Starts `rate` calls a second; `call` says what the n-th is, and by whom.
    pub fn start(rate: u64, call: impl Fn(u64) -> (Client, Call) + Send + 'static) -> Self {
        let stop = CancellationToken::new();
        let mut driver = JoinSet::new();
        driver.spawn(drive(rate, call, stop.clone()));
        Self { stop, driver }
    }

    /// Stops starting calls, waits for those that run, and reports.
    pub async fn stop(mut self) -> Report {
        self.stop.cancel();
        self.driver.join_next().await.unwrap().unwrap()
    }
}

async fn drive(rate: u64, call: impl Fn(u64) -> (Client, Call), stop: CancellationToken) -> Report {
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
    let mut running: JoinSet<(Instant, Answer)> = JoinSet::new();
    let mut report = Report::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            at = ticks.tick() => {
                let (client, call) = call(report.calls);
                report.calls += 1;
                running.spawn(async move { (at, client.call(call).await) });
            }
            Some(done) = running.join_next() => report.count(done.unwrap()),
        }
    }
    while let Some(done) = running.join_next().await {
        report.count(done.unwrap());
    }
    report
}

impl Report {
    fn count(&mut self, (at, answer): (Instant, Answer)) {
        if answer.code() != tonic::Code::Ok {
            self.failures.push((at, answer.summary()));
        }
    }

    /// Panics if any call failed.
    #[track_caller]
    pub fn expect_no_failures(&self) {
        assert!(
            self.failures.is_empty(),
            "{} of {} calls failed; the first: {}",
            self.failures.len(),
            self.calls,
            self.failures[0].1
        );
    }

    /// Panics if a call failed that was started after the moment.
    #[track_caller]
    pub fn expect_no_failures_after(&self, moment: Instant) {
        let late: Vec<_> = self
            .failures
            .iter()
            .filter(|(at, _)| *at > moment)
            .collect();
        assert!(
            late.is_empty(),
            "{} of {} calls failed too late; the first after {:?}: {}",
            late.len(),
            self.calls,
            late[0].0 - moment,
            late[0].1
        );
    }
}
