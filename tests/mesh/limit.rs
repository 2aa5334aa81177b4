//! Bounds of HTTP/2 connections, on each kind of listener: exactly at the bound the connection lives, one past it the peer sees
//! what is documented, the metric counts it, and a neighbour is served.

/// Every bound has its test.
mod row;

use outrigger_tests::eventually::holds;
use outrigger_tests::mesh::Service;
use outrigger_tests::raw::{self, ACK, END_HEADERS, END_STREAM, Frame, Raw, frame, kind};
use outrigger_tests::sidecar::Sidecar;
use outrigger_tests::{Mesh, eventually, tls};

use crate::ECHO;

/// The same small numbers everywhere, so that a table suits all.
const SETTINGS: &str = "max_concurrent_streams = 12
continuation_frames = 5
pending_accept_resets = 12
premature_resets = 20
library_resets = 10
priority_frames = 10
window_update_frames = 1
ping_frames = 10
settings_frames = 10
unknown_frames = 10
empty_frames = 10
";

/// SETTINGS_INITIAL_WINDOW_SIZE, and what it becomes at the edge.
const INITIAL_WINDOW: u16 = 4;
const KNOWN_WINDOW: u32 = 40_000;
/// ENHANCE_YOUR_CALM.
const CALM: u32 = 11;
const REFUSED: u32 = 7;

pub(crate) fn head(stream: u32, flags: u8) -> Vec<u8> {
    let fields = raw::grpc("orders", "/test.Echo/Stall");
    frame(
        kind::HEADERS,
        flags | END_HEADERS,
        stream,
        &raw::block(&fields),
    )
}

fn id(number: u32) -> u32 {
    2 * number + 1
}

fn many(count: u32, each: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(each).collect()
}

