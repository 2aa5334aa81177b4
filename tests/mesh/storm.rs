//! Many calls that whoever is called resets at once, again and again: others on the same connection hear nothing of it.

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger_tests::eventually::holds;
use outrigger_tests::mesh::Service;
use outrigger_tests::raw::{self, END_HEADERS, END_STREAM, Frame, Raw, frame, kind};
use outrigger_tests::scripted::{Caller, Scripted, body, end, head};
use outrigger_tests::tls::{self, Gate, Tunnel};
use outrigger_tests::{Mesh, eventually, grpc, settings};
use tokio::time::{Instant, interval};
use tonic::Code;

use crate::ECHO;

/// Calls that are reset in one write.
const STORM: u32 = 200;
/// Calls beside them that go on.
const KEPT: u32 = 20;
/// Whoever was answered so many calls may send a storm at once.
const SERVED: u32 = 10;
/// Between two storms.
const PAUSE: Duration = Duration::from_millis(100);
/// ENHANCE_YOUR_CALM: it is not called again for it, nor held to be broken, which would end the storm.
const CALM: u32 = 11;
/// So many calls fit on a connection in the mesh.
const SETTINGS: &str = "[limits.mesh]\nmax_concurrent_streams = 240\nconnection_window = 16777216\nconnection_buffered = 16777216\n";

/// What a call asks for.
const HELLO: &[u8] = b"hello";
const KEEP: &[u8] = b"keep";
const RESET: &[u8] = b"reset";
const END: &[u8] = b"end";

/// Keeps some calls until it is told to end them, with the number of storms on their connection; resets others all at once, each second
/// one behind its head.
async fn serve(mut caller: Caller) {
    let (mut kept, mut gathered, mut storms) = (Vec::new(), Vec::new(), 0);
    while let Some((stream, message)) = caller.request().await {
        match &*message {
            KEEP => {
                kept.push(stream);
                caller.send(&head(stream)).await;
            }
            RESET => gathered.push(stream),
            END => {
                let told = storms.to_string();
                let last = kept.drain(..).flat_map(|stream| {
                    let told = body(stream, told.as_bytes());
                    [told, end(stream)].concat()
                });
                caller.send(&last.collect::<Vec<_>>()).await;
                caller.answer(stream, told.as_bytes()).await;
            }
            _ => {
                caller.answer(stream, &message).await;
            }
        }
        if gathered.len() == STORM as usize {
            storms += 1;
            caller.send(&storm(gathered.drain(..))).await;
        }
    }
}

fn storm(streams: impl Iterator<Item = u32>) -> Vec<u8> {
    let each = streams.enumerate().flat_map(|(number, stream)| {
        let before = match number % 2 {
            0 => Vec::new(),
            _ => head(stream),
        };
        [before, raw::reset(stream, CALM)].concat()
    });
    each.collect()
}

fn call(service: &str, stream: u32, message: &[u8]) -> Vec<u8> {
    let block = raw::block(&raw::grpc(service, ECHO));
    let head = frame(kind::HEADERS, END_HEADERS, stream, &block);
    let message = grpc::frame(message);
    [head, frame(kind::DATA, END_STREAM, stream, &message)].concat()
}

fn odd(from: u32, count: u32) -> impl Iterator<Item = u32> {
    (from..).step_by(2).take(count as usize)
}

/// The frames until each of these streams has ended.
async fn until_over(raw: &mut Raw, streams: impl Iterator<Item = u32>) -> Vec<Frame> {
    let mut open: BTreeSet<_> = streams.collect();
    let all = |frame: &Frame| {
        if frame.ends_stream() || frame.reset().is_some() {
            open.remove(&frame.stream);
        }
        open.is_empty()
    };
    let (mut frames, last) = raw.until(all).await.expect("the connection is still there");
    frames.push(last);
    frames
}

/// Storms at whoever is behind that address.
async fn storms(service: &str, address: &str) {
    let mut raw = Raw::connect(address).await;
    let mut begun: BTreeSet<_> = odd(1, KEPT).collect();
    for stream in odd(1, KEPT) {
        raw.send(&call(service, stream, KEEP)).await;
    }
    let are_kept = |frame: &Frame| {
        assert!(frame.stream == 0 || !frame.ends_stream(), "{frame:?}");
        begun.remove(&frame.stream);
        begun.is_empty()
    };
    raw.until(are_kept).await.expect("heads of those that stay");
    let (mut next, mut rounds) = (2 * KEPT + 1, 0);
    for stream in odd(next, SERVED) {
        raw.send(&call(service, stream, HELLO)).await;
    }
    until_over(&mut raw, odd(next, SERVED)).await;
    next += 2 * SERVED;
    let mut ticks = interval(PAUSE);
    let until = Instant::now() + settings::seconds("STORM", 2);
    while Instant::now() < until {
        ticks.tick().await;
        let calls = odd(next, STORM).flat_map(|stream| call(service, stream, RESET));
        raw.send(&calls.collect::<Vec<_>>()).await;
        let frames = until_over(&mut raw, odd(next, STORM)).await;
        let is_kept = |frame: &&Frame| (1..=2 * KEPT).contains(&frame.stream);
        let broken: Vec<_> = frames.iter().filter(is_kept).collect();
        assert!(broken.is_empty(), "a neighbour failed: {broken:?}");
        (next, rounds) = (next + 2 * STORM, rounds + 1);
    }
    assert!(rounds > 10, "only {rounds} storms");
    raw.send(&call(service, next, END)).await;
    let frames = until_over(&mut raw, odd(1, KEPT).chain([next])).await;
    let told = grpc::frame(rounds.to_string().as_bytes());
    for stream in odd(1, KEPT).chain([next]) {
        let of_it = |frame: &&Frame| frame.stream == stream;
        let said: Vec<_> = frames.iter().filter(of_it).collect();
        let data = said.iter().filter(|frame| frame.kind == kind::DATA);
        let bytes: Vec<u8> = data.flat_map(|frame| frame.payload.clone()).collect();
        let status = said.last().and_then(|frame| frame.field("grpc-status"));
        // All of it was on one connection.
        assert_eq!((&*bytes, status), (&*told, Some("0")), "{service} {stream}");
    }
}

#[tokio::test]
async fn b5_a_storm_of_resets_by_an_application_costs_their_neighbours_nothing() {
    let application = Scripted::start(serve).await;
    Mesh::builder()
        .service(Service::new("orders").application(&application.address))
        .client("web")
        .settings(SETTINGS)
        .run(async |mesh| {
            let inbound = mesh.sidecar("orders").addresses.inbound.clone().unwrap();
            let identity = tls::issued(&mesh.registry, "web").await;
            let tunnel = Tunnel::to(&inbound, identity).await;
            storms("orders", &tunnel.address).await;
        })
        .await;
}

#[tokio::test]
async fn b5_a_storm_of_resets_by_a_callee_in_the_mesh_costs_their_neighbours_nothing() {
    let callee = Scripted::start(serve).await;
    Mesh::builder()
        .service(Service::new("mean").instances(0))
        .client("web")
        .settings(SETTINGS)
        .run(async |mesh| {
            let identity = tls::issued(&mesh.registry, "mean").await;
            let gate = Gate::before(&callee.address, identity).await;
            mesh.register("mean", &gate.address).await;
            eventually("the callee is known", async || {
                let answer = mesh.client("web").unary("mean", ECHO, "there?").await;
                holds(answer.code() == Code::Ok, answer.summary())
            })
            .await;
            let web = mesh.client_sidecar("web");
            storms("mean", &web.addresses.upstreams["mean"]).await;
        })
        .await;
}
