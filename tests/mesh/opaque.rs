//! Bytes that are no calls, from an application that speaks anything to another one that does.

use std::time::Duration;

use outrigger_tests::client::Client;
use outrigger_tests::eventually::holds;
use outrigger_tests::mesh::{Builder, Service};
use outrigger_tests::opaque::{Application, Connection, Nameless, Script};
use outrigger_tests::sidecar::Sidecar;
use outrigger_tests::upstream::Address;
use outrigger_tests::{Mesh, eventually, tls};
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;

use crate::ECHO;

const OPENED: &str = "outrigger_tcp_connections_opened_total";
const CLOSED: &str = "outrigger_tcp_connections_closed_total";
const BYTES: &str = "outrigger_tcp_bytes_total";
/// By then an open connection that may no more has ended.
const RECHECKED: Duration = Duration::from_secs(5);

/// Waits until so many connections have ended for this reason.
async fn closed(sidecar: &Sidecar, reason: &str, count: f64) {
    let label = format!("reason=\"{reason}\"");
    eventually(&format!("{count} ended: {reason}"), async || {
        let closed = sidecar.metric(CLOSED, &[&label]).await;
        holds(closed == Some(count), format!("{closed:?}"))
    })
    .await;
}

/// An application whose protocol its callers are told, and one of those.
fn store(application: &Application) -> Builder {
    Mesh::builder()
        .service(application.service("store").declared("tcp"))
        .client("web")
}

#[tokio::test]
async fn ten_mebibytes_pass_both_ways_unchanged_and_are_counted() {
    let application = Application::start(Script::Echo).await;
    store(&application)
        .run(async |mesh| {
            let web = mesh.client_sidecar("web");
            let bytes: Vec<u8> = (0..10_u32 << 18)
                .flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes())
                .collect();
            let connection = Connection::open(web, "store").await;
            let heard = connection.exchange(&bytes).await;
            assert_eq!(heard.len(), bytes.len());
            assert!(heard == bytes, "the bytes have changed");
            for (sidecar, direction) in [(web, "outbound"), (mesh.sidecar("store"), "inbound")] {
                closed(sidecar, "closed", 1.0).await;
                let direction = format!("direction=\"{direction}\"");
                let labels = [&*direction, "service=\"store\"", "peer=\"web\""];
                assert_eq!(sidecar.metric(OPENED, &labels).await, Some(1.0));
                assert_eq!(
                    sidecar.metric("outrigger_tcp_open", &labels).await,
                    Some(0.0)
                );
                for way in ["way=\"sent\"", "way=\"received\""] {
                    let labels = [&labels[..], &[way]].concat();
                    let moved = sidecar.metric(BYTES, &labels).await;
                    assert_eq!(moved, Some(bytes.len() as f64), "{labels:?}");
                }
            }
        })
        .await;
}

#[tokio::test]
async fn a_client_that_has_said_all_is_answered() {
    let application = Application::start(Script::Counts).await;
    store(&application)
        .run(async |mesh| {
            let mut connection = Connection::open(mesh.client_sidecar("web"), "store").await;
            connection.say(b"three words there").await;
            connection.end().await;
            assert_eq!(connection.rest().await.as_deref(), Some(&b"17"[..]));
        })
        .await;
}

#[tokio::test]
async fn a_server_may_speak_first_where_its_caller_declares_tcp() {
    let application = Application::start(Script::Greets("hello")).await;
    store(&application)
        .run(async |mesh| {
            let begun = Instant::now();
            let mut connection = Connection::open(mesh.client_sidecar("web"), "store").await;
            assert_eq!(connection.hear(5).await, b"hello");
            // Nothing was waited for: detection has 5 s.
            assert!(
                begun.elapsed() < Duration::from_secs(4),
                "{:?}",
                begun.elapsed()
            );
            connection.echoes(b"GET / HTTP/1.1\r\n\r\n").await;
        })
        .await;
}

#[tokio::test]
async fn the_first_bytes_tell_where_nothing_is_declared() {
    let application = Application::start(Script::Echo).await;
    Mesh::builder()
        .service(application.service("store"))
        .client("web")
        .run(async |mesh| {
            let web = mesh.client_sidecar("web");
            let begun = Instant::now();
            for said in [&b"\0\x01binary"[..], b"PING\r\n", b"SET a 1\r\n"] {
                Connection::open(web, "store").await.echoes(said).await;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(4),
                "{:?}",
                begun.elapsed()
            );
            let hits = web
                .metric(
                    "outrigger_limit_hits_total",
                    &["limit=\"protocol_detection\""],
                )
                .await;
            assert_eq!(hits, Some(0.0));
        })
        .await;
}

