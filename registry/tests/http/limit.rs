//! Every bound: at it a request is served, one past it is refused and counted, and the next request is served again.

use std::net::SocketAddr;
use std::time::Duration;

use outrigger_registry::Limits;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::api::{Api, eventually};
use crate::embedded::Embedded;

const REGISTER: &str = "/v1/agent/service/register";

async fn limited(change: impl FnOnce(&mut Limits)) -> Embedded {
    Embedded::with(|config| change(&mut config.limits)).await
}

async fn metric(api: &Api, family: &str, name: &str) -> f64 {
    let text = api.get("/v1/agent/metrics?format=prometheus").await.body;
    let start = format!("{family}{{scope=\"registry\",limit=\"{name}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {start:?} in {text}"))
        .parse()
        .unwrap()
}

async fn hits(api: &Api, name: &str) -> f64 {
    metric(api, "outrigger_limit_hits_total", name).await
}

/// A registration at the bound, and one past it.
async fn registration(
    name: &str,
    change: impl FnOnce(&mut Limits),
    at: Value,
    past: Value,
    text: &str,
) {
    let server = limited(change).await;
    server.api.register(at).await;
    assert_eq!(hits(&server.api, name).await, 0.0, "{name}");
    server.api.put(REGISTER, past).await.is(400, text);
    assert_eq!(hits(&server.api, name).await, 1.0, "{name}");
    server.api.register(json!({"Name": "s", "Port": 1})).await;
    server.stop().await;
}

#[tokio::test]
async fn every_bound_has_a_key_and_a_metric() {
    let server = Embedded::start().await;
    let figures = Limits::default().figures();
    assert_eq!(figures.len(), 24);
    for (name, value) in figures {
        assert!(
            (metric(&server.api, "outrigger_limit", name).await - value).abs() < 1e-6,
            "{name}"
        );
        assert_eq!(hits(&server.api, name).await, 0.0, "{name}");
    }
    server
        .api
        .get("/v1/agent/metrics")
        .await
        .tells(404, "?format=prometheus only");
    server.stop().await;
}

#[tokio::test]
async fn kv_value() {
    let server = limited(|limits| limits.kv_value = 10).await;
    let api = &server.api;
    api.put_text("/v1/kv/a", &"x".repeat(10)).await.says(true);
    api.put_text("/v1/kv/a", &"x".repeat(11)).await.is(
        413,
        "Request body(11 bytes) too large, max size: 10 bytes. See limits.registry.kv_value.",
    );
    assert_eq!(hits(api, "kv_value").await, 1.0);
    api.put_text("/v1/kv/a", "x").await.says(true);
    server.stop().await;
}

#[tokio::test]
async fn body() {
    let at = json!({"Name": "s", "Port": 1}).to_string();
    let server = limited(|limits| limits.body = at.len()).await;
    let api = &server.api;
    api.put_text(REGISTER, &at).await.is(200, "");
    api.put_text(REGISTER, &format!("{at} "))
        .await
        .tells(413, "too large, max size: ");
    assert_eq!(hits(api, "body").await, 1.0);
    api.put_text(REGISTER, &at).await.is(200, "");
    server.stop().await;
}

#[tokio::test]
async fn name() {
    let (at, past) = ("n".repeat(5), "n".repeat(6));
    let text = "Validation failed: a name is longer than 5 bytes";
    registration(
        "name",
        |limits| limits.name = 5,
        json!({"Name": at, "Port": 1}),
        json!({"Name": past, "Port": 1}),
        text,
    )
    .await;
    let server = limited(|limits| limits.name = 5).await;
    let api = &server.api;
    api.put_text(&format!("/v1/kv/{}", "k".repeat(20)), "x")
        .await
        .says(true);
    api.put_text(&format!("/v1/kv/{}", "k".repeat(21)), "x")
        .await
        .is(400, "the key is longer than 20 bytes");
    assert_eq!(
        api.get(&format!("/v1/agent/connect/ca/leaf/{at}"))
            .await
            .status,
        200
    );
    assert_eq!(
        api.get(&format!("/v1/agent/connect/ca/leaf/{past}"))
            .await
            .status,
        400
    );
    assert_eq!(hits(api, "name").await, 2.0);
    server.stop().await;
}

