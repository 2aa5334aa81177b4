//! One attempt from dispatch to outcome: what the next hop is told, and who hears how it ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry::KeyValue;
use rand::RngExt;
use tokio::time::Instant;

use super::endpoint::{Endpoint, Pending};
use super::select::Picked;
use crate::breaker::{self, Mode};
use crate::call::headers::ATTEMPT;
use crate::contract::Kind as MethodKind;
use crate::error::{Error, Kind};
use crate::grpc::timeout;
use crate::observe::trace;
use crate::outcome::consumer::{Effect, Sample};
use crate::outcome::judge::Judge;
use crate::outcome::watch::Watch;
use crate::outcome::{Counts, Outcome};
use crate::snapshot::{Shared, Upstream};
use crate::stack::{Call, Protocol, Reply, number};

/// An endpoint that says it is leaving or not there yet gets no new calls for this long.
const HOLD_MILLIS: u64 = 5_000;
/// Nobody is to blame for what could not be answered in this time.
const FAIR: Duration = Duration::from_millis(10);

/// A call as it goes to the endpoint, and the attempt that will hear of its end.
#[derive(Debug)]
pub struct Opened {
    pub call: Call,
    pub attempt: Attempt,
}

/// An open attempt: counted as pending until it is over.
#[derive(Debug)]
pub struct Attempt {
    watch: Watch,
    endpoint: Arc<Endpoint>,
    shared: Arc<Shared>,
    facts: std::rc::Rc<crate::observe::Facts>,
    config: breaker::Config,
    probe: bool,
    streams: bool,
}

/// What the report of an attempt needs.
struct Report {
    shared: Arc<Shared>,
    upstream: Arc<Upstream>,
    endpoint: Arc<Endpoint>,
    facts: std::rc::Rc<crate::observe::Facts>,
    handles: Arc<crate::observe::metrics::AttemptHandles>,
    config: breaker::Config,
    context: trace::Context,
    protocol: Protocol,
    probe: bool,
    streams: bool,
    number: u32,
    received: Instant,
    dispatched: Instant,
    /// What was left of the deadline then.
    given: Option<Duration>,
    pending: Pending,
}

/// Writes what the next hop needs and counts the attempt.
pub fn open(
    shared: &Arc<Shared>,
    upstream: &Arc<Upstream>,
    picked: &Picked,
    config: &breaker::Config,
    mut call: Call,
) -> Result<Opened, Error> {
    let now = Instant::now();
    let endpoint = &picked.endpoint;
    if let Err(error) = tell(&mut call, now) {
        if picked.probe {
            endpoint.state.breaker.undecided(shared.clock.millis(now));
        }
        return Err(error);
    }
    let facts = call.facts.clone();
    facts.dispatched.set(true);
    facts.attempts.set(facts.attempts.get() + 1);
    facts.tried.borrow_mut().push(endpoint.id.clone());
    let kind = call
        .promise
        .as_ref()
        .map_or(MethodKind::Unknown, |promise| promise.kind);
    let streams = kind != MethodKind::Unary;
    let handles = shared.metrics.attempt(&upstream.name, &facts.method());
    handles.start();
    let report = Report {
        shared: shared.clone(),
        upstream: upstream.clone(),
        endpoint: endpoint.clone(),
        facts: facts.clone(),
        handles,
        config: *config,
        context: call.trace,
        protocol: call.protocol,
        probe: picked.probe,
        streams,
        number: facts.attempts.get(),
        received: call.received,
        dispatched: now,
        given: call
            .deadline
            .map(|deadline| deadline.saturating_duration_since(now)),
        pending: Pending::new(endpoint),
    };
    let judge = Judge::new(call.protocol == Protocol::Grpc, kind, now);
    let watch = Watch::new(judge, call.deadline, move |outcome| report.finish(&outcome));
    Ok(Opened {
        call,
        attempt: Attempt {
            watch,
            endpoint: endpoint.clone(),
            shared: shared.clone(),
            facts,
            config: *config,
            probe: picked.probe,
            streams,
        },
    })
}

/// Deadline, attempt number and trace, as of now.
fn tell(call: &mut Call, now: Instant) -> Result<(), Error> {
    if let Some(deadline) = call.deadline {
        let left = timeout::encode(deadline.saturating_duration_since(now));
        let Some(left) = left else {
            return Err(Error::unprocessed(
                Kind::DeadlineExceeded,
                "the deadline passed before the call could be sent",
            ));
        };
        if call.protocol == Protocol::Grpc {
            call.headers.say(timeout::HEADER, left);
        }
    }
    let attempt = number(call.attempt);
    call.headers.say(ATTEMPT, attempt);
    call.trace = call.trace.child();
    let traceparent = call.trace.traceparent();
    call.headers.say(trace::TRACEPARENT, traceparent);
    Ok(())
}

/// Tells that an endpoint's breaker has changed.
pub(crate) fn changed_to(
    mode: Mode,
    shared: &Shared,
    upstream: &Upstream,
    endpoint: &Endpoint,
    reason: &str,
) {
    let to = match mode {
        Mode::Closed => "closed",
        Mode::Open => "open",
        Mode::HalfOpen => "half_open",
    };
    shared.metrics.transition(&upstream.name, &endpoint.id, to);
    tracing::info!(
        service = &*upstream.name,
        endpoint = &*endpoint.id,
        to,
        reason,
        "breaker changed"
    );
}

