//! What we saw of a call: metrics, trace, access log. The stage sees the error itself, not what `reply` makes of it.
//!
//! Reports once, when the stream has ended; never waits for anything.

pub(crate) mod lines;

pub mod log;

pub mod metrics;

pub mod trace;

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http_body::{Frame, SizeHint};
use opentelemetry::KeyValue;
use prometheus_client::metrics::gauge::Gauge;
use smallvec::SmallVec;
use tokio::time::Instant;
use tower::layer::layer_fn;
use tower_layer::Layer;

use crate::attempt::safety::Decision;
use crate::connect::Line;
use crate::contract;
use crate::error::Error;
use crate::grpc::message::Tally;
use crate::http2::Link;
use crate::memory::Held;
use crate::outcome::judge::Judge;
use crate::outcome::watch::Watch;
use crate::outcome::{Counts, Outcome};
use crate::snapshot::Shared;
use crate::stack::{Body, Call, Data, Linked, Peer, Protocol, Reply, Stage};

/// What no contract and no configuration names.
static OTHER: LazyLock<Arc<str>> = LazyLock::new(|| "other".into());

/// Which way a call goes, seen from our application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Outbound,
    Inbound,
    Edge,
}

/// Facts of one call that its stages learn on the way down and the observer reports; shared by all attempts.
#[derive(Debug, Default)]
pub struct Facts {
    /// It came on a connection that has been served before.
    pub is_known: bool,
    /// Where it waits with others of its HTTP/2 connection, as long as that was not.
    pub(crate) line: Option<Line>,
    /// Service and method as `call` found them.
    pub service: RefCell<Option<Arc<str>>>,
    pub promise: RefCell<Option<Arc<contract::Promise>>>,
    pub attempts: Cell<u32>,
    pub transparent: Cell<u32>,
    /// An attempt went out: the peer may have seen the call.
    pub dispatched: Cell<bool>,
    /// Endpoints this call was sent to.
    pub tried: RefCell<SmallVec<[Arc<str>; 1]>>,
    pub leg: RefCell<Option<Arc<str>>>,
    /// The drawn leg had nobody ready.
    pub empty_leg: Cell<bool>,
    /// The next attempt may go to the largest leg.
    pub leave_leg: Cell<bool>,
    pub decision: Cell<Option<Decision>>,
    pub retry_delay: Cell<Duration>,
    pub sent: RefCell<Tally>,
    /// It counts among the open ones.
    pub memory: RefCell<Option<Held>>,
}

/// The observing stage.
#[derive(Debug)]
pub struct Observe<S> {
    shared: Arc<Shared>,
    direction: Direction,
    streams: Gauge,
    inner: Rc<S>,
}

/// A request body whose messages are counted as they pass.
struct Counted {
    body: Body,
    facts: Rc<Facts>,
}

/// What is known of a call when it starts, for its report.
struct Started {
    shared: Arc<Shared>,
    direction: Direction,
    facts: Rc<Facts>,
    context: trace::Context,
    peer: Peer,
    uri: Uri,
    received: Instant,
    deadline: Option<Instant>,
    protocol: Protocol,
}

pub fn layer<S>(
    shared: &Arc<Shared>,
    direction: Direction,
) -> impl Layer<S, Service = Observe<S>> + Clone {
    let shared = shared.clone();
    layer_fn(move |inner| {
        let streams = shared.metrics.streams(direction, &shared.service);
        Observe {
            shared: shared.clone(),
            direction,
            streams,
            inner: Rc::new(inner),
        }
    })
}

impl<S: Stage> Stage for Observe<S> {
    async fn call(&self, mut call: Call) -> Result<Reply, Error> {
        let caller = trace::Context::extract(call.headers.edit());
        call.trace = caller.map_or_else(
            || trace::Context::root(self.shared.config.trace.sample),
            |caller| caller.child(),
        );
        // Each attempt says its own.
        if self.direction != Direction::Outbound {
            let traceparent = call.trace.traceparent();
            call.headers.say(trace::TRACEPARENT, traceparent);
        }
        let is_grpc = call.protocol == Protocol::Grpc;
        let facts = call.facts.clone();
        facts.sent.replace(Tally::new(is_grpc));
        let body = std::mem::replace(&mut call.body, empty());
        call.body = Box::pin(Counted {
            body,
            facts: facts.clone(),
        });
        let started = Started {
            shared: self.shared.clone(),
            direction: self.direction,
            facts: facts.clone(),
            context: call.trace,
            peer: call.peer.clone(),
            uri: call.uri.clone(),
            received: call.received,
            deadline: call.deadline,
            protocol: call.protocol,
        };
        let received = call.received;
        let open = metrics::Open::new(&self.streams);
        // Dropped before it answered, the call was given up by its caller: the watch says so.
        let watch = Watch::new(
            Judge::new(is_grpc, contract::Kind::Unknown, received),
            None,
            move |outcome| {
                drop(open);
                started.finish(&outcome);
            },
        );
        let result = self.inner.call(call).await;
        watch
            .with_kind(
                facts
                    .promise
                    .borrow()
                    .as_ref()
                    .map_or(contract::Kind::Unknown, |promise| promise.kind),
            )
            .follow(result)
    }
}

