use std::cell::RefCell;
use std::collections::VecDeque;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};

use super::*;
use crate::contract::{Contract, Promise};
use crate::error::Processed;
use crate::stack::{Body, Data, Peer};

type Step = Box<dyn FnOnce(Call) -> std::pin::Pin<Box<dyn Future<Output = Result<Reply, Error>>>>>;

/// Attempt number, previous attempts as stated, size of the request.
type Seen = (u32, Option<String>, usize);

/// A scripted endpoint: one step an attempt; more attempts than steps fail the test.
#[derive(Clone, Default)]
struct Script {
    steps: Rc<RefCell<VecDeque<Step>>>,
    seen: Rc<RefCell<Vec<Seen>>>,
}

impl Script {
    fn new(steps: Vec<Step>) -> Self {
        Self {
            steps: Rc::new(RefCell::new(steps.into())),
            seen: Rc::default(),
        }
    }

    fn attempts(&self) -> usize {
        self.seen.borrow().len()
    }
}

impl Stage for Script {
    async fn call(&self, mut call: Call) -> Result<Reply, Error> {
        let sent = call.headers.clone().into_sent();
        let previous = sent
            .get(PREVIOUS_ATTEMPTS)
            .map(|value| value.to_str().unwrap().to_owned());
        let mut size = 0;
        while let Some(frame) = call.body.frame().await {
            size += frame?.data_ref().map_or(0, |data| data.bytes.len());
        }
        self.seen.borrow_mut().push((call.attempt, previous, size));
        let step = self
            .steps
            .borrow_mut()
            .pop_front()
            .expect("an attempt too many");
        step(call).await
    }
}

fn fail(error: impl Fn() -> Error + 'static) -> Step {
    Box::new(move |_| Box::pin(std::future::ready(Err(error()))))
}

fn answer(head: &[(&'static str, &'static str)], frames: Vec<Result<Frame<Data>, Error>>) -> Step {
    let mut headers: HeaderMap = head
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let body: Body = if frames.is_empty() {
        observe::empty()
    } else {
        Box::pin(StreamBody::new(futures::stream::iter(frames)))
    };
    Box::new(move |_| {
        Box::pin(std::future::ready(Ok(Reply {
            status: StatusCode::OK,
            headers,
            body,
        })))
    })
}

