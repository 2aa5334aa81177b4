//! Peers that cost more than they should: whoever shares a connection with them hears nothing of it.

use std::time::Duration;

use outrigger_tests::eventually::{holds, within};
use outrigger_tests::figure::quantile;
use outrigger_tests::good::{self, Good};
use outrigger_tests::mesh::Service;
use outrigger_tests::raw::{self, END_HEADERS, END_STREAM, Frame, Raw, frame, kind};
use outrigger_tests::{Mesh, eventually, process, settings, tls};
use tokio::time::{Instant, interval};

use crate::ECHO;

const MIB: u64 = 1 << 20;
/// ENHANCE_YOUR_CALM.
const CALM: u32 = 11;

fn head(stream: u32, path: &str, flags: u8) -> Vec<u8> {
    let block = raw::block(&raw::grpc("orders", path));
    frame(kind::HEADERS, flags | END_HEADERS, stream, &block)
}

fn reset(stream: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

fn window(stream: u32, increment: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

fn is_end(stream: u32) -> impl Fn(&Frame) -> bool {
    move |frame| {
        frame.stream == stream && frame.kind == kind::HEADERS && frame.flags & END_STREAM != 0
    }
}

/// A unary call, whatever the window its answer has by default; the frames that came meanwhile.
async fn echo(raw: &mut Raw, stream: u32) -> Vec<Frame> {
    ended_echo(raw, stream).await.0
}

/// The same, and the last frame of it.
async fn ended_echo(raw: &mut Raw, stream: u32) -> (Vec<Frame>, Frame) {
    let message = frame(kind::DATA, END_STREAM, stream, &[0, 0, 0, 0, 0]);
    let call = [
        head(stream, "/test.Echo/Echo", 0),
        window(stream, 1000),
        message,
    ];
    raw.send(&call.concat()).await;
    let answered = raw.until(is_end(stream)).await;
    answered.expect("the connection is still there")
}

/// How long each of many echoes took.
async fn echoes(raw: &mut Raw, streams: impl Iterator<Item = u32>) -> Vec<Duration> {
    let mut took = Vec::new();
    for stream in streams {
        let begun = Instant::now();
        let between = echo(raw, stream).await;
        assert!(between.iter().all(|frame| frame.goaway().is_none()));
        took.push(begun.elapsed());
    }
    took
}

fn odd(from: u32, count: u32) -> impl Iterator<Item = u32> {
    (from..).step_by(2).take(count as usize)
}

/// Messages so small that their heads are most of them, on streams nobody reads.
#[tokio::test]
async fn b4_ninety_nine_stalled_streams_of_tiny_messages_leave_the_hundredth_alone() {
    let messages = settings::number("OUTRIGGER_TINY_MESSAGES", 400) as usize;
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let web = mesh.client_sidecar("web");
            let local = &web.addresses.upstreams["orders"];
            let pids = [mesh.sidecar("orders").pid(), web.pid()];
            // The answers' direction: every window is shut, but the connection's.
            let mut raw = Raw::connect(local).await;
            raw.send(&frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]))
                .await;
            raw.send(&window(0, 1 << 30)).await;
            let mut streams = (1..).step_by(2);
            // The first pays for the connections.
            echoes(&mut raw, streams.by_ref().take(1)).await;
            let quiet = quantile(&echoes(&mut raw, streams.by_ref().take(200)).await, 99);
            let bar = (quiet * 2).max(Duration::from_millis(250));
            let before = pids.map(process::peak_resident);
            for stream in streams.by_ref().take(99) {
                raw.send(&head(stream, "/test.Echo/Drip", END_STREAM)).await;
            }
            // Until then everybody is busy filling them, the application first of all.
            within(Duration::from_secs(60), "every window is full", async || {
                let took = echoes(&mut raw, streams.by_ref().take(5)).await;
                let calm = (quiet * 2).max(Duration::from_millis(50));
                let is_calm = took.iter().all(|took| *took <= calm);
                holds(is_calm, format!("quiet {quiet:?}, now {took:?}"))
            })
            .await;
            let busy = quantile(&echoes(&mut raw, streams.by_ref().take(200)).await, 99);

            // The requests' direction.
            let mut tiny = Vec::new();
            for stream in streams.by_ref().take(99) {
                raw.send(&head(stream, "/test.Echo/Stall", 0)).await;
                let message = frame(kind::DATA, 0, stream, &[0; 16]);
                tiny.extend(message.repeat(messages));
            }
            // The application holds them: its own windows are wide.
            let mut took = Vec::new();
            let whole = (64 << 10) / 25 * 25;
            for slice in tiny.chunks(whole) {
                raw.send(slice).await;
                took.extend(echoes(&mut raw, streams.by_ref().take(10)).await);
            }
            let stalled = quantile(&took, 99);
            assert!(
                busy <= bar && stalled <= bar,
                "p99 of echoes: quiet {quiet:?}, answers stalled {busy:?}, requests stalled {stalled:?}"
            );
            for (pid, before) in pids.into_iter().zip(before) {
                let grown = process::peak_resident(pid).saturating_sub(before);
                assert!(grown < 64 * MIB, "a sidecar grew by {} KiB", grown / 1024);
            }
        })
        .await;
}

