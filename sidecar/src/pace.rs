//! How slowly the public may send the body of a request. Only the time in which we wait for the caller counts: a body that is not
//! read because what is behind us is slow is not late. A call whose method the contract knows to stream may be as slow as it likes.

use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tower::layer::layer_fn;
use tower_layer::Layer;

use crate::config::Scope;
use crate::contract;
use crate::error::{Error, Kind};
use crate::http2::Metrics;
use crate::http2::meter::Limit;
use crate::snapshot::Shared;
use crate::stack::{Body, Call, Data, Linked, Protocol, Reply, Stage};

/// Nobody is measured before.
const GRACE: Duration = Duration::from_secs(10);
/// From then on, bytes a second.
const LEAST: u64 = 1024;

/// The measuring stage.
#[derive(Debug)]
pub struct Pace<S> {
    longest: Duration,
    metrics: Metrics,
    inner: Rc<S>,
}

/// A body that has to come.
struct Paced {
    body: Body,
    longest: Duration,
    seen: u64,
    /// What was spent waiting for the caller before this wait.
    waited: Duration,
    since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
    metrics: Metrics,
}

pub fn layer<S>(shared: &Arc<Shared>) -> impl Layer<S, Service = Pace<S>> + Clone {
    let longest = shared.config.limits.connect.request_body;
    let metrics = shared.memory.metrics().clone();
    layer_fn(move |inner| Pace {
        longest,
        metrics: metrics.clone(),
        inner: Rc::new(inner),
    })
}

impl<S: Stage> Stage for Pace<S> {
    async fn call(&self, mut call: Call) -> Result<Reply, Error> {
        let kind = call.promise.as_ref().map(|promise| promise.kind);
        let is_unary = call.protocol != Protocol::Grpc || kind == Some(contract::Kind::Unary);
        if is_unary && !call.body.is_end_stream() {
            let body = std::mem::replace(&mut call.body, crate::observe::empty());
            call.body = Box::pin(Paced::new(body, self.longest, self.metrics.clone()));
        }
        self.inner.call(call).await
    }
}

/// How long we wait in all for a body of which so many bytes have come.
fn patience(seen: u64, longest: Duration) -> Duration {
    Duration::from_millis(seen.saturating_mul(1000) / LEAST)
        .max(GRACE)
        .min(longest)
}

// === impl Paced ===

impl Paced {
    fn new(body: Body, longest: Duration, metrics: Metrics) -> Self {
        Self {
            body,
            longest,
            seen: 0,
            waited: Duration::ZERO,
            since: None,
            alarm: None,
            metrics,
        }
    }

    /// Ready when the caller took too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let left = patience(self.seen, self.longest).saturating_sub(self.waited);
        let until = since + left;
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        if alarm.deadline() != until {
            alarm.as_mut().reset(until);
        }
        alarm.as_mut().poll(cx)
    }

    fn came(&mut self, frame: Option<&Frame<Data>>) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        let data = frame.and_then(Frame::data_ref);
        self.seen += data.map_or(0, |data| data.bytes.len() as u64);
    }
}

impl http_body::Body for Paced {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(polled) = this.body.as_mut().poll_frame(cx) {
            let frame = polled.as_ref().and_then(|polled| polled.as_ref().ok());
            this.came(frame);
            return Poll::Ready(polled);
        }
        std::task::ready!(this.poll_late(cx));
        this.metrics
            .hit(Scope::Edge, Limit::RequestBody, &"the public");
        let why = "the request's body comes too slowly; limits.connect.request_body";
        Poll::Ready(Some(Err(Error::new(Kind::RequestTooSlow, why))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Each piece buys time.
impl Linked for Paced {}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::channel::mpsc;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::{advance, sleep};

    use super::*;

    const LONGEST: Duration = Duration::from_secs(60);

    #[test]
    fn so_many_bytes_buy_so_much_time() {
        for (seen, seconds) in [
            (0, 10),
            (10 << 10, 10),
            (11 << 10, 11),
            (60 << 10, 60),
            (1 << 30, 60),
        ] {
            assert_eq!(patience(seen, LONGEST).as_secs(), seconds, "{seen}");
        }
    }

    /// A caller that sends so many bytes at a time, with such pauses; after how many seconds it was given up.
    async fn given_up(bytes: usize, pause: Duration, count: usize) -> Option<u64> {
        let (mut sender, receiver) = mpsc::channel(1);
        let body: Body = Box::pin(StreamBody::new(receiver));
        let paced = Paced::new(body, LONGEST, Metrics::default());
        let start = Instant::now();
        let sending = async {
            for _ in 0..count {
                let data = Data::uncredited(Bytes::from(vec![7; bytes]));
                if sender.try_send(Ok(Frame::data(data))).is_err() {
                    break;
                }
                sleep(pause).await;
            }
            sender.close_channel();
        };
        let (collected, ()) = tokio::join!(
            async {
                let collected = paced.collect().await;
                collected
                    .err()
                    .map(|err| (err.kind, start.elapsed().as_secs()))
            },
            sending
        );
        collected.map(|(kind, seconds)| {
            assert_eq!(kind, Kind::RequestTooSlow);
            seconds
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_every_ten_seconds_is_too_slow_and_a_kibibyte_a_second_is_not() {
        let second = Duration::from_secs(1);
        assert_eq!(given_up(1, 10 * second, 100).await, Some(10));
        assert_eq!(given_up(1000, second, 100).await, Some(10));
        assert_eq!(given_up(1100, second, 50).await, None);
        assert_eq!(given_up(1100, second, 100).await, Some(60));
        assert_eq!(given_up(1, 9 * second, 1).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_reads_is_not_late() {
        let data = || Ok(Frame::data(Data::uncredited(Bytes::from_static(b"x"))));
        let body: Body = Box::pin(StreamBody::new(futures::stream::iter([data(), data()])));
        let mut paced = Paced::new(body, LONGEST, Metrics::default());
        for _ in 0..2 {
            advance(Duration::from_secs(100)).await;
            assert!(paced.frame().await.unwrap().is_ok());
        }
        assert!(paced.frame().await.is_none());
    }
}