// === impl Attempt ===

impl Attempt {
    /// Follows the attempt to its end. One that never left is undone: nobody hears of it.
    pub fn follow(self, result: Result<Reply, Error>) -> Result<Reply, Error> {
        let now = self.shared.clock.millis(Instant::now());
        match &result {
            Err(error) if error.unsent => {
                self.watch.forget();
                if self.probe {
                    self.endpoint.state.breaker.undecided(now);
                }
                self.facts
                    .attempts
                    .set(self.facts.attempts.get().saturating_sub(1));
                self.facts.tried.borrow_mut().pop();
                return result;
            }
            // A probing stream has proved the endpoint at its headers: it may stay open for an hour.
            Ok(reply)
                if self.probe
                    && self.streams
                    && reply.status == http::StatusCode::OK
                    && !reply.headers.contains_key(crate::grpc::status::STATUS) =>
            {
                self.endpoint.state.breaker.success(&self.config, now);
            }
            _ => {}
        }
        self.watch.follow(result)
    }
}

/// Blame for a passed deadline only if the endpoint had the call for more than half of its time, and was given enough to answer: else
/// whoever asks for the impossible would take the endpoint away from all other callers.
fn is_blamed(here: Duration, total: Duration, given: Option<Duration>) -> bool {
    here * 2 > total && given.is_none_or(|given| given >= FAIR)
}

// === impl Report ===

impl Report {
    fn finish(self, outcome: &Outcome) {
        let now = Instant::now();
        self.to_breaker(outcome, now);
        self.to_estimate(outcome, now);
        self.handles.finish(
            outcome.code,
            outcome.elapsed,
            self.facts.sent(),
            Counts { ..outcome.received },
        );
        if self.shared.traces.wants(&self.context) {
            self.shared.traces.export(self.span(outcome));
        }
        drop(self.pending);
    }

    fn to_breaker(&self, outcome: &Outcome, now: Instant) {
        let (here, total) = (
            now.saturating_duration_since(self.dispatched),
            now.saturating_duration_since(self.received),
        );
        let blamed = is_blamed(here, total, self.given);
        let millis = self.shared.clock.millis(now);
        let breaker = &self.endpoint.state.breaker;
        let changed = match outcome.effect(blamed) {
            Effect::Success => breaker.success(&self.config, millis),
            Effect::Failure => breaker.failure(&self.config, millis, rand::rng().random()),
            Effect::Neutral | Effect::Hold => {
                if self.probe {
                    breaker.undecided(millis);
                }
                None
            }
        };
        if outcome.effect(blamed) == Effect::Hold {
            self.endpoint
                .state
                .held_until
                .store(millis + HOLD_MILLIS, Ordering::Relaxed);
        }
        if let Some(mode) = changed {
            let reason = outcome.reason_flag();
            changed_to(mode, &self.shared, &self.upstream, &self.endpoint, reason);
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "milliseconds of a call fit an f32"
    )]
    fn to_estimate(&self, outcome: &Outcome, now: Instant) {
        let short = self.shared.clock.short_millis(now);
        let millis = |duration: Duration| (duration.as_secs_f64() * 1_000.0) as f32;
        let elapsed = millis(outcome.elapsed);
        let latency = &self.endpoint.state.latency;
        match outcome.sample() {
            Sample::Full => {
                // A stream's length says nothing about the endpoint's speed.
                let measured = if self.streams {
                    outcome.first_response.map_or(elapsed, millis)
                } else {
                    elapsed
                };
                latency.update(short, |estimate| estimate.observe(short, measured));
            }
            Sample::Failure => latency.update(short, |estimate| estimate.penalise(short, elapsed)),
            Sample::Censored => latency.update(short, |estimate| estimate.censor(short, elapsed)),
            Sample::Nothing => {}
        }
    }

    fn span(&self, outcome: &Outcome) -> trace::Span {
        let method = self.facts.method();
        let mut attributes =
            trace::call_attributes(self.protocol, &method, &self.upstream.name, outcome);
        attributes.push(KeyValue::new("outrigger.attempt", i64::from(self.number)));
        attributes.push(KeyValue::new(
            "outrigger.endpoint",
            self.endpoint.id.to_string(),
        ));
        trace::Span {
            context: self.context,
            kind: trace::SpanKind::Client,
            name: method.to_string().into(),
            elapsed: self.dispatched.elapsed(),
            failed: !outcome.is_ok(),
            attributes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_had_too_little_time_is_not_to_blame() {
        for (here, total, given, expected) in [
            (0, 0, 0, false),
            (1, 1, 1, false),
            // A busy machine notices late.
            (400, 400, 9, false),
            (10, 10, 10, true),
            (10, 20, 20, false),
            (11, 20, 20, true),
            (400, 1000, 1000, false),
            (600, 1000, 700, true),
        ] {
            let [here, total, given] = [here, total, given].map(Duration::from_millis);
            let blamed = is_blamed(here, total, Some(given));
            assert_eq!(blamed, expected, "{here:?} of {total:?}, given {given:?}");
        }
        assert!(is_blamed(FAIR, FAIR, None));
    }
}