/// 200 calls opened and cancelled in one write, again and again, beside 20 that go on.
#[tokio::test]
async fn b5_a_storm_of_cancelled_calls_costs_their_neighbours_nothing() {
    let lasts = settings::seconds("STORM", 3);
    Mesh::builder()
        .service("orders")
        .client("web")
        .settings("[limits.mesh]\nmax_concurrent_streams = 240\nconnection_window = 16777216\n")
        .run(async |mesh| {
            let inbound = mesh.sidecar("orders").addresses.inbound.clone().unwrap();
            let identity = tls::issued(&mesh.registry, "web").await;
            let tunnel = tls::Tunnel::to(&inbound, identity).await;
            let mut raw = Raw::connect(&tunnel.address).await;
            for stream in odd(1, 20) {
                raw.send(&head(stream, "/test.Echo/Stall", 0)).await;
            }
            let mut next = 101;
            let mut ticks = interval(Duration::from_millis(100));
            let until = Instant::now() + lasts;
            let mut rounds = 0;
            while Instant::now() < until {
                ticks.tick().await;
                let storm: Vec<u8> = odd(next, 200)
                    .flat_map(|stream| [head(stream, "/test.Echo/Echo", 0), reset(stream)].concat())
                    .collect();
                raw.send(&storm).await;
                next += 400;
                let between = echo(&mut raw, next).await;
                next += 2;
                let broken: Vec<_> = between
                    .iter()
                    .filter(|frame| frame.stream < 101 && frame.stream != 0)
                    .collect();
                assert!(broken.is_empty(), "a neighbour failed: {broken:?}");
                rounds += 1;
            }
            assert!(rounds > 10, "only {rounds} storms");
        })
        .await;
}

/// Frames that were on their way when their stream was reset, in both directions.
#[tokio::test]
async fn b24_late_frames_of_cancelled_calls_wear_no_connection_out() {
    let calls = u32::try_from(settings::number("OUTRIGGER_CANCELLED", 200)).unwrap();
    // Were late frames counted, a connection would be drained after twelve and end after a hundred.
    let few = ["mesh", "local"].map(|scope| format!("[limits.{scope}]\nlibrary_resets = 100\n"));
    Mesh::builder()
        .service("orders")
        .client("web")
        .settings(&few.concat())
        .run(async |mesh| {
            // The mesh's side resets: the method does not exist in the mesh, and the body still comes.
            let inbound = mesh.sidecar("orders").addresses.inbound.clone().unwrap();
            let identity = tls::issued(&mesh.registry, "web").await;
            let tunnel = tls::Tunnel::to(&inbound, identity).await;
            let mut raw = Raw::connect(&tunnel.address).await;
            mesh.upstream("orders").refuse_next(u64::from(calls));
            for stream in odd(1, calls) {
                raw.send(&head(stream, "/test.Echo/Echo", 0)).await;
                let over = |frame: &Frame| frame.stream == stream && frame.reset().is_some();
                raw.until(over)
                    .await
                    .expect("the connection is still there");
                raw.send(&frame(kind::DATA, 0, stream, &[0; 8])).await;
            }
            echo(&mut raw, 2 * calls + 1).await;

            // The caller resets, and the application's answer still comes.
            let web = mesh.client_sidecar("web");
            let opened = async || web.metric("outrigger_connections_opened_total", &[]).await;
            let mut raw = Raw::connect(&web.addresses.upstreams["orders"]).await;
            // The caller takes a few messages, most of the forty are still on their way.
            raw.send(&frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 40]))
                .await;
            raw.send(&window(0, 1 << 30)).await;
            echo(&mut raw, 1).await;
            let before = opened().await;
            for stream in odd(3, calls) {
                raw.send(&head(stream, "/test.Echo/Forty", END_STREAM))
                    .await;
                let begins = |frame: &Frame| frame.stream == stream && frame.kind == kind::HEADERS;
                raw.until(begins)
                    .await
                    .expect("the connection is still there");
                raw.send(&reset(stream)).await;
            }
            echo(&mut raw, 2 * calls + 3).await;
            assert_eq!(opened().await, before, "no mesh connection was replaced");
        })
        .await;
}

