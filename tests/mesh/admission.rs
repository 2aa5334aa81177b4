//! Who may connect, how often and how many at once: at each bound and one past it, with a neighbour that is served.

use std::sync::Arc;
use std::time::Duration;

use outrigger_tests::client::{Answer, Call};
use outrigger_tests::mesh::Service;
use outrigger_tests::raw::Raw;
use outrigger_tests::tls::Files;
use outrigger_tests::{Mesh, eventually, settings, tls};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::limit::{answered, head, hits, neighbour_is_served, rises};

/// Longer than an answer takes, and short enough to be waited for in vain.
const A_MOMENT: Duration = Duration::from_millis(300);

async fn edge_of(settings: &str, test: impl AsyncFnOnce(&str, &outrigger_tests::sidecar::Sidecar)) {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .settings(settings)
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            test(orders.addresses.edge.as_ref().unwrap(), orders).await;
        })
        .await;
}

#[tokio::test]
async fn past_the_connections_of_a_listener_the_next_one_waits_for_an_end() {
    edge_of("[limits.edge]\nconnections = 3\n", async |edge, orders| {
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut raw = Raw::connect(edge).await;
            assert!(raw.is_alive().await.is_ok());
            open.push(raw);
        }
        let labels = ["scope=\"edge\"", "limit=\"connections\""];
        let usage = orders.metric("outrigger_limit_usage", &labels).await;
        assert_eq!(usage, Some(3.0));
        let mut fourth = Raw::connect(edge).await;
        rises(orders, "edge", "connections", 0.0).await;
        assert!(timeout(A_MOMENT, fourth.next()).await.is_err());
        assert!(answered(&mut open[0], 1).await, "a neighbour is served");
        open.pop();
        assert!(answered(&mut fourth, 1).await);
    })
    .await;
}

#[tokio::test]
async fn past_the_connections_of_a_peer_the_new_one_is_closed() {
    edge_of(
        "[limits.edge]\nconnections_per_peer = 2\n",
        async |edge, orders| {
            let mut first = Raw::connect(edge).await;
            let mut second = Raw::connect(edge).await;
            assert!(first.is_alive().await.is_ok() && second.is_alive().await.is_ok());
            assert_eq!(hits(orders, "edge", "connections_per_peer").await, 0.0);
            let mut third = Raw::connect(edge).await;
            assert_eq!(third.next().await, None);
            rises(orders, "edge", "connections_per_peer", 0.0).await;
            let mut neighbour = Raw::connect_from([127, 0, 0, 2], edge).await;
            assert!(answered(&mut neighbour, 1).await);
            drop(first);
            eventually("there is a place again", async || {
                let alive = Raw::connect(edge).await.is_alive().await;
                alive.map(|_| ()).map_err(|goodbye| format!("{goodbye:?}"))
            })
            .await;
        },
    )
    .await;
}

#[tokio::test]
async fn in_the_mesh_a_peer_is_an_identity_and_at_home_an_address() {
    let settings =
        "[limits.mesh]\nconnections_per_peer = 2\n[limits.local]\nconnections_per_peer = 2\n";
    Mesh::builder()
        .service("orders")
        .client("web")
        .client("other")
        .settings(settings)
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            let inbound = orders.addresses.inbound.clone().unwrap();
            // Of `other`'s two one is its own sidecar's, once it has called.
            let client = mesh.client("other");
            client.unary("orders", crate::ECHO, "x").await.expect_ok();
            let identity = tls::issued(&mesh.registry, "other").await;
            let tunnel = tls::Tunnel::to(&inbound, identity).await;
            let mut second = Raw::connect(&tunnel.address).await;
            assert!(answered(&mut second, 1).await);
            assert_eq!(hits(orders, "mesh", "connections_per_peer").await, 0.0);
            let mut third = Raw::connect(&tunnel.address).await;
            assert_eq!(third.next().await, None);
            rises(orders, "mesh", "connections_per_peer", 0.0).await;
            mesh.client("web")
                .unary("orders", crate::ECHO, "x")
                .await
                .expect_ok();

            let web = mesh.client_sidecar("web");
            let local = &web.addresses.upstreams["orders"];
            let mut open = [Raw::connect(local).await, Raw::connect(local).await];
            for raw in &mut open {
                assert!(raw.is_alive().await.is_ok());
            }
            let mut third = Raw::connect(local).await;
            assert_eq!(third.next().await, None);
            rises(web, "app_out", "connections_per_peer", 0.0).await;
            assert!(answered(&mut open[0], 1).await, "a neighbour is served");
        })
        .await;
}

