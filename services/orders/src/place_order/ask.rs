//! Asks a participant until it says yes or no, or its time is over. The request is the same at every attempt.

use std::future::Future;
use std::time::Duration;

use outrigger_proto::shop::orders::v1::order::Rejection;
use prost::Message;
use rand::RngExt as _;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Request, Status};

use crate::saga::{self, Verdict};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a participant said in the end.
#[derive(Debug)]
pub(super) enum Asked<A> {
    /// It was done.
    Done(A),
    /// A definite "no".
    Refused(Rejection),
    /// Nobody knows; the last error.
    Unknown(String),
}

/// The answer, and how often it was asked for.
#[derive(Debug)]
pub(super) struct Answer<A> {
    pub(super) answer: Asked<A>,
    pub(super) attempts: u32,
}

/// Repeats the request with full-jitter pauses until the answer is definite or `limit` is over.
pub(super) async fn until_definite<Q, A, F, R>(request: &Q, limit: Duration, call: F) -> Answer<A>
where
    Q: Message + Clone,
    F: Fn(Request<Q>) -> R,
    R: Future<Output = Result<A, Status>>,
{
    let end = Instant::now() + limit;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let answer = match attempt(request, end, &call).await {
            Ok(answer) => Asked::Done(answer),
            Err(error) => match saga::classify(&error) {
                Verdict::Refused(refusal) => Asked::Refused(refusal),
                Verdict::Defect => {
                    tracing::error!(%error, "a participant does not understand us");
                    Asked::Unknown(error.to_string())
                }
                Verdict::Again => match pause(attempts, end) {
                    Some(pause) => {
                        sleep(pause).await;
                        continue;
                    }
                    None => Asked::Unknown(error.to_string()),
                },
            },
        };
        return Answer { answer, attempts };
    }
}

async fn attempt<Q, A, F, R>(request: &Q, end: Instant, call: &F) -> Result<A, Status>
where
    Q: Clone,
    F: Fn(Request<Q>) -> R,
    R: Future<Output = Result<A, Status>>,
{
    let mut sent = Request::new(request.clone());
    sent.set_timeout(end.saturating_duration_since(Instant::now()));
    timeout_at(end, call(sent)).await.unwrap_or_else(|_| {
        Err(Status::deadline_exceeded(
            "no answer within the step's time",
        ))
    })
}

/// `None`: the time would be over.
fn pause(attempts: u32, end: Instant) -> Option<Duration> {
    let ceiling = FIRST_PAUSE
        .saturating_mul(1 << attempts.min(10))
        .min(LONGEST_PAUSE);
    let pause = ceiling.mul_f64(rand::rng().random());
    (Instant::now() + pause < end).then_some(pause)
}
