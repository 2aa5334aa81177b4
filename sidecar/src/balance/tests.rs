use std::cell::RefCell;
use std::collections::HashMap;

use http::{HeaderMap, Method};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::*;
use crate::attempt::Policy;
use crate::config::{Connection, Scope};
use crate::contract::Contract;
use crate::deadline::Limit;
use crate::error::Processed;
use crate::grpc::timeout;
use crate::http2;
use crate::identity::spiffe::SpiffeId;
use crate::observe;
use crate::observe::Facts;
use crate::stack::{Peer, Protocol};

type Asked = Vec<(Arc<str>, HeaderMap)>;
type Answer = Rc<dyn Fn(&Call) -> Result<Reply, Error>>;

/// Endpoints in whatever state the test says.
#[derive(Clone)]
struct Fake {
    states: Rc<RefCell<HashMap<Arc<str>, State>>>,
    changed: Arc<Notify>,
    asked: Rc<RefCell<Asked>>,
    warmed: Rc<Cell<u32>>,
    crowded: Rc<RefCell<Vec<String>>>,
    answers: Rc<RefCell<HashMap<Arc<str>, Answer>>>,
}

impl Fake {
    fn set(&self, id: &str, state: State) {
        self.states.borrow_mut().insert(id.into(), state);
        self.changed.notify_waiters();
    }

    fn answer(&self, id: &str, answer: impl Fn(&Call) -> Result<Reply, Error> + 'static) {
        self.answers.borrow_mut().insert(id.into(), Rc::new(answer));
    }

    fn asked(&self, id: &str) -> usize {
        self.asked
            .borrow()
            .iter()
            .filter(|(asked, _)| &**asked == id)
            .count()
    }
}

impl Look for Fake {
    fn state(&self, endpoint: &Arc<Endpoint>, _: Instant) -> State {
        self.states
            .borrow()
            .get(&endpoint.id)
            .copied()
            .unwrap_or(State::Idle)
    }

    fn warm(&self, _: &Arc<Endpoint>) {
        self.warmed.set(self.warmed.get() + 1);
    }
}

impl Reach for Fake {
    fn failure(&self, _: &Arc<Endpoint>) -> Option<Kind> {
        None
    }

    fn crowded(&self, upstream: &str) {
        self.crowded.borrow_mut().push(upstream.to_owned());
    }

    fn strangers(&self) -> Strangers {
        let limits = Connection::new(Scope::Mesh);
        Strangers::new(&limits, &TaskTracker::new(), &http2::Metrics::default())
    }

    fn changed(&self) -> impl Future<Output = ()> + 'static {
        // Registered when it is made, as the real pool does.
        let mut notified = Box::pin(self.changed.clone().notified_owned());
        notified.as_mut().enable();
        notified
    }

    async fn exchange(&self, endpoint: &Arc<Endpoint>, call: Call) -> Result<Reply, Error> {
        self.asked
            .borrow_mut()
            .push((endpoint.id.clone(), call.headers.clone().into_sent()));
        let answer = self.answers.borrow().get(&endpoint.id).cloned();
        answer.map_or_else(|| Ok(status("0")), |answer| answer(&call))
    }
}

fn status(code: &'static str) -> Reply {
    let headers = HeaderMap::from_iter([
        (
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/grpc"),
        ),
        (
            crate::grpc::status::STATUS,
            http::HeaderValue::from_static(code),
        ),
    ]);
    Reply {
        status: http::StatusCode::OK,
        headers,
        body: observe::empty(),
    }
}

fn endpoint(id: &str, healthy: bool) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        id: id.into(),
        service: "s".into(),
        address: "127.0.0.1:1".parse().unwrap(),
        identity: Arc::new(SpiffeId::parse("spiffe://x.consul/ns/default/dc/dc1/svc/s").unwrap()),
        sni: "s".into(),
        weight: 1,
        healthy,
        version: None,
        state: Arc::default(),
    })
}

struct World {
    fake: Fake,
    targets: Vec<Arc<Target>>,
    balance: Balance<Fake>,
}