#[tokio::test]
async fn handshakes_past_their_rate_wait_and_half_a_hello_is_let_go_at_its_time() {
    let settings = "[limits.mesh]\ntls_handshakes_per_second = 2\ntls_handshakes_at_once = 1\n[limits.connect]\nhandshake = \"3s\"\n";
    Mesh::builder()
        .service("orders")
        .client("web")
        .settings(settings)
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            let inbound = orders.addresses.inbound.clone().unwrap();
            let identity = tls::issued(&mesh.registry, "web").await;
            let tunnel = tls::Tunnel::to(&inbound, identity).await;
            let begun = Instant::now();
            for _ in 0..4 {
                neighbour_is_served(&tunnel.address).await;
            }
            assert!(
                begun.elapsed() >= Duration::from_millis(900),
                "{:?}",
                begun.elapsed()
            );
            rises(orders, "mesh", "tls_handshakes_per_second", 0.0).await;

            // B7: the first bytes of a hello, and then nothing.
            let mut half = Raw::silent(&inbound).await;
            half.send(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await;
            let begun = Instant::now();
            neighbour_is_served(&tunnel.address).await;
            let waited = begun.elapsed();
            let (least, most) = (Duration::from_secs(2), Duration::from_secs(15));
            assert!((least..most).contains(&waited), "{waited:?}");
            rises(orders, "mesh", "tls_handshakes_at_once", 0.0).await;
            assert_eq!(half.next().await, None);
        })
        .await;
}

/// The edge has another kind of handshake; its listener in clear has none, and waits for none.
#[tokio::test]
async fn handshakes_at_the_edge_have_the_same_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::issue(folder.path());
    let settings = "[limits.edge]\ntls_handshakes_per_second = 2\ntls_handshakes_at_once = 1\n[limits.connect]\nhandshake = \"3s\"\n";
    Mesh::builder()
        .service(Service::new("orders").edge_tls(&files))
        .settings(settings)
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            let edge = orders.addresses.edge_tls.clone().unwrap();
            let public = Arc::new(tls::as_public());
            let shaken = async || {
                let stream = TcpStream::connect(&edge).await.unwrap();
                drop(tls::shake_hands(stream, &public).await.unwrap());
            };
            let begun = Instant::now();
            for _ in 0..4 {
                shaken().await;
            }
            assert!(begun.elapsed() >= Duration::from_millis(900));
            rises(orders, "edge", "tls_handshakes_per_second", 0.0).await;

            let mut half = Raw::silent(&edge).await;
            half.send(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await;
            let clear = orders.addresses.edge.as_ref().unwrap();
            let begun = Instant::now();
            for _ in 0..10 {
                neighbour_is_served(clear).await;
            }
            assert!(begun.elapsed() < Duration::from_secs(2), "{begun:?}");
            shaken().await;
            rises(orders, "edge", "tls_handshakes_at_once", 0.0).await;
            assert_eq!(half.next().await, None);
        })
        .await;
}

#[tokio::test]
async fn dials_past_their_rate_wait_for_their_turn() {
    Mesh::builder()
        .service(Service::new("orders").instances(3))
        .client("web")
        .settings("[limits.mesh]\ndials_per_second = 1\n")
        .run(async |mesh| {
            let (web, client) = (mesh.client_sidecar("web"), mesh.client("web"));
            let begun = Instant::now();
            client.unary("orders", crate::ECHO, "x").await.expect_ok();
            eventually("every instance is reached", async || {
                let open = web.metric("outrigger_connections_open", &[]).await;
                match open == Some(3.0) {
                    true => Ok(()),
                    false => Err(format!("{open:?}")),
                }
            })
            .await;
            rises(web, "mesh", "dials_per_second", 0.0).await;
            // They may have begun before the call.
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{:?}",
                begun.elapsed()
            );
        })
        .await;
}