/// A stream that ends at once without its sender's reset is as cheap to begin: by a deadline, or by what is answered early.
#[tokio::test]
async fn b2_a_public_peer_whose_calls_end_by_deadline_or_early_error_is_cut_off() {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .run(async |mesh| {
            let edge = mesh.sidecar("orders").addresses.edge.clone().unwrap();
            for timeout in ["1m", "soon"] {
                let before = mesh.upstream("orders").handled();
                let mut raw = Raw::connect(&edge).await;
                let mut goodbye = None;
                for stream in odd(1, 700) {
                    let mut fields = raw::grpc("orders", "/test.Echo/Stall");
                    fields.push(("grpc-timeout", timeout));
                    let block = raw::block(&fields);
                    raw.send(&frame(kind::HEADERS, END_HEADERS, stream, &block))
                        .await;
                    let over = |frame: &Frame| {
                        let is_reset = frame.stream == stream && frame.reset().is_some();
                        is_reset || frame.goaway().is_some()
                    };
                    let (_, end) = raw.until(over).await.expect("a word before the end");
                    goodbye = end.goaway();
                    if goodbye.is_some() {
                        break;
                    }
                }
                let (last, code, text) = goodbye.expect("an end before 700 streams");
                assert_eq!((code, &*text), (CALM, "too_many_premature_resets"));
                assert!(last < 2 * 600, "{timeout}: stream {last} was still taken");
                let begun = mesh.upstream("orders").handled() - before;
                assert!(
                    begun <= 600,
                    "{timeout}: {begun} calls reached the application"
                );
            }
        })
        .await;
}

/// Opened, left by GOAWAY and a closed socket, and again.
#[tokio::test]
async fn b2_what_a_public_peer_leaves_behind_by_goaway_is_cancelled() {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .run(async |mesh| {
            let edge = mesh.sidecar("orders").addresses.edge.clone().unwrap();
            let upstream = mesh.upstream("orders");
            for round in 1..=6 {
                let mut raw = Raw::connect(&edge).await;
                for stream in odd(1, 100) {
                    let mut fields = raw::grpc("orders", "/test.Echo/Watch");
                    fields.push(("x-test-code", "1"));
                    let block = raw::block(&fields);
                    raw.send(&frame(kind::HEADERS, END_HEADERS, stream, &block))
                        .await;
                }
                raw.is_alive().await.expect("a hundred are allowed");
                raw.send(&frame(kind::GOAWAY, 0, 0, &[0; 8])).await;
                drop(raw);
                eventually("the application hears that nobody waits", async || {
                    let (begun, ended) = (upstream.handled(), upstream.ended().len() as u64);
                    let all = begun == ended && begun <= 100 * round;
                    if all {
                        Ok(())
                    } else {
                        Err(format!("{ended} of {begun} have ended"))
                    }
                })
                .await;
            }
        })
        .await;
}

/// A pseudo field, what it says, and fields beside it.
type Malformed = (&'static str, &'static str, &'static [Field]);
type Field = (&'static str, &'static str);

/// What a sidecar lets through is what the next one's library takes: else its stream errors would end a connection that all share.
const MALFORMED: [Malformed; 12] = [
    (":path", "", &[]),
    (":path", "test.Echo/Echo", &[]),
    (":path", "/test.Echo/Ec ho", &[]),
    (":path", "/test.Echo", &[]),
    ("", "", &[("connection", "close")]),
    ("", "", &[("te", "gzip")]),
    ("", "", &[("x-upper", "\u{1}")]),
    ("", "", &[("x-blank", " before")]),
    ("", "", &[("x-line", "a\nb")]),
    ("", "", &[("X-Upper", "1")]),
    ("", "", &[("content-length", "1"), ("content-length", "2")]),
    ("", "", &[("grpc-timeout", "soon")]),
];

fn malformed(number: u32) -> Vec<u8> {
    let (name, value, more) = MALFORMED[number as usize % MALFORMED.len()];
    let mut fields = raw::grpc("orders", "/test.Echo/Echo");
    for field in &mut fields {
        if field.0 == name {
            field.1 = value;
        }
    }
    fields.extend_from_slice(more);
    let flags = END_STREAM | END_HEADERS;
    frame(kind::HEADERS, flags, 2 * number + 1, &raw::block(&fields))
}

/// `OUTRIGGER_MALFORMED` of them (a full run: 5,000), from an application that does not know better.
#[tokio::test]
async fn b6_malformed_calls_do_not_wear_the_shared_connection_out() {
    const A_CONNECTION: u32 = 100;
    let calls = u32::try_from(settings::number("OUTRIGGER_MALFORMED", 5_000)).unwrap();
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let web = mesh.client_sidecar("web");
            let opened = async || web.metric("outrigger_connections_opened_total", &[]).await;
            let good = Good::start(&mesh.client("web"));
            mesh.client("web")
                .unary("orders", ECHO, "")
                .await
                .expect_ok();
            let before = opened().await;
            for _ in 0..calls.div_ceil(A_CONNECTION) {
                let mut raw = Raw::connect(&web.addresses.upstreams["orders"]).await;
                let batch: Vec<u8> = (0..A_CONNECTION).flat_map(malformed).collect();
                raw.send(&batch).await;
                let mut refused = 0;
                let all = |frame: &Frame| {
                    let ends = frame.kind == kind::HEADERS && frame.flags & END_STREAM != 0;
                    refused += u32::from(frame.reset().is_some() || ends);
                    refused == A_CONNECTION
                };
                raw.until(all)
                    .await
                    .expect("each call is told of by itself");
            }
            good.stop("malformed calls").await;
            assert_eq!(opened().await, before, "no mesh connection was replaced");
            let seen = mesh.upstream("orders").requests();
            let strange = seen
                .iter()
                .find(|request| ![ECHO, good::PATH].contains(&request.uri.path()));
            assert!(strange.is_none(), "{strange:?}");
        })
        .await;
}