#[tokio::test]
async fn silence_is_opaque_once_its_time_is_over() {
    let application = Application::start(Script::Greets("hello")).await;
    Mesh::builder()
        .service(application.service("store"))
        .client("web")
        .settings("[limits.connect]\nprotocol_detection = \"200ms\"")
        .run(async |mesh| {
            let web = mesh.client_sidecar("web");
            for said in ["", "GET /half"] {
                let begun = Instant::now();
                let mut connection = Connection::open(web, "store").await;
                connection.say(said.as_bytes()).await;
                assert_eq!(connection.hear(5).await, b"hello");
                assert!(begun.elapsed() >= Duration::from_millis(200));
                assert_eq!(connection.hear(said.len()).await, said.as_bytes());
                connection.echoes(b"and so on").await;
            }
            let labels = ["scope=\"app_out\"", "limit=\"protocol_detection\""];
            let hits = web.metric("outrigger_limit_hits_total", &labels).await;
            assert_eq!(hits, Some(2.0));
            assert_eq!(web.metric("outrigger_limit", &labels).await, Some(0.2));
        })
        .await;
}

#[tokio::test]
async fn calls_are_carried_as_calls_where_the_registry_says_nothing_of_them() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            mesh.registry.write_protocol("orders", "tcp").await;
            let web = mesh.client_sidecar("web");
            // An application that takes calls takes no other bytes, and its sidecar says so.
            eventually("the chain says tcp", async || {
                let heard = Connection::ask(web, "orders", b"\0").await;
                assert_eq!(heard.unwrap_or_default(), b"");
                let refused = web.metric(CLOSED, &["reason=\"no_route\""]).await;
                holds(refused > Some(0.0), format!("{refused:?}"))
            })
            .await;
            assert!(
                mesh.sidecar("orders")
                    .log()
                    .contains("application.protocol")
            );
            let port = Address::parse(&web.addresses.upstreams["orders"]);
            let answer = Client::new(port).unary("orders", ECHO, "a").await;
            assert_eq!(answer.expect_ok().text(), "a");
        })
        .await;
}

#[tokio::test]
async fn an_application_that_speaks_tcp_takes_no_call() {
    let application = Application::start(Script::Echo).await;
    store(&application)
        .run(async |mesh| {
            let answer = mesh.client("web").unary("store", ECHO, "a").await;
            assert_eq!(answer.code(), Code::Unimplemented, "{}", answer.summary());
            assert_eq!(answer.reason(), "no_route");
            assert_eq!(application.received(), 0);
        })
        .await;
}

#[tokio::test]
async fn whoever_is_denied_is_closed_and_counted() {
    let application = Application::start(Script::Greets("hello")).await;
    store(&application)
        .client("stranger")
        .deny("stranger", "store")
        .run(async |mesh| {
            let stranger = mesh.client_sidecar("stranger");
            let mut connection = Connection::open(stranger, "store").await;
            assert_eq!(connection.rest().await.unwrap_or_default(), b"");
            closed(stranger, "denied", 1.0).await;
            let store = mesh.sidecar("store");
            closed(store, "denied", 1.0).await;
            let labels = ["peer=\"stranger\"", "decision=\"deny\""];
            let denied = store
                .metric("outrigger_authz_decisions_total", &labels)
                .await;
            assert_eq!(denied, Some(1.0));
            let mut connection = Connection::open(mesh.client_sidecar("web"), "store").await;
            assert_eq!(connection.hear(5).await, b"hello");
        })
        .await;
}

#[tokio::test]
async fn an_open_connection_ends_soon_after_it_is_denied() {
    let application = Application::start(Script::Echo).await;
    store(&application)
        .run(async |mesh| {
            let web = mesh.client_sidecar("web");
            let mut connection = Connection::open(web, "store").await;
            connection.echoes(b"while I may").await;
            let sources = json!([{"Name": "web", "Action": "deny", "Type": "consul"}]);
            let entry = json!({"Kind": "service-intentions", "Name": "store", "Sources": sources});
            let begun = Instant::now();
            mesh.registry.write(entry).await;
            assert_eq!(connection.rest().await, None, "it did not end, it was cut");
            assert!(begun.elapsed() < RECHECKED, "{:?}", begun.elapsed());
            closed(mesh.sidecar("store"), "denied", 1.0).await;
            closed(web, "connection_lost", 1.0).await;
        })
        .await;
}