fn world(targets: &[&[(&str, bool)]]) -> World {
    let config: crate::config::Config = toml::from_str(
        "service = \"web\"\ninstance = \"web-0\"\n[registry]\naddress = \"http://127.0.0.1:8500\"",
    )
    .unwrap();
    let shared = Shared::new(Arc::new(config)).unwrap();
    let upstream = Arc::new(Upstream::new(
        "s".into(),
        Contract::default(),
        Instant::now(),
    ));
    let targets: Vec<_> = targets
        .iter()
        .enumerate()
        .map(|(index, endpoints)| {
            let target = Target::new(&index.to_string(), "s");
            target.endpoints.store(Some(Arc::new(
                endpoints
                    .iter()
                    .map(|(id, healthy)| endpoint(id, *healthy))
                    .collect(),
            )));
            target
        })
        .collect();
    let leaf = Leaf {
        name: "s".into(),
        targets: targets.clone(),
        escape: Vec::new(),
        limit: Limit::Default,
        policy: Policy::default(),
        modify: Arc::default(),
    };
    let fake = Fake {
        states: Rc::default(),
        changed: Arc::default(),
        asked: Rc::default(),
        warmed: Rc::default(),
        crowded: Rc::default(),
        answers: Rc::default(),
    };
    for endpoint in targets
        .iter()
        .flat_map(|target| target.endpoints.load_full().unwrap().to_vec())
    {
        fake.set(&endpoint.id, State::Ready);
    }
    let balance = Balance::new(&shared, &upstream, &Arc::new(leaf), fake.clone());
    World {
        fake,
        targets,
        balance,
    }
}

fn call() -> Call {
    Call::arrived(
        Protocol::Grpc,
        Peer::Application,
        Method::POST,
        "/s.S/M".parse().unwrap(),
        "s".to_owned(),
        HeaderMap::new(),
        observe::empty(),
    )
}

fn kind(result: Result<Reply, Error>) -> Option<Kind> {
    result.err().map(|error| error.kind)
}

