//! A sidecar that is short of memory gives up calls, not itself; what all calls hold together has bounds.

use std::time::Duration;

use outrigger_tests::cgroup::Cgroup;
use outrigger_tests::figure;
use outrigger_tests::mesh::Service;
use outrigger_tests::raw::{self, END_HEADERS, END_STREAM, Frame, Raw, frame, kind};
use outrigger_tests::{Mesh, eventually, settings, tls};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::limit::{answered, hits, neighbour_is_served, rises};

const FRAME: usize = 16 << 10;

/// Windows so wide that a call is held whole.
const WIDE: &str = "[limits.edge]
stream_window = 1048576
known_stream_window = 1048576
connection_window = 134217728
connection_buffered = 33554432
connections_per_peer = 10000
[limits.process]
header_memory = 4194304
buffered_bytes = 100663296
";

fn head_of(path: &str, stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = raw::grpc("orders", path);
    fields.extend_from_slice(more);
    frame(kind::HEADERS, END_HEADERS, stream, &raw::block(&fields))
}

fn is_end(frame: &Frame) -> bool {
    frame.kind == kind::HEADERS && frame.flags & END_STREAM != 0
}

/// How a call ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Served,
    /// By a head alone.
    Refused,
    Reset(Option<u32>),
    Lost,
}

/// Sends one call of a MiB, on a connection of its own.
async fn begin(edge: &str) -> Raw {
    let mut raw = Raw::connect(edge).await;
    let is_window = |frame: &Frame| frame.kind == kind::WINDOW_UPDATE && frame.stream == 0;
    raw.until(is_window).await;
    // It answers without a look at the body, once it answers at all.
    let mut call = head_of("/test.Echo/Linger", 1, &[("x-test-code", "0")]);
    for _ in 0..64 {
        call.extend(frame(kind::DATA, 0, 1, &[7; FRAME]));
    }
    raw.send(&call).await;
    raw
}

async fn ended(mut raw: Raw) -> Ended {
    let is_answer = |frame: &Frame| matches!(frame.kind, kind::HEADERS | kind::RST_STREAM);
    match raw.until(is_answer).await {
        None => Ended::Lost,
        Some((_, frame)) if is_end(&frame) => Ended::Refused,
        Some((_, frame)) if frame.kind == kind::RST_STREAM => Ended::Reset(frame.reset()),
        Some(_) => match raw.until(is_end).await {
            Some(_) => Ended::Served,
            None => Ended::Lost,
        },
    }
}

/// So many calls while the application answers none, each begun when the one before has been sent; then it answers.
async fn loaded(mesh: &Mesh, calls: u64) -> Vec<Ended> {
    let orders = mesh.sidecar("orders");
    let edge = orders.addresses.edge.as_ref().unwrap();
    mesh.upstream("orders").hang();
    let mut waiting = JoinSet::new();
    let mut over = Vec::new();
    for _ in 0..calls {
        waiting.spawn(ended(begin(edge).await));
        over.extend(std::iter::from_fn(|| waiting.try_join_next()).map(Result::unwrap));
    }
    mesh.upstream("orders").resume();
    over.extend(waiting.join_all().await);
    over
}

fn count(ended: &[Ended], how: &Ended) -> u64 {
    ended.iter().filter(|ended| *ended == how).count() as u64
}