fn message() -> Result<Frame<Data>, Error> {
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

fn ok() -> Step {
    answer(&[], vec![message(), trailers("0")])
}

fn call(class: Class, kind: MethodKind, size: usize) -> Call {
    let frames: Vec<Result<Frame<Data>, Error>> = if size == 0 {
        Vec::new()
    } else {
        vec![Ok(Frame::data(Data::uncredited(Bytes::from(vec![
            1;
            size
        ]))))]
    };
    let body: Body = Box::pin(StreamBody::new(futures::stream::iter(frames)));
    let mut call = Call::arrived(
        Protocol::Grpc,
        Peer::Application,
        Method::POST,
        "/s.S/M".parse().unwrap(),
        "s".to_owned(),
        HeaderMap::new(),
        body,
    );
    call.promise = Some(Arc::new(Promise {
        method: "s.S/M".into(),
        class,
        kind,
    }));
    call
}

fn stage(script: &Script) -> Attempt<Script> {
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
    layer(&shared, &upstream, &Policy::default()).layer(script.clone())
}

async fn status(result: Result<Reply, Error>) -> Result<String, Kind> {
    let reply = result.map_err(|error| error.kind)?;
    if let Some(status) = reply.headers.get(crate::grpc::status::STATUS) {
        return Ok(status.to_str().unwrap().to_owned());
    }
    let collected = reply.body.collect().await.map_err(|error| error.kind)?;
    Ok(collected.trailers().unwrap()[crate::grpc::status::STATUS]
        .to_str()
        .unwrap()
        .to_owned())
}

async fn run(steps: Vec<Step>, call: Call) -> (Result<String, Kind>, Script) {
    let script = Script::new(steps);
    let result = stage(&script).call(call).await;
    (status(result).await, script)
}

fn lost() -> Error {
    Error::new(Kind::ConnectionLost, "end of file")
}

#[tokio::test(start_paused = true)]
async fn what_may_have_run_is_repeated_only_by_contract() {
    for (class, attempts, expected) in [
        (Class::Unknown, 1, Err(Kind::ConnectionLost)),
        (Class::Idempotent, 2, Ok("0".to_owned())),
        (Class::NoSideEffects, 2, Ok("0".to_owned())),
    ] {
        let (result, script) =
            run(vec![fail(lost), ok()], call(class, MethodKind::Unary, 10)).await;
        assert_eq!(
            (result, script.attempts()),
            (expected, attempts),
            "{class:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_carries_the_whole_request_and_says_how_often_it_was_tried() {
    let (result, script) = run(
        vec![fail(lost), ok()],
        call(Class::Idempotent, MethodKind::Unary, 10),
    )
    .await;
    assert_eq!(result, Ok("0".to_owned()));
    assert_eq!(
        *script.seen.borrow(),
        [(1, None, 10), (2, Some("1".to_owned()), 10)]
    );
}

#[tokio::test(start_paused = true)]
async fn one_repeat_is_enough() {
    let unavailable = || answer(&[("grpc-status", "14")], Vec::new());
    let (result, script) = run(
        vec![unavailable(), unavailable()],
        call(Class::Idempotent, MethodKind::Unary, 10),
    )
    .await;
    assert_eq!((result, script.attempts()), (Ok("14".to_owned()), 2));
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_goes_on_at_once_once_whatever_it_is() {
    let refused = || fail(|| Error::reset(7, Processed::No));
    let start = Instant::now();
    let (result, script) = run(
        vec![refused(), ok()],
        call(Class::Unknown, MethodKind::Unary, 10),
    )
    .await;
    assert_eq!(
        (result, script.attempts(), start.elapsed()),
        (Ok("0".to_owned()), 2, Duration::ZERO)
    );
    assert_eq!(
        script.seen.borrow()[1].1,
        None,
        "a transparent repeat is not counted"
    );
    let (result, script) = run(
        vec![refused(), refused(), refused()],
        call(Class::Unknown, MethodKind::Unary, 10),
    )
    .await;
    assert_eq!(
        (result, script.attempts()),
        (Err(Kind::Refused), 3),
        "once transparent, once counted"
    );
}

#[tokio::test(start_paused = true)]
async fn what_never_left_returns_to_balance_uncounted() {
    let unsent = || fail(|| Error::unsent("gone"));
    let (result, script) = run(
        vec![unsent(), unsent(), unsent(), ok()],
        call(Class::Unknown, MethodKind::Unary, 10),
    )
    .await;
    assert_eq!((result, script.attempts()), (Ok("0".to_owned()), 4));
    let endless = (0..=MAX_UNDONE).map(|_| unsent()).collect();
    let (result, _) = run(endless, call(Class::Unknown, MethodKind::Unary, 10)).await;
    assert_eq!(result, Err(Kind::NoEndpoint));
}

#[tokio::test(start_paused = true)]
async fn a_dead_application_behind_a_live_sidecar_is_left_for_another() {
    let down = answer(
        &[("grpc-status", "14"), ("x-outrigger-reason", "no_endpoint")],
        Vec::new(),
    );
    let (result, script) = run(
        vec![down, ok()],
        call(Class::Unknown, MethodKind::Unary, 10),
    )
    .await;
    assert_eq!((result, script.attempts()), (Ok("0".to_owned()), 2));
}

#[tokio::test(start_paused = true)]
async fn a_large_request_is_sent_once() {
    for (size, attempts) in [(64 << 10, 2), ((64 << 10) + 1, 1)] {
        let (_, script) = run(
            vec![fail(lost), ok()],
            call(Class::Idempotent, MethodKind::Unary, size),
        )
        .await;
        assert_eq!(script.attempts(), attempts, "{size} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_first_message_nothing_is_repeated() {
    for kind in [
        MethodKind::Unary,
        MethodKind::ServerStreaming,
        MethodKind::Bidirectional,
    ] {
        let broken = answer(&[], vec![message(), Err(lost())]);
        let (result, script) = run(vec![broken, ok()], call(Class::NoSideEffects, kind, 10)).await;
        assert_eq!(
            (result, script.attempts()),
            (Err(Kind::ConnectionLost), 1),
            "{kind:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_headers_is_repeated_while_they_are_held() {
    for (kind, attempts) in [
        (MethodKind::Unary, 2),
        (MethodKind::ServerStreaming, 2),
        (MethodKind::Bidirectional, 1),
        (MethodKind::ClientStreaming, 1),
    ] {
        let late = answer(&[], vec![trailers("14")]);
        let (_, script) = run(vec![late, ok()], call(Class::NoSideEffects, kind, 10)).await;
        assert_eq!(script.attempts(), attempts, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_streams_headers_are_held_for_a_tenth_of_a_second() {
    let silent: Step = Box::new(|_| {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))]);
        let body = Box::pin(StreamBody::new(futures::stream::pending::<
            Result<Frame<Data>, Error>,
        >()));
        Box::pin(std::future::ready(Ok(Reply {
            status: StatusCode::OK,
            headers,
            body,
        })))
    });
    let script = Script::new(vec![silent]);
    let start = Instant::now();
    let reply = stage(&script)
        .call(call(Class::NoSideEffects, MethodKind::ServerStreaming, 0))
        .await
        .unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(100));
    assert!(!reply.body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn pushback_is_waited_for_exactly_and_never_means_never() {
    let push = |text: &'static str| {
        answer(
            &[("grpc-status", "8"), ("grpc-retry-pushback-ms", text)],
            Vec::new(),
        )
    };
    let start = Instant::now();
    let (result, script) = run(
        vec![push("700"), ok()],
        call(Class::Idempotent, MethodKind::Unary, 10),
    )
    .await;
    assert_eq!(
        (result, script.attempts(), start.elapsed()),
        (Ok("0".to_owned()), 2, Duration::from_millis(700))
    );
    let (result, script) = run(
        vec![push("-1"), ok()],
        call(Class::Idempotent, MethodKind::Unary, 10),
    )
    .await;
    assert_eq!((result, script.attempts()), (Ok("8".to_owned()), 1));
}

#[tokio::test(start_paused = true)]
async fn retries_stop_at_the_deadline() {
    let mut late = call(Class::Idempotent, MethodKind::Unary, 10);
    late.deadline = Some(Instant::now());
    let (_, script) = run(vec![fail(lost), ok()], late).await;
    assert_eq!(script.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_stops_repeats() {
    let script = Script::new(vec![fail(lost), ok()]);
    let stage = stage(&script);
    while stage.upstream.budget.withdraw(Instant::now()) {}
    let result = stage
        .call(call(Class::Idempotent, MethodKind::Unary, 10))
        .await;
    assert_eq!(
        (status(result).await, script.attempts()),
        (Err(Kind::ConnectionLost), 1)
    );
}

#[test]
fn a_route_replaces_the_conditions_it_names() {
    let route = |change: fn(&mut RouteDestination)| {
        let mut route = RouteDestination::default();
        change(&mut route);
        let policy = Policy::of_route(&route);
        (policy.max, policy.on)
    };
    let default = Policy::default();
    assert_eq!(route(|_| {}), (1, default.on.clone()));
    assert_eq!(route(|route| route.num_retries = 9), (4, default.on));
    assert_eq!(
        route(|route| route.retry_on_connect_failure = true),
        (1, vec![])
    );
    assert_eq!(
        route(|route| route.retry_on = vec!["reset".to_owned(), "cancelled".to_owned()]),
        (1, vec![Condition::Transport, Condition::Cancelled])
    );
    assert_eq!(
        route(|route| route.retry_on_status_codes = vec![503, 404]),
        (1, vec![Condition::Unavailable])
    );
}