// === impl Direction ===

impl Direction {
    pub fn name(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
            Self::Edge => "edge",
        }
    }
}

// === impl Facts ===

impl Facts {
    /// What was read of the request so far.
    pub fn sent(&self) -> Counts {
        self.sent.borrow().count().into()
    }

    /// `pkg.Service/Method` if a contract has it, else `other`: no label ever comes from a request.
    pub fn method(&self) -> Arc<str> {
        self.promise
            .borrow()
            .as_ref()
            .map_or_else(|| OTHER.clone(), |promise| promise.method.clone())
    }
}

// === impl Started ===

impl Started {
    fn finish(&self, outcome: &Outcome) {
        let service = self
            .facts
            .service
            .borrow()
            .clone()
            .unwrap_or_else(|| OTHER.clone());
        let method = self.facts.method();
        let handles = self.shared.metrics.call(self.direction, &service, &method);
        handles.finish(outcome, &self.facts);
        if self.shared.traces.wants(&self.context) {
            self.shared
                .traces
                .export(self.span(outcome, &service, &method));
        }
        let line = log::Line {
            direction: self.direction,
            peer: peer(&self.peer),
            service: &service,
            path: self.uri.path(),
            facts: &self.facts,
            outcome,
            context: &self.context,
            deadline_left: self.deadline.map(|deadline| {
                deadline.saturating_duration_since(self.received + outcome.elapsed)
            }),
            elapsed: outcome.elapsed,
            protocol: self.protocol,
        };
        log::access(&line, || {
            self.shared.may_log(self.received + outcome.elapsed)
        });
    }

    fn span(&self, outcome: &Outcome, service: &Arc<str>, method: &Arc<str>) -> trace::Span {
        let kind = if self.direction == Direction::Outbound {
            trace::SpanKind::Client
        } else {
            trace::SpanKind::Server
        };
        let mut attributes = trace::call_attributes(self.protocol, method, service, outcome);
        attributes.push(KeyValue::new("outrigger.direction", self.direction.name()));
        if let Some(decision) = self.facts.decision.get() {
            attributes.push(KeyValue::new("outrigger.retry", decision.name()));
        }
        if let Some(leg) = self.facts.leg.borrow().as_ref() {
            attributes.push(KeyValue::new("outrigger.leg", leg.to_string()));
        }
        if let Some(promise) = self.facts.promise.borrow().as_ref() {
            attributes.push(KeyValue::new("outrigger.class", promise.class.name()));
        }
        trace::Span {
            context: self.context,
            kind,
            name: method.to_string().into(),
            elapsed: outcome.elapsed,
            failed: !outcome.is_ok(),
            attributes,
        }
    }
}

fn peer(peer: &Peer) -> &str {
    match peer {
        Peer::Application => "application",
        Peer::Mesh(id) => id.service_name(),
        Peer::Public(_) => "public",
    }
}

/// A body without anything in it.
pub fn empty() -> Body {
    use http_body_util::BodyExt;
    Box::pin(http_body_util::Empty::new().map_err(|never: std::convert::Infallible| match never {}))
}

// === impl Counted ===

impl http_body::Body for Counted {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = &mut *self;
        let polled = std::task::ready!(this.body.as_mut().poll_frame(cx));
        if let Some(Ok(frame)) = &polled
            && let Some(data) = frame.data_ref()
        {
            this.facts.sent.borrow_mut().see(&data.bytes);
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

impl Linked for Counted {
    fn link(self: Pin<&mut Self>, link: &Rc<Link>) -> bool {
        let this = self.get_mut();
        let is_linked = this.body.as_mut().link(link);
        if is_linked {
            this.facts.sent.borrow_mut().move_to(link.count());
        }
        is_linked
    }
}