#[tokio::test]
async fn a_lost_instance_ends_its_connections_and_the_next_ones_go_elsewhere() {
    let first = Application::start(Script::Greets("one")).await;
    let second = Application::start(Script::Greets("two")).await;
    Mesh::builder()
        .service(first.service("store").declared("tcp"))
        .service(second.service("store").declared("tcp"))
        .client("web")
        .run(async |mesh| {
            let mut connection = Connection::open(mesh.client_sidecar("web"), "store").await;
            let (lost, other) = match &*connection.hear(3).await {
                b"one" => (0, b"two"),
                _ => (1, b"one"),
            };
            let mut sidecar = mesh.instance("store", lost).sidecar.take().unwrap();
            sidecar.kill().await;
            assert_eq!(connection.rest().await, None, "it did not end, it broke");
            let web = mesh.client_sidecar("web");
            closed(web, "connection_lost", 1.0).await;
            for _ in 0..5 {
                let mut connection = Connection::open(web, "store").await;
                assert_eq!(&*connection.hear(3).await, other);
            }
        })
        .await;
}

#[tokio::test]
async fn an_application_that_is_gone_is_left_for_another() {
    let first = Application::start(Script::Greets("one")).await;
    let second = Application::start(Script::Greets("two")).await;
    Mesh::builder()
        .service(first.service("store").declared("tcp"))
        .service(second.service("store").declared("tcp"))
        .client("web")
        .run(async |mesh| {
            drop(first);
            for _ in 0..5 {
                let mut connection = Connection::open(mesh.client_sidecar("web"), "store").await;
                assert_eq!(connection.hear(3).await, b"two");
            }
        })
        .await;
}

#[tokio::test]
async fn a_connection_goes_on_while_its_callee_drains() {
    let application = Application::start(Script::Echo).await;
    store(&application)
        .settings("[drain]\npropagation = \"0s\"\ngrace = \"10s\"")
        .run(async |mesh| {
            let mut connection = Connection::open(mesh.client_sidecar("web"), "store").await;
            connection.echoes(b"before").await;
            let sidecar = mesh.instance("store", 0).sidecar.take().unwrap();
            sidecar.leaves().await;
            connection.echoes(b"meanwhile").await;
            let begun = Instant::now();
            connection.end().await;
            assert_eq!(connection.rest().await.as_deref(), Some(&b""[..]));
            sidecar.end().await;
            assert!(
                begun.elapsed() < Duration::from_secs(9),
                "it waited for nobody"
            );
        })
        .await;
}

#[tokio::test]
async fn a_connection_is_cut_at_the_end_of_the_grace() {
    let application = Application::start(Script::Echo).await;
    store(&application)
        .settings("[drain]\npropagation = \"0s\"\ngrace = \"1s\"")
        .run(async |mesh| {
            let web = mesh.client_sidecar("web");
            let mut connection = Connection::open(web, "store").await;
            connection.echoes(b"before").await;
            let begun = Instant::now();
            let sidecar = mesh.instance("store", 0).sidecar.take().unwrap();
            sidecar.begin_drain();
            assert_eq!(connection.rest().await, None, "it did not end, it was cut");
            assert!(
                begun.elapsed() >= Duration::from_secs(1),
                "{:?}",
                begun.elapsed()
            );
            closed(mesh.client_sidecar("web"), "connection_lost", 1.0).await;
            sidecar.end().await;
        })
        .await;
}

#[tokio::test]
async fn an_application_behind_another_identity_is_never_reached() {
    let application = Application::start(Script::Echo).await;
    Mesh::builder()
        .service(Service::new("store").instances(0).protocol("tcp").declared("tcp"))
        .service(application.service("payments"))
        .client("web")
        .run(async |mesh| {
            let inbound = mesh.sidecar("payments").addresses.inbound.clone().unwrap();
            let (address, port) = inbound.rsplit_once(':').unwrap();
            // The registry is told that payments' port is where store is.
            let stray = json!({
                "Kind": "connect-proxy", "ID": "store-stray-sidecar-proxy", "Name": "store-sidecar-proxy",
                "Address": address, "Port": port.parse::<u16>().unwrap(),
                "Proxy": {"DestinationServiceName": "store", "DestinationServiceID": "store-stray"},
            });
            let registered = mesh.registry.put("/v1/agent/service/register", stray).await;
            registered.unwrap();
            let web = mesh.client_sidecar("web");
            eventually("a handshake is refused", async || {
                let heard = Connection::ask(web, "store", b"secret").await;
                assert_eq!(heard.unwrap_or_default(), b"");
                let refused = web.metric(CLOSED, &["reason=\"handshake\""]).await;
                holds(refused > Some(0.0), format!("{refused:?}"))
            })
            .await;
            let labels = ["side=\"outbound\"", "cause=\"identity\""];
            let failures = web.metric("outrigger_handshake_failures_total", &labels).await;
            assert!(failures > Some(0.0), "{failures:?}");
            assert_eq!(application.received(), 0);
        })
        .await;
}

