//! A deadline shrinks from hop to hop, ends a call everywhere, and is never misread as "for ever".

use std::time::Duration;

use http::HeaderValue;
use outrigger_tests::alone::alone;
use outrigger_tests::client::Call;
use outrigger_tests::eventually::holds;
use outrigger_tests::figure::{quantile, spread, tell};
use outrigger_tests::mesh::Service;
use outrigger_tests::upstream::{Address, End, Upstream};
use outrigger_tests::{Client, Mesh, eventually, settings};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code;

use crate::ECHO;

const CANCEL: u32 = 8;
/// Fewer than failures in a row open a breaker.
const AT_ONCE: u32 = 5;
const WATCH: &str = "/test.Echo/Watch";
const RELAY: &str = "/test.Echo/Relay";
/// `NO_SIDE_EFFECTS`.
const GET_PRODUCT: &str = "/shop.catalog.v1.ProductService/GetProduct";

/// Units of `grpc-timeout`, with their length in nanoseconds.
const UNITS: [(char, u128); 6] = [
    ('n', 1),
    ('u', 1_000),
    ('m', 1_000_000),
    ('S', 1_000_000_000),
    ('M', 60_000_000_000),
    ('H', 3_600_000_000_000),
];

fn nanos(text: &str) -> u128 {
    let (digits, unit) = text.split_at_checked(text.len() - 1).expect(text);
    let is_text = !digits.is_empty() && digits.len() <= 8;
    assert!(is_text, "{text:?} has a unit and 1 to 8 digits");
    let (_, length) = UNITS
        .iter()
        .find(|(letter, _)| unit.starts_with(*letter))
        .expect(text);
    digits.parse::<u128>().expect(text) * length
}

/// How late something may be on the machine that runs this: `OUTRIGGER_LATE_MILLIS`, for a busy one. C11 says 20 for an answer and 50
/// for a cancel, which a full run asks for with 20.
fn late() -> Duration {
    Duration::from_millis(settings::number("OUTRIGGER_LATE_MILLIS", 500))
}

#[tokio::test]
async fn it_ends_a_call_that_hangs() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let upstream = mesh.upstream("orders");
            mesh.client("web")
                .unary("orders", ECHO, "")
                .await
                .expect_ok();
            upstream.hang();
            let begun = Instant::now();
            let call = Call::new("orders", ECHO).header("grpc-timeout", "300m");
            let answer = mesh.client("web").call(call).await;
            let took = begun.elapsed();
            assert_eq!(
                answer.code(),
                Code::DeadlineExceeded,
                "{}",
                answer.summary()
            );
            assert_eq!(answer.reason(), "deadline_exceeded");
            assert!(took >= Duration::from_millis(300), "{took:?}");
            assert!(took < Duration::from_millis(600), "{took:?}");
            upstream.resume();
        })
        .await;
}

/// C11: four applications in a row, a pair of sidecars before each.
#[tokio::test]
async fn c11_what_is_left_falls_at_every_hop_for_every_unit_and_length() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let web = mesh.client("web");
            let hop = format!("orders@{}", web.address());
            let route = [&*hop; 3].join(" ");
            let mut whole = 0;
            for (unit, _) in UNITS {
                for digits in 1..=8 {
                    let sent = format!("{}{unit}", "9".repeat(digits));
                    let call = Call::new("orders", RELAY)
                        .header("grpc-timeout", &sent)
                        .header("x-test-route", &route);
                    let begun = Instant::now();
                    let answer = web.call(call).await;
                    let (time, took) = (nanos(&sent), begun.elapsed().as_nanos());
                    if answer.code() == Code::DeadlineExceeded {
                        good(&web, 10).await;
                        assert!(time < 20 * UNITS[3].1, "{sent}: {}", answer.summary());
                        assert!(took >= time, "{sent} was over after {took} ns");
                        continue;
                    }
                    let answer = answer.expect_ok();
                    assert!(time > UNITS[2].1, "{sent} was long enough");
                    let mut before = time;
                    for line in answer.text().lines().filter(|line| !line.starts_with('!')) {
                        let left = nanos(line);
                        assert!(left < before, "{sent}: {line} behind {before} ns");
                        before = left;
                    }
                    // Rounded down at eight places, to a second at most where it is below three years.
                    if time <= 100_000_000 * UNITS[3].1 {
                        let spent = time - before;
                        assert!(
                            spent <= took + 8 * UNITS[3].1,
                            "{sent}: {spent} ns are gone"
                        );
                    }
                    whole += usize::from(answer.text().lines().count() == 4);
                }
            }
            // Those of nine seconds and more: two in u, five in m, all of S, M and H.
            assert!(whole >= 2 + 5 + 24, "{whole} went all the way");
        })
        .await;
}