fn reset(stream: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

fn malformed(number: u32) -> Vec<u8> {
    let mut fields = raw::grpc("orders", "/test.Echo/Echo");
    fields.push(("connection", "close"));
    let block = raw::block(&fields);
    frame(kind::HEADERS, END_STREAM | END_HEADERS, id(number), &block)
}

fn continued(count: u32) -> Vec<u8> {
    let block = raw::block(&raw::grpc("orders", "/test.Echo/Echo"));
    let mut bytes = frame(kind::HEADERS, END_STREAM, 1, &block);
    bytes.extend(many(count - 1, |_| frame(kind::CONTINUATION, 0, 1, &[])));
    bytes.extend(frame(kind::CONTINUATION, END_HEADERS, 1, &[]));
    bytes
}

type Frames = fn(u32) -> Vec<u8>;

/// Name, what is taken, text of GOAWAY, and what goes past it.
const REPEATED: [(&str, u32, &str, Frames); 8] = [
    (
        "continuation_frames",
        5,
        "too_many_continuations",
        continued,
    ),
    ("pending_accept_resets", 12, "too_many_resets", |count| {
        many(count, |number| {
            [head(id(number), 0), reset(id(number))].concat()
        })
    }),
    ("library_resets", 10, "too_many_internal_resets", |count| {
        many(count, malformed)
    }),
    ("priority_frames", 10, "too_many_priorities", |count| {
        many(count, |_| frame(kind::PRIORITY, 0, 3, &[0; 5]))
    }),
    (
        "window_update_frames",
        5,
        "too_many_window_updates",
        |count| many(count, |_| frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ),
    // The first one is behind the preface.
    ("settings_frames", 9, "too_many_settings", |count| {
        many(count, |_| frame(kind::SETTINGS, 0, 0, &[]))
    }),
    ("unknown_frames", 10, "too_many_unknown_frames", |count| {
        many(count, |_| frame(0x1f, 0, 0, &[]))
    }),
    ("empty_frames", 10, "too_many_data_frames", |count| {
        [head(1, 0), many(count, |_| frame(kind::DATA, 0, 1, &[]))].concat()
    }),
];

pub(crate) async fn hits(sidecar: &Sidecar, scope: &str, limit: &str) -> f64 {
    let labels = [
        &*format!("scope=\"{scope}\""),
        &*format!("limit=\"{limit}\""),
    ];
    let hits = sidecar.metric("outrigger_limit_hits_total", &labels).await;
    hits.unwrap_or_else(|| panic!("no series of {scope} {limit}"))
}

pub(crate) async fn rises(sidecar: &Sidecar, scope: &str, limit: &str, before: f64) {
    eventually(&format!("{scope} {limit} is counted"), async || {
        let now = hits(sidecar, scope, limit).await;
        match now > before {
            true => Ok(()),
            false => Err(format!("{now}")),
        }
    })
    .await;
}

/// A call on a connection of its own.
pub(crate) async fn neighbour_is_served(address: &str) {
    let mut raw = Raw::connect(address).await;
    assert!(answered(&mut raw, 1).await, "a neighbour is served");
}

/// A unary call on this stream is answered with an end.
pub(crate) async fn answered(raw: &mut Raw, stream: u32) -> bool {
    echo(raw, stream).await.is_some()
}

/// The same; the frames before its end.
async fn answered_after(raw: &mut Raw, stream: u32) -> Vec<Frame> {
    let (before, _) = echo(raw, stream).await.expect("an answer");
    before
}

async fn echo(raw: &mut Raw, stream: u32) -> Option<(Vec<Frame>, Frame)> {
    let block = raw::block(&raw::grpc("orders", "/test.Echo/Echo"));
    raw.send(&frame(kind::HEADERS, END_HEADERS, stream, &block))
        .await;
    raw.send(&frame(kind::DATA, END_STREAM, stream, &[0, 0, 0, 0, 0]))
        .await;
    let is_end = |frame: &Frame| {
        frame.stream == stream && frame.kind == kind::HEADERS && frame.flags & END_STREAM != 0
    };
    raw.until(is_end).await
}

async fn repeated_frames(scope: &str, address: &str, sidecar: &Sidecar) {
    for (limit, most, text, frames) in REPEATED {
        let before = hits(sidecar, scope, limit).await;
        let mut raw = Raw::connect(address).await;
        raw.send(&frames(most)).await;
        let alive = raw.is_alive().await;
        assert!(alive.is_ok(), "{scope} {limit} at {most}: {alive:?}");

        let mut raw = Raw::connect(address).await;
        raw.send(&frames(most + 1)).await;
        let goodbye = raw.goodbye().await.map(|(_, code, text)| (code, text));
        assert_eq!(goodbye, Some((CALM, text.to_owned())), "{scope} {limit}");
        rises(sidecar, scope, limit, before).await;
        neighbour_is_served(address).await;
    }
}

async fn pings(scope: &str, address: &str, sidecar: &Sidecar) {
    let before = hits(sidecar, scope, PINGS).await;
    let ping = |_| frame(kind::PING, 0, 0, &[7; 8]);
    let mut raw = Raw::connect(address).await;
    // Ten, and two that are forgiven; the last is the one that asks.
    raw.send(&many(11, ping)).await;
    assert!(raw.is_alive().await.is_ok(), "{scope}");
    raw.send(&ping(0)).await;
    let goodbye = raw.goodbye().await.map(|(_, code, text)| (code, text));
    assert_eq!(
        goodbye,
        Some((CALM, "too_many_pings".to_owned())),
        "{scope}"
    );
    rises(sidecar, scope, PINGS, before).await;
    neighbour_is_served(address).await;
}

/// The bounds whose text is not in [`REPEATED`].
const PINGS: &str = "ping_frames";
const STREAMS: &str = "max_concurrent_streams";
const PREMATURE: &str = "premature_resets";
const HEADS: [&str; 2] = ["header_count", "header_list"];
const KNOWN: &str = "known_stream_window";

/// Rows that a peer exceeds here.
pub(crate) fn exceeded() -> Vec<&'static str> {
    let repeated = REPEATED.iter().map(|(limit, ..)| *limit);
    let others = [PINGS, STREAMS, PREMATURE, KNOWN].into_iter().chain(HEADS);
    repeated.chain(others).collect()
}

/// Opened, looked at and reset: so many are nobody's business, and one more says what the peer is.
async fn premature(scope: &str, address: &str, sidecar: &Sidecar) {
    let before = hits(sidecar, scope, PREMATURE).await;
    let mut raw = Raw::connect(address).await;
    for tenth in 0..2 {
        let ten = |each: fn(u32) -> Vec<u8>| many(10, |number| each(id(10 * tenth + number)));
        raw.send(&ten(|stream| head(stream, 0))).await;
        raw.is_alive().await.unwrap();
        raw.send(&ten(reset)).await;
    }
    let alive = raw.is_alive().await;
    assert!(alive.is_ok(), "{scope} at 20: {alive:?}");
    assert_eq!(hits(sidecar, scope, PREMATURE).await, before, "{scope}");
    raw.send(&head(id(20), 0)).await;
    raw.is_alive().await.unwrap();
    raw.send(&reset(id(20))).await;
    if scope == "edge" {
        let goodbye = raw.goodbye().await.map(|(_, code, text)| (code, text));
        assert_eq!(
            goodbye,
            Some((CALM, "too_many_premature_resets".to_owned()))
        );
    } else {
        let alive = raw.is_alive().await;
        assert!(alive.is_ok(), "{scope}: told only: {alive:?}");
    }
    rises(sidecar, scope, PREMATURE, before).await;
    neighbour_is_served(address).await;
}

/// Who has had ten calls gets wider windows, and nobody before.
async fn known(address: &str) {
    let mut raw = Raw::connect(address).await;
    let is_wider = |frame: &Frame| frame.setting(INITIAL_WINDOW) == Some(KNOWN_WINDOW);
    for number in 0..10 {
        let (before, is_last) = (answered_after(&mut raw, id(number)).await, number == 9);
        assert!(!before.iter().any(is_wider), "{number}");
        if is_last {
            raw.until(is_wider).await.expect("a wider window");
        }
    }
}

async fn streams(scope: &str, address: &str, sidecar: &Sidecar) {
    let before = hits(sidecar, scope, STREAMS).await;
    let mut raw = Raw::connect(address).await;
    raw.send(&many(12, |number| head(id(number), 0))).await;
    let frames = raw.is_alive().await.unwrap();
    assert!(
        frames.iter().all(|frame| frame.reset().is_none()),
        "{scope}: {frames:?}"
    );
    raw.send(&head(id(12), 0)).await;
    let (_, refused) = raw.until(|frame| frame.reset().is_some()).await.unwrap();
    assert_eq!(
        (refused.stream, refused.reset()),
        (25, Some(REFUSED)),
        "{scope}"
    );
    // One less, and there is room again on the same connection.
    raw.send(&reset(1)).await;
    assert!(answered(&mut raw, id(13)).await, "{scope}");
    rises(sidecar, scope, STREAMS, before).await;
}

type Fields<'a> = Vec<(&'a str, &'a str)>;

/// Fields and bytes of a header list. What passed the first hops fits the next ones, so they cannot be the same everywhere.
fn head_bounds(scope: &str) -> [usize; 2] {
    match scope {
        "mesh" => [90, 8192],
        _ => [80, 4096],
    }
}

async fn heads(scope: &str, address: &str, sidecar: &Sidecar) {
    let [most_fields, most_bytes] = head_bounds(scope);
    let long = "x".repeat(100);
    let numbered: Vec<_> = (0..100).map(|number| format!("x-{number}")).collect();
    // A long one is 138 bytes, the request's own are about 330.
    let long_ones = (most_bytes - 330) / 138;
    // Six fields are the request's own.
    let of_count = |count: usize| {
        numbered
            .iter()
            .take(count - 6)
            .map(|name| (&**name, "1"))
            .collect()
    };
    let of_bytes = |count: usize| vec![("x-long", &*long); count];
    let cases: [(&str, Fields<'_>, Fields<'_>); 2] = [
        (HEADS[0], of_count(most_fields), of_count(most_fields + 1)),
        (HEADS[1], of_bytes(long_ones - 1), of_bytes(long_ones + 2)),
    ];
    for (limit, fits, exceeds) in cases {
        let before = hits(sidecar, scope, limit).await;
        let mut raw = Raw::connect(address).await;
        let send = |stream: u32, more: &[(&str, &str)]| {
            let mut fields = raw::grpc("orders", "/test.Echo/Echo");
            fields.extend_from_slice(more);
            frame(
                kind::HEADERS,
                END_STREAM | END_HEADERS,
                stream,
                &raw::block(&fields),
            )
        };
        raw.send(&send(1, &fits)).await;
        let is_end = |frame: &Frame| frame.kind == kind::HEADERS && frame.flags & END_STREAM != 0;
        raw.until(is_end).await.expect("an answer");
        assert_eq!(hits(sidecar, scope, limit).await, before, "{scope} {limit}");
        raw.send(&send(3, &exceeds)).await;
        // One frame: the refusal is made of a head alone.
        let (between, refused) = raw.until(is_end).await.expect("an answer");
        assert!(
            between.iter().all(|frame| frame.stream != 3),
            "{scope} {limit}: {between:?}"
        );
        assert_eq!(refused.stream, 3);
        assert!(
            answered(&mut raw, 5).await,
            "{scope} {limit}: the connection serves on"
        );
        rises(sidecar, scope, limit, before).await;
    }
}

#[tokio::test]
async fn each_bound_holds_at_the_edge_in_the_mesh_and_towards_the_application() {
    let tables = ["edge", "mesh", "local"].map(|scope| {
        let [fields, bytes] = head_bounds(scope);
        let heads = format!("header_count = {fields}\nheader_list = {bytes}\n");
        let known = format!("known_stream_window = {KNOWN_WINDOW}\n");
        let known = if scope == "edge" { &*known } else { "" };
        format!("[limits.{scope}]\n{SETTINGS}{heads}{known}")
    });
    let application = "[limits.app_in]\nheader_count = 98\nheader_list = 12288\n";
    Mesh::builder()
        .service(Service::new("orders").edge())
        .client("web")
        .settings(&format!("{}{application}", tables.concat()))
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            let web = mesh.client_sidecar("web");
            let inbound = orders.addresses.inbound.clone().unwrap();
            let identity = tls::issued(&mesh.registry, "web").await;
            let tunnel = tls::Tunnel::to(&inbound, identity).await;
            let listeners = [
                ("edge", &**orders.addresses.edge.as_ref().unwrap(), orders),
                ("mesh", &*tunnel.address, orders),
                ("app_out", &*web.addresses.upstreams["orders"], web),
            ];
            for (scope, address, sidecar) in listeners {
                repeated_frames(scope, address, sidecar).await;
                pings(scope, address, sidecar).await;
                streams(scope, address, sidecar).await;
                heads(scope, address, sidecar).await;
            }
            known(listeners[0].1).await;
            // Last: a mesh peer of which that is known has half of its calls refused.
            for (scope, address, sidecar) in listeners {
                premature(scope, address, sidecar).await;
            }
        })
        .await;
}