#[tokio::test]
async fn a_peer_that_names_no_protocol_is_let_in_and_denied_like_others() {
    let application = Application::start(Script::Echo).await;
    Mesh::builder()
        .service(application.service("store"))
        .client("web")
        .client("stranger")
        .deny("stranger", "store")
        .run(async |mesh| {
            let inbound = mesh.sidecar("store").addresses.inbound.clone().unwrap();
            let identity = tls::issued(&mesh.registry, "web").await;
            let tunnel = tls::Tunnel::nameless(&inbound, identity).await;
            let mut connection = Connection::to(&tunnel.address).await;
            connection.echoes(b"GET / HTTP/1.1\r\n\r\n").await;
            connection.end().await;
            assert_eq!(connection.rest().await.as_deref(), Some(&b""[..]));
            let before = application.received();
            let identity = tls::issued(&mesh.registry, "stranger").await;
            let tunnel = tls::Tunnel::nameless(&inbound, identity).await;
            let mut connection = Connection::to(&tunnel.address).await;
            connection.say(b"let me in").await;
            assert_eq!(connection.rest().await.unwrap_or_default(), b"");
            assert_eq!(application.received(), before);
        })
        .await;
}

#[tokio::test]
async fn an_instance_that_names_no_protocol_gets_the_bytes_alone() {
    Mesh::builder()
        .service(Service::new("store").instances(0).protocol("tcp").declared("tcp"))
        .client("web")
        .run(async |mesh| {
            let identity = tls::issued(&mesh.registry, "store").await;
            let envoy = Nameless::start(identity).await;
            let instance = json!({
                "Kind": "connect-proxy", "ID": "store-envoy-sidecar-proxy", "Name": "store-sidecar-proxy",
                "Address": envoy.address.ip(), "Port": envoy.address.port(),
                "Proxy": {"DestinationServiceName": "store", "DestinationServiceID": "store-envoy"},
            });
            let registered = mesh.registry.put("/v1/agent/service/register", instance).await;
            registered.unwrap();
            let web = mesh.client_sidecar("web");
            eventually("the instance is known", async || {
                let heard = Connection::ask(web, "store", b"bytes").await;
                holds(heard.as_deref() == Some(b"bytes"), format!("{heard:?}"))
            })
            .await;
            closed(web, "closed", 1.0).await;
        })
        .await;
}

#[tokio::test]
async fn a_peer_has_no_more_connections_than_its_bound() {
    let application = Application::start(Script::Echo).await;
    store(&application)
        .settings("[limits.mesh]\nconnections_per_peer = 2")
        .run(async |mesh| {
            let web = mesh.client_sidecar("web");
            let mut first = Connection::open(web, "store").await;
            let mut second = Connection::open(web, "store").await;
            first.echoes(b"first").await;
            second.echoes(b"second").await;
            let mut third = Connection::open(web, "store").await;
            assert_eq!(third.rest().await, None);
            closed(web, "handshake", 1.0).await;
            let labels = ["scope=\"mesh\"", "limit=\"connections_per_peer\""];
            let store = mesh.sidecar("store");
            let hits = store.metric("outrigger_limit_hits_total", &labels).await;
            assert!(hits > Some(0.0), "{hits:?}");
            second.echoes(b"second").await;
        })
        .await;
}

/// Far below what any process needs.
const LITTLE: &str =
    "[limits.process]\nmemory = 1048576\nheader_memory = 100000\nbuffered_bytes = 400000\n";

#[tokio::test]
async fn short_of_memory_no_connection_is_taken() {
    let application = Application::start(Script::Echo).await;
    store(&application)
        .settings(LITTLE)
        .run(async |mesh| {
            let web = mesh.client_sidecar("web");
            assert_eq!(Connection::ask(web, "store", b"").await, None);
            closed(web, "overloaded", 1.0).await;
            assert_eq!(application.received(), 0);
        })
        .await;
}

#[tokio::test]
async fn bytes_that_nobody_takes_end_their_connection() {
    let application = Application::start(Script::Deaf).await;
    store(&application)
        .settings("[limits.connect]\nstream_progress = \"1s\"")
        .run(async |mesh| {
            let mut connection = Connection::open(mesh.client_sidecar("web"), "store").await;
            connection.floods().await;
            let store = mesh.sidecar("store");
            closed(store, "stalled", 1.0).await;
            let labels = ["scope=\"app_in\"", "limit=\"stream_progress\""];
            let hits = store.metric("outrigger_limit_hits_total", &labels).await;
            assert_eq!(hits, Some(1.0));
        })
        .await;
}