#[tokio::test]
async fn c11_the_public_waits_an_hour_at_most() {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .run(async |mesh| {
            let edge = mesh.sidecar("orders").addresses.edge.clone().unwrap();
            let client = Client::new(Address::parse(&edge));
            let call = Call::new("orders", ECHO).header("grpc-timeout", "99999999H");
            client.call(call).await.expect_ok();
            let request = mesh.upstream("orders").requests().pop().unwrap();
            let left = nanos(request.headers["grpc-timeout"].to_str().unwrap());
            let hour = UNITS[5].1;
            assert!((hour - UNITS[4].1..hour).contains(&left), "{left} ns");
        })
        .await;
}

const MALFORMED: [&[u8]; 25] = [
    b"",
    b"5",
    b"S",
    b"5s",
    b"-1S",
    b"+1S",
    b"1.5S",
    b"123456789S",
    b"000000005S",
    b"99999999999999999999n",
    b"5 S",
    b"5\tS",
    b"S5",
    b"5SS",
    b"5ms",
    b"0x5S",
    b"1e3m",
    b"5h",
    b"5N",
    b"5d",
    b"5S,5S",
    b"infinite",
    b"\xb2S",
    b"\xef\xbc\x95S",
    b"5\xc2\xb5",
];

#[tokio::test]
async fn c11_a_malformed_one_is_refused_and_goes_nowhere() {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .client("web")
        .run(async |mesh| {
            let edge = mesh.sidecar("orders").addresses.edge.clone().unwrap();
            let edge = Client::new(Address::parse(&edge));
            for client in [mesh.client("web"), edge] {
                for value in MALFORMED {
                    let mut call = Call::new("orders", ECHO);
                    let timeout = HeaderValue::from_bytes(value).unwrap();
                    call.headers.insert("grpc-timeout", timeout);
                    let answer = client.call(call).await;
                    let shown = value.escape_ascii();
                    assert_eq!(
                        answer.code(),
                        Code::Internal,
                        "{shown}: {}",
                        answer.summary()
                    );
                    let message = answer.field("grpc-message").unwrap_or_default();
                    assert!(message.contains("grpc-timeout"), "{shown}: {message}");
                }
                let twice = Call::new("orders", ECHO)
                    .header("grpc-timeout", "5S")
                    .header("grpc-timeout", "5S");
                assert_eq!(client.call(twice).await.code(), Code::Internal);
            }
            assert_eq!(mesh.upstream("orders").requests().len(), 0);
        })
        .await;
}

/// The end of a watched call, once it is there.
async fn end_of(upstream: &Upstream, id: u32) -> End {
    eventually("the application hears the end", async || {
        let found = upstream.ended().into_iter().find(|end| end.id == id);
        found.ok_or("not yet")
    })
    .await
}

fn watched(id: u32) -> Call {
    Call::new("orders", WATCH).header("x-test-code", &id.to_string())
}

/// Successes enough that the failures between them open no breaker.
async fn good(web: &Client, calls: usize) {
    for _ in 0..calls {
        web.unary("orders", ECHO, "").await.expect_ok();
    }
}