/// Two data-plane threads open at most 16 connections each, with eight calls on each.
#[tokio::test]
async fn who_was_served_is_served_beside_strangers_who_take_the_whole_application() {
    const STRANGERS: u32 = 6;
    Mesh::builder()
        .service(Service::new("orders").edge())
        .settings("[limits.local]\nmax_concurrent_streams = 8\n")
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            let edge = orders.addresses.edge.as_ref().unwrap();
            let mut served = Vec::new();
            for _ in 0..8 {
                let mut raw = Raw::connect(edge).await;
                echoes(&mut raw, odd(1, 10)).await;
                served.push(raw);
            }
            let before = mesh.upstream("orders").handled();
            let mut strangers = Vec::new();
            for _ in 0..STRANGERS {
                let mut raw = Raw::connect(edge).await;
                let calls: Vec<u8> = odd(1, 100)
                    .flat_map(|stream| head(stream, "/test.Echo/Stall", END_STREAM))
                    .collect();
                raw.send(&calls).await;
                strangers.push(raw);
            }
            eventually("all calls are taken or refused", async || {
                let labels = ["reason=\"overloaded\""];
                let refused = orders
                    .metric("outrigger_call_outcomes_total", &labels)
                    .await;
                let taken = mesh.upstream("orders").handled() - before;
                let all = u64::from(100 * STRANGERS);
                let seen = format!("{taken} taken, {refused:?} refused");
                holds(
                    refused.is_some_and(|refused| taken + refused as u64 == all),
                    seen,
                )
            })
            .await;
            for raw in &mut served {
                let (_, end) = ended_echo(raw, 21).await;
                assert_eq!(end.field("grpc-status"), Some("0"), "{:?}", end.fields);
            }
        })
        .await;
}

/// Towards the public: opened, waited for, cancelled, over and over.
#[tokio::test]
async fn b2_a_public_peer_that_resets_most_of_what_it_opens_is_cut_off() {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .client("web")
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            let edge = orders.addresses.edge.as_ref().unwrap();
            let mut burst = Raw::connect(edge).await;
            let storm: Vec<u8> = odd(1, 2000)
                .flat_map(|stream| [head(stream, "/test.Echo/Stall", 0), reset(stream)].concat())
                .collect();
            burst.send(&storm).await;
            let goodbye = burst.goodbye().await.map(|(_, code, text)| (code, text));
            assert_eq!(goodbye, Some((CALM, "too_many_resets".to_owned())));

            let mut paced = Raw::connect(edge).await;
            let mut ticks = interval(Duration::from_millis(2));
            for stream in odd(1, 700) {
                paced.send(&head(stream, "/test.Echo/Stall", 0)).await;
                ticks.tick().await;
                paced.send(&reset(stream)).await;
            }
            let (last, code, text) = paced.goodbye().await.expect("a word before the end");
            // Where a busy machine reads many of them at once, it is a burst again.
            let limit = match &*text {
                "too_many_resets" => "pending_accept_resets",
                _ => "premature_resets",
            };
            let is_one = ["too_many_premature_resets", "too_many_resets"].contains(&&*text);
            assert!(code == CALM && is_one, "{code} {text}");
            assert!(last < 2 * 600, "stream {last} was still taken");
            eventually("the bound is counted", async || {
                let labels = ["scope=\"edge\"", &*format!("limit=\"{limit}\"")];
                match orders.metric("outrigger_limit_hits_total", &labels).await {
                    Some(1.0..) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
            let handled = mesh.upstream("orders").handled();
            assert!(handled <= 600, "{handled} calls reached the application");
            assert!(Raw::connect(edge).await.is_alive().await.is_ok());
        })
        .await;
}