#[tokio::test]
async fn who_says_nothing_or_stops_in_a_head_is_let_go_at_its_time() {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .client("web")
        .settings("[limits.connect]\npreface = \"1s\"\nheader_block = \"1s\"\n")
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            let edge = &**orders.addresses.edge.as_ref().unwrap();
            let mut silent = Raw::silent(edge).await;
            assert_eq!(silent.next().await, None);
            let mut half = Raw::silent(edge).await;
            half.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
            let goodbye = half.goodbye().await.map(|(_, code, text)| (code, text));
            assert_eq!(goodbye, Some((CALM, "no_preface_in_time".to_owned())));
            let mut raw = Raw::connect(edge).await;
            let block = raw::block(&raw::grpc("orders", "/test.Echo/Echo"));
            raw.send(&frame(kind::HEADERS, ACK, 1, &block)).await;
            let goodbye = raw.goodbye().await.map(|(_, code, text)| (code, text));
            assert_eq!(
                goodbye,
                Some((CALM, "no_end_of_headers_in_time".to_owned()))
            );
            for limit in ["preface", "header_block"] {
                rises(orders, "edge", limit, 0.0).await;
            }
            neighbour_is_served(edge).await;
        })
        .await;
}

#[tokio::test]
async fn what_the_access_log_has_no_line_for_is_counted() {
    const CALLS: usize = 20;
    Mesh::builder()
        .service("orders")
        .client("web")
        .settings("[limits.process]\naccess_log = 1\n")
        .run(async |mesh| {
            let (client, web) = (mesh.client("web"), mesh.client_sidecar("web"));
            for _ in 0..CALLS {
                let answer = client.unary("nobody", ECHO, "hello").await;
                assert_eq!(answer.reason(), "no_route", "{}", answer.summary());
            }
            eventually("every call is logged or counted", async || {
                let log = web.log();
                let lines = log.matches("outrigger::call").count();
                let left_out = hits(web, "process", "access_log").await as usize;
                let is_right = lines + left_out == CALLS && lines > 0 && left_out > 0;
                holds(is_right, format!("{lines} lines, {left_out} left out"))
            })
            .await;
        })
        .await;
}
