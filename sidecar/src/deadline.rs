//! How long: enforces the caller's deadline or the route's own limit, over all attempts, down to the last byte of the reply.
//!
//! Sits before attempts, so that they share one deadline; what is left is written for the next hop at the moment of dispatch, by
//! `balance`. Expiry drops what is below, which resets the upstream stream with CANCEL.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tower::layer::layer_fn;
use tower_layer::Layer;

use crate::contract::Kind as MethodKind;
use crate::error::{Error, Kind, Processed};
use crate::http2::Link;
use crate::stack::{Body, Call, Data, Linked, Protocol, Reply, Stage};

/// What a unary call without a deadline of its own gets.
pub const DEFAULT: Duration = Duration::from_secs(15);

/// A route's own limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// Nobody set one: [`DEFAULT`] for unary calls without a deadline.
    #[default]
    Default,
    /// A ceiling for unary and unknown kinds.
    At(Duration),
    Off,
}

/// Where a deadline comes from, for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Caller,
    Default,
    Route,
}

#[derive(Debug)]
pub struct Deadline<S> {
    limit: Limit,
    inner: Rc<S>,
}

struct Limited {
    body: Option<Body>,
    sleep: Pin<Box<Sleep>>,
    source: Source,
}

pub fn layer<S>(limit: Limit) -> impl Layer<S, Service = Deadline<S>> + Clone {
    layer_fn(move |inner| Deadline {
        limit,
        inner: Rc::new(inner),
    })
}

/// The deadline in force. An explicit limit never lengthens a caller's; a default never shortens it.
pub fn effective(
    caller: Option<Instant>,
    limit: Limit,
    kind: MethodKind,
    received: Instant,
) -> Option<(Instant, Source)> {
    let streams = matches!(
        kind,
        MethodKind::ClientStreaming | MethodKind::ServerStreaming | MethodKind::Bidirectional
    );
    match (caller, limit) {
        (Some(caller), Limit::At(limit)) if !streams && received + limit < caller => {
            Some((received + limit, Source::Route))
        }
        (Some(caller), _) => Some((caller, Source::Caller)),
        (None, Limit::At(limit)) if !streams => Some((received + limit, Source::Route)),
        (None, Limit::Default) if kind == MethodKind::Unary => {
            Some((received + DEFAULT, Source::Default))
        }
        (None, _) => None,
    }
}

impl<S: Stage> Stage for Deadline<S> {
    async fn call(&self, mut call: Call) -> Result<Reply, Error> {
        let kind = call
            .promise
            .as_ref()
            .map_or(MethodKind::Unknown, |promise| promise.kind);
        let Some((deadline, source)) = effective(call.deadline, self.limit, kind, call.received)
        else {
            return self.inner.call(call).await;
        };
        call.deadline = Some(deadline);
        if deadline <= Instant::now() {
            return Err(Error::unprocessed(
                Kind::DeadlineExceeded,
                "the deadline had passed when the call arrived",
            ));
        }
        let (facts, is_grpc) = (call.facts.clone(), call.protocol == Protocol::Grpc);
        let mut sleep = Box::pin(sleep_until(deadline));
        let answered = tokio::select! {
            biased;
            answered = self.inner.call(call) => answered,
            () = &mut sleep => {
                let processed = if facts.dispatched.get() { Processed::Maybe } else { Processed::No };
                return Err(Error { processed, ..Error::new(Kind::DeadlineExceeded, message(source)) });
            }
        };
        let mut reply = answered?;
        // HTTP answers are limited to their headers: a download may take its time.
        if is_grpc && !reply.body.is_end_stream() {
            reply.body = Box::pin(Limited {
                body: Some(reply.body),
                sleep,
                source,
            });
        }
        Ok(reply)
    }
}

fn message(source: Source) -> &'static str {
    match source {
        Source::Caller => "the caller's deadline passed",
        Source::Default => {
            "no answer within 15s, the default for unary calls without a deadline; set one in the call or timeouts.request"
        }
        Source::Route => "no answer within the request timeout of the route",
    }
}

// === impl Limited ===

impl http_body::Body for Limited {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = &mut *self;
        let Some(body) = this.body.as_mut() else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = body.as_mut().poll_frame(cx) {
            return Poll::Ready(frame);
        }
        std::task::ready!(this.sleep.as_mut().poll(cx));
        // Dropping the body resets the upstream stream.
        this.body = None;
        Poll::Ready(Some(Err(Error::new(
            Kind::DeadlineExceeded,
            message(this.source),
        ))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, |body| body.size_hint())
    }
}

impl Linked for Limited {
    fn link(self: Pin<&mut Self>, link: &Rc<Link>) -> bool {
        let body = self.get_mut().body.as_mut();
        body.is_some_and(|body| body.as_mut().link(link))
    }
}

#[cfg(test)]
mod tests;