#[tokio::test]
async fn meta_pairs_and_their_sizes() {
    let service = |meta: Value| json!({"Name": "s", "Port": 1, "Meta": meta});
    let two = service(json!({"a": "", "b": ""}));
    let three = service(json!({"a": "", "b": "", "c": ""}));
    let text = "Invalid Service Meta: Node metadata cannot contain more than 2 key/value pairs";
    registration(
        "meta_pairs",
        |limits| limits.meta_pairs = 2,
        two,
        three,
        text,
    )
    .await;
    let text = "Invalid Service Meta: Couldn't load metadata pair ('kkk', 'v'): Key is too long (limit: 2 characters)";
    registration(
        "meta_key",
        |limits| limits.meta_key = 2,
        service(json!({"kk": "v"})),
        service(json!({"kkk": "v"})),
        text,
    )
    .await;
    let text = "Invalid Service Meta: Couldn't load metadata pair ('k', 'vvv'): Value is too long (limit: 2 characters)";
    registration(
        "meta_value",
        |limits| limits.meta_value = 2,
        service(json!({"k": "vv"})),
        service(json!({"k": "vvv"})),
        text,
    )
    .await;
}

#[tokio::test]
async fn tags_and_their_size() {
    let service = |tags: Value| json!({"Name": "s", "Port": 1, "Tags": tags});
    let text = "Validation failed: at most 2 tags of 3 bytes each";
    let change = |limits: &mut Limits| (limits.tags, limits.tag) = (2, 3);
    registration(
        "tags",
        change,
        service(json!(["aaa", "b"])),
        service(json!(["a", "b", "c"])),
        text,
    )
    .await;
    registration(
        "tag",
        change,
        service(json!(["aaa", "b"])),
        service(json!(["aaaa"])),
        text,
    )
    .await;
}