/// Its sidecar is gone, and the registry has not noticed.
#[tokio::test]
async fn past_the_calls_that_may_wait_for_an_instance_others_are_refused() {
    Mesh::builder()
        .service(Service::new("orders"))
        .client("web")
        .settings("[limits.mesh]\nqueued = 1\n")
        .run(async |mesh| {
            let client = mesh.client("web");
            client.unary("orders", crate::ECHO, "x").await.expect_ok();
            let mut lost = mesh.instance("orders", 0).sidecar.take().unwrap();
            lost.kill().await;
            let together = async |calls| {
                let mut waiting = JoinSet::new();
                for _ in 0..calls {
                    let client = client.clone();
                    waiting.spawn(async move { client.unary("orders", crate::ECHO, "x").await });
                }
                waiting.join_all().await
            };
            let refused = |answers: &[Answer]| {
                let reasons = answers.iter().map(Answer::reason);
                reasons.filter(|reason| *reason == "overloaded").count()
            };
            let crowd = together(8).await;
            assert!((1..8).contains(&refused(&crowd)), "{crowd:?}");
            rises(mesh.client_sidecar("web"), "mesh", "queued", 0.0).await;
            let alone = together(1).await;
            assert_eq!(refused(&alone), 0, "{alone:?}");
        })
        .await;
}

/// None is refused, and those that nobody answers make room in time.
#[tokio::test]
async fn past_the_calls_that_a_callee_has_of_strangers_the_next_one_waits() {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .client("web")
        .settings("[limits.mesh]\nstranger_calls = 1\n[limits.local]\nstranger_calls = 1\n")
        .run(async |mesh| {
            let (orders, web) = (mesh.sidecar("orders"), mesh.client_sidecar("web"));
            let edge = orders.addresses.edge.as_ref().unwrap();
            let upstream = &web.addresses.upstreams["orders"];
            for (sidecar, scope, address) in [(orders, "app_in", edge), (web, "mesh", upstream)] {
                neighbour_is_served(address).await;
                let before = hits(sidecar, scope, "stranger_calls").await;
                let mut raw = Raw::connect(address).await;
                let stalled = [1, 3, 5].map(|stream| head(stream, 0));
                raw.send(&stalled.concat()).await;
                rises(sidecar, scope, "stranger_calls", before).await;
                assert!(answered(&mut raw, 7).await);
                neighbour_is_served(address).await;
            }
        })
        .await;
}

/// They end when they carried nothing for a while: calls that go on, one beside another, keep one.
#[tokio::test]
async fn connections_that_a_burst_needed_end_when_it_is_over() {
    Mesh::builder()
        .service(Service::new("orders"))
        .client("web")
        .settings("[limits.mesh]\nmax_concurrent_streams = 16\n[limits.connect]\nidle = \"1s\"\n")
        .run(async |mesh| {
            let (client, web) = (mesh.client("web"), mesh.client_sidecar("web"));
            let open = async || web.metric("outrigger_connections_open", &[]).await;
            let mut burst = Vec::new();
            for _ in 0..40 {
                let call = Call::new("orders", crate::ECHO);
                burst.push(client.open(&call).await.unwrap());
            }
            eventually("each carries what it takes", async || match open().await {
                Some(3.0) => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
            let first = burst.remove(0);
            for stream in burst {
                stream.close().await;
            }
            eventually("one is left", async || {
                client.unary("orders", crate::ECHO, "x").await.expect_ok();
                match open().await {
                    Some(1.0) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
            first.close().await;
        })
        .await;
}

/// B8, B7: more connections than file descriptors, all of them silent. The size: `OUTRIGGER_STORM`.
#[tokio::test]
async fn b8_without_file_descriptors_the_accept_loop_goes_on_and_says_so_once_a_second() {
    let connections = settings::number("OUTRIGGER_STORM", 300);
    let started = Instant::now();
    Mesh::builder()
        .service(Service::new("orders").edge().after("ulimit -n 128"))
        .settings("[limits.edge]\nconnections_per_peer = 100000\n")
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            let edge = orders.addresses.edge.as_ref().unwrap();
            let mut good = Raw::connect(edge).await;
            assert!(answered(&mut good, 1).await);
            let mut storm = Vec::new();
            for _ in 0..connections {
                storm.push(Raw::silent(edge).await);
            }
            let told = || {
                let log = orders.log();
                log.lines()
                    .filter(|line| line.contains("cannot accept a connection"))
                    .count()
            };
            eventually("it has none left", async || match told() {
                0 => Err("nothing was said".to_owned()),
                _ => Ok(()),
            })
            .await;
            assert!(answered(&mut good, 3).await, "who was there is served");
            drop(storm);
            let begun = Instant::now();
            neighbour_is_served(edge).await;
            assert!(
                begun.elapsed() < Duration::from_secs(3),
                "{:?}",
                begun.elapsed()
            );
            let most = started.elapsed().as_secs() + 1;
            assert!(told() as u64 <= most, "{} times in {most} s", told());
        })
        .await;
}