/// F21. With 128 MiB, at the load it carries and at twice that: so many calls of a MiB that wait for the application at once,
/// `OUTRIGGER_MEMORY_CALLS`, so many times, `OUTRIGGER_MEMORY_ROUNDS`.
#[tokio::test(flavor = "multi_thread")]
async fn f21_at_twice_the_load_it_can_carry_it_refuses_calls_and_lives() {
    let Some(group) = Cgroup::memory(128 << 20) else {
        return;
    };
    let calls = settings::number("OUTRIGGER_MEMORY_CALLS", 80);
    let rounds = settings::number("OUTRIGGER_MEMORY_ROUNDS", 2);
    Mesh::builder()
        .service(Service::new("orders").edge().after(&group.joining()))
        .client("web")
        .settings(WIDE)
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            let normal = loaded(mesh, calls).await;
            assert_eq!(count(&normal, &Ended::Served), calls, "{normal:?}");
            assert_eq!(hits(orders, "process", "memory_guard").await, 0.0);

            let mut refused = 0;
            for _ in 0..rounds {
                let twice = loaded(mesh, 2 * calls).await;
                let served = count(&twice, &Ended::Served);
                refused += count(&twice, &Ended::Refused);
                let peak = group.peak() >> 20;
                figure::tell(&format!("{calls} at once, then {served} of twice as many, {refused} refused; at most {peak} MiB"));
                assert_eq!(group.killed(), 0);
                assert!(refused > 0, "nothing was refused at {peak} MiB: {twice:?}");
                assert!(served * 10 >= calls * 7, "{served} were served");
                let unwanted = count(&twice, &Ended::Reset(Some(7)));
                assert_eq!(unwanted, 0, "REFUSED_STREAM comes back at once");
                serves_again(mesh).await;
            }
            let hits = hits(orders, "process", "memory_guard").await;
            assert!(hits >= refused as f64, "{hits} refusals were counted");
        })
        .await;
    group.remove().await;
}

/// It has what it needs again, and serves as before.
async fn serves_again(mesh: &Mesh) {
    let client = mesh.client("web");
    eventually("it serves again", async || {
        let answer = client.unary("orders", crate::ECHO, "again").await;
        match answer.code() {
            tonic::Code::Ok => Ok(()),
            _ => Err(answer.summary()),
        }
    })
    .await;
}

/// Far below what any process needs.
const LITTLE: &str =
    "[limits.process]\nmemory = 1048576\nheader_memory = 100000\nbuffered_bytes = 400000\n";

#[tokio::test]
async fn short_of_memory_calls_hear_overloaded_and_when_to_come_back() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .settings(LITTLE)
        .run(async |mesh| {
            let answer = mesh.client("web").unary("orders", crate::ECHO, "x").await;
            assert_eq!(answer.code(), tonic::Code::ResourceExhausted);
            assert_eq!(answer.reason(), "overloaded");
            let pushback = answer.field("grpc-retry-pushback-ms");
            let pushback = pushback.and_then(|pushback| pushback.parse().ok());
            assert!(
                pushback.is_some_and(|pushback| (500..=1000).contains(&pushback)),
                "{pushback:?}"
            );
            assert_eq!(mesh.upstream("orders").handled(), 0);
            let web = mesh.client_sidecar("web");
            rises(web, "process", "memory_guard", 0.0).await;
        })
        .await;
}

#[tokio::test]
async fn short_of_memory_the_newest_connection_is_sent_away_after_it_was_answered() {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .settings(LITTLE)
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            let mut raw = Raw::connect(orders.addresses.edge.as_ref().unwrap()).await;
            raw.send(&head_of(crate::ECHO, 1, &[])).await;
            let (before, refused) = raw.until(|frame| frame.stream == 1).await.unwrap();
            assert!(is_end(&refused), "{before:?} {refused:?}");
            let goodbye = raw.goodbye().await.map(|(_, code, _)| code);
            assert_eq!(goodbye, Some(0));
        })
        .await;
}

#[tokio::test]
async fn heads_of_calls_that_may_be_sent_again_have_a_bound_together() {
    let long = "x".repeat(100);
    let more = [("x-long", &*long); 5];
    Mesh::builder()
        .service("orders")
        .client("web")
        .settings("[limits.process]\nheader_memory = 25000\n")
        .run(async |mesh| {
            let web = mesh.client_sidecar("web");
            let local = &web.addresses.upstreams["orders"];
            let mut raw = Raw::connect(local).await;
            let mut open = 0;
            // Until it is answered each may be sent again. That is some 2 KB.
            let refused = loop {
                let stream = 2 * open + 1;
                raw.send(&head_of("/test.Echo/Stall", stream, &more)).await;
                let frames = raw.is_alive().await.unwrap();
                if let Some(refused) = frames.into_iter().find(|frame| frame.stream > 0) {
                    break refused;
                }
                open += 1;
                assert!(open < 40, "nothing was refused");
            };
            assert!(is_end(&refused) && refused.stream >= 9, "{refused:?}");
            assert!(hits(web, "process", "header_memory").await >= 1.0);
            let labels = ["scope=\"process\"", "limit=\"header_memory\""];
            eventually("what they hold is told", async || {
                let used = web.metric("outrigger_limit_usage", &labels).await;
                match used.is_some_and(|used| used > 15_000.0) {
                    true => Ok(()),
                    false => Err(format!("{used:?}")),
                }
            })
            .await;
            // One ends, and there is room.
            raw.send(&frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]))
                .await;
            assert!(answered(&mut raw, 2 * open + 9).await);
        })
        .await;
}