#[tokio::test]
async fn filter_depth_bytes_and_regular_expressions() {
    let server = limited(|limits| {
        (limits.filter_depth, limits.filter_bytes, limits.regex_bytes) = (3, 60, 4);
    })
    .await;
    let api = &server.api;
    let path = "/v1/health/service/consul";
    let nested = |depth: usize| format!("{}Node.Node==x{}", "(".repeat(depth), ")".repeat(depth));
    let long = |bytes: usize| format!("Node.Node==`{}`", "x".repeat(bytes - 13));
    let regex = |bytes: usize| format!("Node.Node matches `{}`", "x".repeat(bytes));
    for (name, at, past, text) in [
        (
            "filter_depth",
            nested(3),
            nested(4),
            "the filter is nested deeper than 3 levels",
        ),
        (
            "filter_bytes",
            long(60),
            long(61),
            "the filter is longer than 60 bytes",
        ),
        (
            "regex_bytes",
            regex(4),
            regex(5),
            "a regular expression in the filter is longer than 4 bytes",
        ),
    ] {
        api.filtered(path, &at).await.says(json!([]));
        api.filtered(path, &past).await.is(
            500,
            &format!("Failed to create boolean expression evaluator: {text}"),
        );
        assert_eq!(hits(api, name).await, 1.0, "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn list_items() {
    let server = limited(|limits| limits.list_items = 2).await;
    let api = &server.api;
    for key in ["a", "b"] {
        api.put_text(&format!("/v1/kv/l/{key}"), "x")
            .await
            .says(true);
    }
    api.get("/v1/kv/l/?keys").await.says(json!(["l/a", "l/b"]));
    api.put_text("/v1/kv/l/c", "x").await.says(true);
    api.get("/v1/kv/l/?keys").await.is(
        500,
        "the answer has more than 2 items; narrow it with a filter",
    );
    assert_eq!(hits(api, "list_items").await, 1.0);
    api.get("/v1/kv/l/c?keys").await.says(json!(["l/c"]));
    server.stop().await;
}

/// A connection from this address, or `None` once the server has closed it without a byte.
async fn connect(server: SocketAddr, from: [u8; 4]) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut stream = socket.connect(server).await.unwrap();
    stream
        .write_all(b"GET /v1/status/leader HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .ok()?;
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.ok()?;
    assert_eq!(&first, b"HTTP/1.1 200");
    Some(stream)
}

#[tokio::test]
async fn http_connections_loopback() {
    let server = limited(|limits| limits.http_connections_loopback = 2).await;
    let other = Api::new(&format!("http://{}", server.address), false);
    let held = [
        connect(server.address, [127, 0, 0, 2]).await,
        connect(server.address, [127, 0, 0, 2]).await,
    ];
    assert!(held.iter().all(Option::is_some));
    assert_eq!(
        metric(&other, "outrigger_limit_usage", "http_connections_loopback").await,
        2.0
    );
    assert!(
        connect(server.address, [127, 0, 0, 2]).await.is_none(),
        "the third is closed"
    );
    assert_eq!(hits(&other, "http_connections_loopback").await, 1.0);
    assert!(
        connect(server.address, [127, 0, 0, 3]).await.is_some(),
        "another address is free"
    );
    drop(held);
    eventually("a place is given back", || {
        connect(server.address, [127, 0, 0, 2])
    })
    .await;
    drop(other);
    server.stop().await;
}

#[tokio::test]
async fn watches_loopback() {
    let server = limited(|limits| limits.watches_loopback = 2).await;
    let api = &server.api;
    let path = "/v1/kv/watched?index=1000&wait=60s";
    let one = api.get(path);
    let two = api.get(path);
    let rest = async {
        eventually("two reads are parked", || async {
            (metric(api, "outrigger_limit_usage", "watches_loopback").await == 2.0).then_some(())
        })
        .await;
        api.get(path)
            .await
            .is(429, "too many blocking queries from this address");
        assert_eq!(hits(api, "watches_loopback").await, 1.0);
        // A read that does not wait is none.
        assert_eq!(api.get("/v1/kv/watched").await.status, 404);
        for round in 0..2000 {
            // Moves the key's index past the one the two wait for.
            api.put_text("/v1/kv/watched", &round.to_string())
                .await
                .says(true);
            if metric(api, "outrigger_limit_usage", "watches_loopback").await == 0.0 {
                break;
            }
        }
    };
    let (one, two, ()) = tokio::join!(one, two, rest);
    assert_eq!((one.status, two.status), (200, 200));
    server.stop().await;
}

#[tokio::test]
async fn waits() {
    let server = limited(|limits| {
        (limits.wait_default, limits.wait_max, limits.wait_jitter) =
            (Duration::from_millis(200), Duration::from_millis(400), 4);
    })
    .await;
    let api = &server.api;
    for (query, least, most, counted) in [
        ("", 200, 250, 0.0),
        ("&wait=400ms", 400, 500, 0.0),
        ("&wait=60s", 400, 500, 1.0),
    ] {
        let start = Instant::now();
        assert_eq!(
            api.get(&format!("/v1/kv/w?index=1000{query}")).await.status,
            404
        );
        let took = start.elapsed().as_millis();
        // A second of slack: other tests run beside this one.
        assert!((least..most + 1000).contains(&took), "{query}: {took} ms");
        assert_eq!(hits(api, "wait_max").await, counted);
    }
    server.stop().await;
}

#[tokio::test]
async fn head_timeout() {
    let server = limited(|limits| limits.head_timeout = Duration::from_millis(200)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let start = Instant::now();
    stream
        .write_all(b"GET /v1/status/leader HTTP/1.1\r\nhost:")
        .await
        .unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(200) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert!(connect(server.address, [127, 0, 0, 1]).await.is_some());
    server.stop().await;
}

#[tokio::test]
async fn check_interval_min() {
    let server = limited(|limits| limits.check_interval_min = Duration::from_millis(300)).await;
    let api = &server.api;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let check = json!({"TCP": listener.local_addr().unwrap().to_string(), "Interval": "1ms"});
    api.register(json!({"Name": "s", "Port": 1, "Check": check}))
        .await;
    let _first = listener.accept().await.unwrap();
    let start = Instant::now();
    let _second = listener.accept().await.unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(200),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(hits(api, "check_interval_min").await, 1.0);
    server.stop().await;
}

#[tokio::test]
async fn check_reap_and_deregister_min() {
    let server = limited(|limits| {
        (limits.check_reap, limits.deregister_min) =
            (Duration::from_millis(50), Duration::from_millis(300));
    })
    .await;
    let api = &server.api;
    let check = json!({"TTL": "300s", "DeregisterCriticalServiceAfter": "1ms"});
    let start = Instant::now();
    api.register(json!({"Name": "s", "Port": 1, "Check": check}))
        .await;
    crate::api::eventually_holds(api, "/v1/health/service/s", json!([])).await;
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(hits(api, "deregister_min").await, 1.0);
    server.stop().await;
}

#[tokio::test]
async fn journal_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_owned();
    let server = Embedded::with(|config| {
        config.data_dir = Some(data.clone());
        config.limits.journal_bytes = 10_000;
    })
    .await;
    let value = "x".repeat(1000);
    for key in 0..30 {
        server
            .api
            .put_text(&format!("/v1/kv/{key}"), &value)
            .await
            .says(true);
    }
    let before = server.api.get("/v1/kv/?recurse").await;
    server.stop().await;
    let log = std::fs::metadata(data.join("journal.log")).unwrap().len();
    assert!(log < 12_000, "{log} bytes in the journal");
    assert!(data.join("snapshot.json").exists());
    let server = Embedded::with(|config| config.data_dir = Some(data.clone())).await;
    let after = server.api.get("/v1/kv/?recurse").await;
    assert_eq!((after.index(), after.body), (before.index(), before.body));
    server.stop().await;
}