#[tokio::test(start_paused = true)]
async fn only_ready_and_healthy_endpoints_are_asked() {
    let world = world(&[&[("a", true), ("b", true), ("c", false)]]);
    world.fake.set("b", State::Connecting);
    for _ in 0..20 {
        assert_eq!(kind(world.balance.call(call()).await), None);
    }
    assert_eq!(
        (
            world.fake.asked("a"),
            world.fake.asked("b"),
            world.fake.asked("c")
        ),
        (20, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn the_next_hop_hears_deadline_attempt_and_trace() {
    let world = world(&[&[("a", true)]]);
    let mut call = call();
    call.deadline = Some(Instant::now() + Duration::from_secs(2));
    call.trace = observe::trace::Context::root(1.0);
    let parent = call.trace;
    world.balance.call(call).await.unwrap();
    let headers = world.fake.asked.borrow()[0].1.clone();
    assert_eq!(headers[timeout::HEADER], "2000000u");
    assert_eq!(headers["x-outrigger-attempt"], "1");
    let seen = observe::trace::Context::extract(&mut headers.clone()).unwrap();
    assert_eq!(seen.trace_id, parent.trace_id);
    assert_ne!(seen.span_id, parent.span_id);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_an_endpoint_and_goes_as_soon_as_one_is_ready() {
    let world = world(&[&[("a", true)]]);
    world.fake.set("a", State::Connecting);
    let fake = world.fake.clone();
    let start = Instant::now();
    let (result, ()) = tokio::join!(world.balance.call(call()), async {
        tokio::time::advance(Duration::from_millis(700)).await;
        fake.set("a", State::Ready);
    });
    assert_eq!(
        (kind(result), start.elapsed()),
        (None, Duration::from_millis(700))
    );
    assert_eq!(world.balance.upstream.waiting.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_ready_for_three_seconds_fails_fast_from_then_on() {
    let world = world(&[&[("a", true)]]);
    world.fake.set("a", State::Backoff);
    let start = Instant::now();
    assert_eq!(
        kind(world.balance.call(call()).await),
        Some(Kind::NoEndpoint)
    );
    assert_eq!(start.elapsed(), FAIL_FAST);
    assert_eq!(
        kind(world.balance.call(call()).await),
        Some(Kind::NoEndpoint)
    );
    assert_eq!(start.elapsed(), FAIL_FAST, "at once");
    world.fake.set("a", State::Ready);
    assert_eq!(kind(world.balance.call(call()).await), None);
    assert!(world.fake.warmed.get() > 0);
}

#[tokio::test(start_paused = true)]
async fn a_service_without_healthy_instances_fails_at_once() {
    for endpoints in [&[][..], &[("a", false)]] {
        let world = world(&[endpoints]);
        let start = Instant::now();
        let error = world.balance.call(call()).await.unwrap_err();
        assert_eq!(
            (error.kind, error.processed, start.elapsed()),
            (Kind::NoEndpoint, Processed::No, Duration::ZERO)
        );
    }
}

/// Those of connections that nobody was served on yet are too many sooner.
#[tokio::test(start_paused = true)]
async fn too_many_waiting_calls_are_refused() {
    let cases = [
        (1023, false, Kind::NoEndpoint),
        (1024, false, Kind::Overloaded),
        (1279, true, Kind::NoEndpoint),
        (1280, true, Kind::Overloaded),
    ];
    for (wait, is_known, expected) in cases {
        let world = world(&[&[("a", true)]]);
        world.fake.set("a", State::Connecting);
        let waiting = &world.balance.upstream.waiting;
        waiting.store(wait, Ordering::Relaxed);
        let mut call = call();
        call.facts = Rc::new(Facts {
            is_known,
            ..Facts::default()
        });
        let error = world.balance.call(call).await.unwrap_err();
        let is_pushed_back = error.pushback.is_some();
        assert_eq!(
            (error.kind, is_pushed_back),
            (expected, expected == Kind::Overloaded)
        );
        assert_eq!(waiting.load(Ordering::Relaxed), wait);
        assert_eq!(
            world.fake.crowded.borrow().len(),
            usize::from(is_pushed_back)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_goes_elsewhere_while_there_is_an_elsewhere() {
    let world = world(&[&[("a", true), ("b", true)]]);
    for _ in 0..20 {
        let call = call();
        call.facts.tried.borrow_mut().push("a".into());
        world.balance.call(call).await.unwrap();
    }
    assert_eq!(world.fake.asked("b"), 20);
    world.fake.set("b", State::Backoff);
    let call = call();
    call.facts.tried.borrow_mut().push("a".into());
    world.balance.call(call).await.unwrap();
    assert_eq!(world.fake.asked("a"), 1);
}

#[tokio::test(start_paused = true)]
async fn failing_instances_are_left_alone_and_probed_later() {
    let world = world(&[&[("a", true), ("b", true)]]);
    world.fake.answer("a", |_| Ok(status("14")));
    for _ in 0..200 {
        let _ = world.balance.call(call()).await;
    }
    let before = world.fake.asked("a");
    assert!(before < 20, "{before} calls to the failing instance");
    let a = world.targets[0].endpoints.load_full().unwrap()[0].clone();
    // Fail it until the breaker opens, whatever the draw.
    while a.state.breaker.state().mode != breaker::Mode::Open {
        a.state.breaker.failure(
            &breaker::Config::default(),
            world.balance.shared.clock.millis(Instant::now()),
            0.0,
        );
    }
    let before = world.fake.asked("a");
    for _ in 0..50 {
        world.balance.call(call()).await.unwrap();
    }
    assert_eq!(
        world.fake.asked("a"),
        before,
        "an open breaker gets nothing"
    );
    world.fake.answer("a", |_| Ok(status("0")));
    world.fake.set("b", State::Backoff);
    tokio::time::advance(Duration::from_secs(2)).await;
    world.balance.call(call()).await.unwrap();
    assert_eq!(a.state.breaker.state().mode, breaker::Mode::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_single_instance_with_an_open_breaker_fails_fast() {
    let world = world(&[&[("a", true)]]);
    world
        .fake
        .answer("a", |_| Err(Error::new(Kind::ConnectionLost, "gone")));
    for _ in 0..7 {
        assert_eq!(
            kind(world.balance.call(call()).await),
            Some(Kind::ConnectionLost)
        );
    }
    let error = world.balance.call(call()).await.unwrap_err();
    assert_eq!(
        (error.kind, error.pushback.is_some()),
        (Kind::BreakerOpen, true)
    );
    assert_eq!(world.fake.asked("a"), 7);
}

#[tokio::test(start_paused = true)]
async fn half_of_the_instances_always_stay_in_the_set() {
    let world = world(&[&[("a", true), ("b", true)]]);
    for id in ["a", "b"] {
        world
            .fake
            .answer(id, |_| Err(Error::new(Kind::ConnectionLost, "gone")));
    }
    for _ in 0..40 {
        assert_eq!(
            kind(world.balance.call(call()).await),
            Some(Kind::ConnectionLost)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_never_left_costs_the_endpoint_nothing() {
    let world = world(&[&[("a", true)]]);
    world.fake.answer("a", |_| Err(Error::unsent("gone")));
    let sent = call();
    let facts = sent.facts.clone();
    assert!(world.balance.call(sent).await.unwrap_err().unsent);
    let a = world.targets[0].endpoints.load_full().unwrap()[0].clone();
    assert_eq!(
        (
            a.state.pending.load(Ordering::Relaxed),
            facts.attempts.get(),
            facts.tried.borrow().len()
        ),
        (0, 0, 0)
    );
    assert_eq!(a.state.breaker.state(), breaker::State::default());
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_leaving_gets_no_new_calls_for_a_while() {
    let world = world(&[&[("a", true), ("b", true)]]);
    world.fake.answer("a", |_| {
        let mut reply = status("14");
        reply.headers.insert(
            "x-outrigger-reason",
            http::HeaderValue::from_static("draining"),
        );
        Ok(reply)
    });
    for _ in 0..100 {
        world.balance.call(call()).await.unwrap();
    }
    assert!(world.fake.asked("a") <= 1);
    tokio::time::advance(Duration::from_millis(5_001)).await;
    for _ in 0..100 {
        world.balance.call(call()).await.unwrap();
    }
    assert!(world.fake.asked("a") >= 1);
}

#[tokio::test(start_paused = true)]
async fn failover_starts_when_nobody_of_the_first_target_is_ready() {
    let world = world(&[&[("a", true)], &[("z", true)]]);
    world.balance.call(call()).await.unwrap();
    assert_eq!((world.fake.asked("a"), world.fake.asked("z")), (1, 0));
    world.fake.set("a", State::Backoff);
    world.balance.call(call()).await.unwrap();
    assert_eq!((world.fake.asked("a"), world.fake.asked("z")), (1, 1));
    world.fake.set("a", State::Ready);
    world.balance.call(call()).await.unwrap();
    assert_eq!(world.fake.asked("a"), 2, "failing back is immediate");
}

#[tokio::test(start_paused = true)]
async fn open_attempts_are_counted_until_they_end() {
    let world = world(&[&[("a", true)]]);
    world.fake.answer("a", |_| {
        let mut reply = status("0");
        reply.headers.remove(crate::grpc::status::STATUS);
        reply.body = Box::pin(http_body_util::StreamBody::new(futures::stream::pending::<
            Result<http_body::Frame<crate::stack::Data>, Error>,
        >()));
        Ok(reply)
    });
    let a = world.targets[0].endpoints.load_full().unwrap()[0].clone();
    let reply = world.balance.call(call()).await.unwrap();
    assert_eq!(a.state.pending.load(Ordering::Relaxed), 1);
    drop(reply);
    assert_eq!(a.state.pending.load(Ordering::Relaxed), 0);
}
