//! Watches a stream to its end and reports the one `Outcome`, whatever ends it: trailers, an error, or nobody wanting the rest.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use super::Outcome;
use super::judge::Judge;
use crate::contract;
use crate::error::{Error, Kind};
use crate::http2::Link;
use crate::stack::{Body, Data, Linked, Reply};

/// Reports exactly once; dropping it undecided means that the call was given up.
pub struct Watch {
    judge: Judge,
    /// A call that is given up at its deadline was ended by it, not by its caller.
    deadline: Option<Instant>,
    report: Option<Box<dyn FnOnce(Outcome)>>,
}

/// A response body under watch.
struct Watched {
    body: Body,
    watch: Watch,
}

// === impl Watch ===

impl Watch {
    pub fn new(
        judge: Judge,
        deadline: Option<Instant>,
        report: impl FnOnce(Outcome) + 'static,
    ) -> Self {
        Self {
            judge,
            deadline,
            report: Some(Box::new(report)),
        }
    }

    /// States what the contract says of the method, where that was learnt only on the way.
    #[must_use]
    pub fn with_kind(mut self, kind: contract::Kind) -> Self {
        self.judge.set_kind(kind);
        self
    }

    /// Follows a call's result to its end; `head` is told once, when response headers came.
    pub fn follow(mut self, result: Result<Reply, Error>) -> Result<Reply, Error> {
        match result {
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
            Ok(mut reply) => {
                self.head(reply.status, &reply.headers);
                if reply.body.is_end_stream() {
                    self.end(None);
                } else {
                    reply.body = Box::pin(Watched {
                        body: reply.body,
                        watch: self,
                    });
                }
                Ok(reply)
            }
        }
    }

    /// Forgets the call without a report: it never left, so there is no outcome.
    pub fn forget(mut self) {
        self.report = None;
    }

    fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.judge.head(status, headers, Instant::now());
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) {
        let outcome = self.judge.end(trailers, Instant::now());
        self.decide(outcome);
    }

    fn failed(&mut self, error: &Error) {
        let outcome = self.judge.failed(error, Instant::now());
        self.decide(outcome);
    }

    fn decide(&mut self, outcome: Outcome) {
        if let Some(report) = self.report.take() {
            report(outcome);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.report.is_none() {
            return;
        }
        let now = Instant::now();
        let outcome = if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.judge.failed(
                &Error::new(Kind::DeadlineExceeded, "the deadline passed"),
                now,
            )
        } else {
            self.judge.dropped(now)
        };
        self.decide(outcome);
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("judge", &self.judge)
            .finish_non_exhaustive()
    }
}

// === impl Watched ===

impl http_body::Body for Watched {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = &mut *self;
        let polled = std::task::ready!(this.body.as_mut().poll_frame(cx));
        match &polled {
            None => this.watch.end(None),
            Some(Err(error)) => this.watch.failed(error),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.watch.judge.data(&data.bytes, Instant::now);
                    if this.body.is_end_stream() {
                        this.watch.end(None);
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    this.watch.end(Some(trailers));
                }
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Linked for Watched {
    fn link(self: Pin<&mut Self>, link: &Rc<Link>) -> bool {
        let this = self.get_mut();
        let judge = &mut this.watch.judge;
        let is_linked = judge.is_under_way() && this.body.as_mut().link(link);
        if is_linked {
            judge.linked(link);
        }
        is_linked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    use bytes::Bytes;
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;
    use http_body_util::{BodyExt, StreamBody};
    use tonic::Code;

    use crate::outcome::By;

    type Seen = Rc<RefCell<Vec<Outcome>>>;

    fn watch(deadline: Option<Instant>) -> (Watch, Seen) {
        let seen = Seen::default();
        let sink = seen.clone();
        (
            Watch::new(
                Judge::new(true, contract::Kind::Unknown, Instant::now()),
                deadline,
                move |outcome| sink.borrow_mut().push(outcome),
            ),
            seen,
        )
    }

    fn reply(frames: Vec<Result<Frame<Data>, Error>>) -> Reply {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))]);
        Reply {
            status: StatusCode::OK,
            headers,
            body: Box::pin(StreamBody::new(futures::stream::iter(frames))),
        }
    }

    fn data() -> Result<Frame<Data>, Error> {
        Ok(Frame::data(Data::uncredited(Bytes::from_static(&[
            0, 0, 0, 0, 0,
        ]))))
    }

    fn trailers(status: &'static str) -> Result<Frame<Data>, Error> {
        Ok(Frame::trailers(HeaderMap::from_iter([(
            crate::grpc::status::STATUS,
            HeaderValue::from_static(status),
        )])))
    }

    #[tokio::test]
    async fn the_end_is_reported_once() {
        let (watch, seen) = watch(None);
        let mut body = watch
            .follow(Ok(reply(vec![data(), trailers("5")])))
            .unwrap()
            .body;
        while body.frame().await.is_some() {}
        drop(body);
        let seen = seen.borrow();
        assert_eq!(
            (seen.len(), seen[0].code, seen[0].received.messages),
            (1, Code::NotFound, 1)
        );
    }

    #[tokio::test]
    async fn trailers_decide_even_if_nobody_asks_for_the_end() {
        let (watch, seen) = watch(None);
        let mut body = watch.follow(Ok(reply(vec![trailers("0")]))).unwrap().body;
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!((seen.borrow().len(), seen.borrow()[0].code), (1, Code::Ok));
    }

    #[tokio::test]
    async fn what_is_dropped_was_cancelled_by_the_caller() {
        let (watch, seen) = watch(None);
        drop(watch.follow(Ok(reply(vec![data()]))).unwrap());
        assert_eq!(
            (seen.borrow()[0].code, seen.borrow()[0].by),
            (Code::Cancelled, By::Caller)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_at_its_deadline_ran_out_of_time() {
        let (watch, seen) = watch(Some(Instant::now() + Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(watch);
        assert_eq!(seen.borrow()[0].code, Code::DeadlineExceeded);
    }

    #[tokio::test]
    async fn errors_are_judged_and_passed_on() {
        let (watch, seen) = watch(None);
        assert!(
            watch
                .follow(Err(Error::reset(2, crate::error::Processed::Maybe)))
                .is_err()
        );
        assert_eq!(seen.borrow()[0].code, Code::Internal);
    }
}