/// A call whose answer has so many bytes.
fn download(stream: u32, size: &str) -> Vec<u8> {
    let mut message = vec![0, 0, 0, 0, u8::try_from(size.len()).unwrap()];
    message.extend_from_slice(size.as_bytes());
    let head = head_of("/test.Echo/Download", stream, &[]);
    [head, frame(kind::DATA, END_STREAM, stream, &message)].concat()
}

#[tokio::test]
async fn while_too_much_waits_nobody_gets_credit_and_small_calls_pass() {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .settings("[limits.process]\nbuffered_bytes = 20000\n")
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            let edge = orders.addresses.edge.as_ref().unwrap();
            // An answer whose window is shut waits with the sidecar, as much as the application has credit for.
            let mut holder = Raw::connect(edge).await;
            holder
                .send(&frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]))
                .await;
            assert_eq!(hits(orders, "process", "buffered_bytes").await, 0.0);
            holder.send(&download(1, "100000")).await;
            rises(orders, "process", "buffered_bytes", 0.0).await;
            neighbour_is_served(edge).await;

            let mut large = Raw::connect(edge).await;
            let room = 1_000_000_u32.to_be_bytes();
            large.send(&frame(kind::WINDOW_UPDATE, 0, 0, &room)).await;
            large.send(&download(1, "400000")).await;
            large.send(&frame(kind::WINDOW_UPDATE, 0, 1, &room)).await;
            let ended = large.until(is_end);
            let mut ended = std::pin::pin!(ended);
            let waiting = timeout(Duration::from_millis(300), ended.as_mut()).await;
            assert!(waiting.is_err(), "more than the first window came");
            holder
                .send(&frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]))
                .await;
            assert!(ended.await.is_some(), "the credit came back");
        })
        .await;
}

/// Opened, looked at and cancelled, over and over, by somebody whose name is known.
#[tokio::test]
async fn b2_a_mesh_peer_that_resets_most_of_what_it_opens_gets_half_of_it() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .client("mean")
        .settings("[limits.mesh]\nping_frames = 100000\n")
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            let inbound = orders.addresses.inbound.clone().unwrap();
            let identity = tls::issued(&mesh.registry, "mean").await;
            let tunnel = tls::Tunnel::to(&inbound, identity).await;
            let mut mean = Raw::connect(&tunnel.address).await;
            for number in 0..510 {
                let stream = 2 * number + 1;
                mean.send(&head_of("/test.Echo/Stall", stream, &[])).await;
                mean.is_alive().await.unwrap();
                mean.send(&frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8]))
                    .await;
            }
            rises(orders, "mesh", "premature_resets", 0.0).await;
            // Its connection stays, and half of its calls.
            let (mut taken, mut refused) = (0, 0);
            for number in 600..620 {
                let stream = 2 * number + 1;
                let fields = raw::grpc("orders", crate::ECHO);
                let flags = END_HEADERS | END_STREAM;
                mean.send(&frame(kind::HEADERS, flags, stream, &raw::block(&fields)))
                    .await;
                let is_head = |frame: &Frame| frame.stream == stream && frame.kind == kind::HEADERS;
                let (_, head) = mean.until(is_head).await.expect("the connection stays");
                match is_end(&head) {
                    true => refused += 1,
                    false => taken += 1,
                }
            }
            assert_eq!((taken, refused), (10, 10));
            let client = mesh.client("web");
            for _ in 0..20 {
                client.unary("orders", crate::ECHO, "x").await.expect_ok();
            }
        })
        .await;
}