/// C11: `OUTRIGGER_DEADLINES` calls, a few at a time.
#[tokio::test]
async fn c11_its_passing_is_answered_and_cancelled_on_time() {
    let _alone = alone().await;
    let calls = u32::try_from(settings::number("OUTRIGGER_DEADLINES", 100)).unwrap();
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let web = mesh.client("web");
            let (mut answers, mut cancels) = (Vec::new(), Vec::new());
            for round in 0..calls.div_ceil(AT_ONCE) {
                good(&web, 6 * AT_ONCE as usize).await;
                let mut running = JoinSet::new();
                for number in 0..AT_ONCE {
                    let (web, id) = (web.clone(), round * AT_ONCE + number);
                    running.spawn(async move {
                        let time = Duration::from_millis(400 + u64::from(number) * 17);
                        let text = format!("{}m", time.as_millis());
                        let over = Instant::now() + time;
                        let answer = web.call(watched(id).header("grpc-timeout", &text)).await;
                        (id, over, Instant::now(), answer)
                    });
                }
                for (id, over, answered, answer) in running.join_all().await {
                    let code = answer.code();
                    assert_eq!(code, Code::DeadlineExceeded, "{}", answer.summary());
                    assert!(answered >= over, "too early");
                    answers.push(answered - over);
                    let end = end_of(mesh.upstream("orders"), id).await;
                    assert_eq!(end.code, Some(CANCEL), "the application's stream is reset");
                    cancels.push(end.at.saturating_duration_since(over));
                }
            }
            tell(&format!("c11 deadline answered: {}", spread(&answers)));
            tell(&format!("c11 deadline cancelled: {}", spread(&cancels)));
            assert!(quantile(&answers, 99) <= late(), "{}", spread(&answers));
            let bar = late().max(Duration::from_millis(50));
            assert!(quantile(&cancels, 99) <= bar, "{}", spread(&cancels));
        })
        .await;
}

#[tokio::test]
async fn c11_a_callers_cancel_reaches_the_application_at_once() {
    let _alone = alone().await;
    let calls = u32::try_from(settings::number("OUTRIGGER_DEADLINES", 100)).unwrap();
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let (web, upstream) = (mesh.client("web"), mesh.upstream("orders"));
            let mut cancels = Vec::new();
            for id in 0..calls {
                let stream = web.open(&watched(id)).await.unwrap();
                eventually("the call has arrived", async || {
                    let arrived = upstream.handled();
                    holds(arrived == u64::from(id) + 1, arrived)
                })
                .await;
                let gone = Instant::now();
                drop(stream);
                let end = end_of(upstream, id).await;
                assert_eq!(end.code, Some(CANCEL), "the application's stream is reset");
                cancels.push(end.at.saturating_duration_since(gone));
            }
            tell(&format!("c11 caller's cancel: {}", spread(&cancels)));
            let bar = late().max(Duration::from_millis(50));
            assert!(quantile(&cancels, 99) <= bar, "{}", spread(&cancels));
        })
        .await;
}

#[tokio::test]
async fn c11_a_second_attempt_has_what_the_first_left() {
    let time = Duration::from_secs(4);
    Mesh::builder()
        .service(Service::new("catalog").contract("catalog"))
        .client("gateway")
        .run(async |mesh| {
            let (gateway, upstream) = (mesh.client("gateway"), mesh.upstream("catalog"));
            let get = Call::new("catalog", GET_PRODUCT);
            gateway.call(get.clone()).await.expect_ok();
            upstream.hang();
            upstream.unavailable_next(1);
            let mut calls = JoinSet::new();
            let call = get.header("grpc-timeout", &format!("{}m", time.as_millis()));
            calls.spawn(async move { gateway.call(call).await });
            eventually("the first attempt has arrived", async || {
                holds(upstream.handled() == 2, upstream.handled())
            })
            .await;
            // The mesh has counted for longer than that.
            let resumed = Instant::now() + time * 8 / 10;
            eventually("80 % have passed", async || {
                holds(Instant::now() >= resumed, "not yet")
            })
            .await;
            upstream.resume();
            let answer = calls.join_next().await.unwrap().unwrap();
            answer.expect_ok();
            let left: Vec<u128> = upstream
                .requests()
                .iter()
                .skip(1)
                .map(|request| nanos(request.headers["grpc-timeout"].to_str().unwrap()))
                .collect();
            let [first, second] = *left else {
                panic!("{} attempts", left.len());
            };
            assert!(first < time.as_nanos(), "{first}");
            assert!(
                second <= time.as_nanos() / 5,
                "{second} ns of {time:?} are left"
            );
        })
        .await;
}
