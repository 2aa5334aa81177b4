//! The edge over TLS, as a browser meets it.

use std::sync::Arc;

use outrigger_tests::mesh::Service;
use outrigger_tests::raw::{self, END_HEADERS, END_STREAM, Frame, Raw, frame, kind};
use outrigger_tests::tls::{self, Files, Tunnel, browser};
use outrigger_tests::{Mesh, binary, eventually};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const ASK: &[u8] =
    b"GET / HTTP/1.1\r\nhost: orders\r\nconnection: close\r\nx-outrigger-principal: root\r\n\r\n";

/// A mesh whose service faces the public over TLS.
async fn with_edge(settings: &str, test: impl AsyncFnOnce(&mut Mesh, &str, &Files)) {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::issue(folder.path());
    Mesh::builder()
        .service(Service::new("orders").protocol("http2").edge_tls(&files))
        .settings(settings)
        .run(async |mesh| {
            let edge = mesh.sidecar("orders").addresses.edge_tls.clone().unwrap();
            test(mesh, &edge, &files).await;
        })
        .await;
}

async fn connect(edge: &str, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(edge).await?;
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(config.clone())
        .connect(name, stream)
        .await
}

/// A request in HTTP/1.1, and all that comes.
async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(ASK).await.unwrap();
    let mut answer = Vec::new();
    // An end without a word is an end.
    let _: std::io::Result<usize> = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A GET in HTTP/2, and the status of its answer.
async fn get(raw: &mut Raw) -> Option<String> {
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/"),
        (":authority", "orders"),
    ];
    let flags = END_HEADERS | END_STREAM;
    let get = frame(kind::HEADERS, flags, 1, &raw::block(&fields));
    raw.send(&get).await;
    let (_, head) = raw.until(|frame: &Frame| !frame.fields.is_empty()).await?;
    head.field(":status").map(str::to_owned)
}

#[tokio::test]
async fn tls_1_3_and_1_2_carry_http2_and_http1_as_alpn_says() {
    with_edge("", async |mesh, edge, _| {
        for version in [&TLS13, &TLS12] {
            let tunnel = Tunnel::over(edge, browser(&[version], &["h2"])).await;
            let mut raw = Raw::connect(&tunnel.address).await;
            assert_eq!(get(&mut raw).await.as_deref(), Some("200"), "{version:?}");
            // Whoever does not ask is understood by what it says.
            for protocols in [&["http/1.1"][..], &[]] {
                let config = Arc::new(browser(&[version], protocols));
                let answer = ask(&mut connect(edge, &config).await.unwrap()).await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{version:?} {answer}");
            }
        }
        let both = browser(&[&TLS12, &TLS13], &["http/1.1", "h2"]);
        let stream = connect(edge, &Arc::new(both)).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));

        let requests = mesh.upstream("orders").requests();
        for request in requests {
            let client = request.headers["x-outrigger-client-addr"].to_str().unwrap();
            assert!(client.starts_with("127.0.0.1:"), "{client}");
            assert!(!request.headers.contains_key("x-outrigger-principal"));
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_spoken_is_what_was_agreed_on() {
    with_edge("", async |_, edge, _| {
        let http2 = Arc::new(browser(&[&TLS13], &["h2"]));
        assert_eq!(ask(&mut connect(edge, &http2).await.unwrap()).await, "");
        let http1 = Tunnel::over(edge, browser(&[&TLS13], &["http/1.1"])).await;
        assert_eq!(Raw::connect(&http1.address).await.next().await, None);
        let other = Arc::new(browser(&[&TLS13], &["spdy/3"]));
        let refused = connect(edge, &other).await.unwrap_err().to_string();
        assert!(refused.contains("NoApplicationProtocol"), "{refused}");
        let plain = tls::plain_text(edge, ASK).await;
        assert!(!plain.starts_with(b"HTTP"), "{plain:?}");
    })
    .await;
}

#[tokio::test]
async fn a_session_is_resumed_by_ticket_and_nothing_comes_early() {
    with_edge("", async |_, edge, _| {
        for version in [&TLS13, &TLS12] {
            let mut config = browser(&[version], &["http/1.1"]);
            config.enable_early_data = true;
            let config = Arc::new(config);
            for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let stream = TcpStream::connect(edge).await.unwrap();
                let mut offers_early = false;
                let connector = TlsConnector::from(config.clone());
                let name = "localhost".try_into().unwrap();
                let connecting = connector.connect_with(name, stream, |session| {
                    offers_early = session.early_data().is_some();
                });
                let mut stream = connecting.await.unwrap();
                assert!(!offers_early, "{version:?}: no ticket allows early data");
                assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"));
                assert_eq!(
                    stream.get_ref().1.handshake_kind(),
                    Some(kind),
                    "{version:?}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_certificate_replaced_on_disk_is_taken_up_under_live_connections() {
    with_edge("", async |mesh, edge, files| {
        let tunnel = Tunnel::public(edge).await;
        let mut raw = Raw::connect(&tunnel.address).await;
        assert!(raw.is_alive().await.is_ok());
        let first = tls::served_serial(edge).await.unwrap();

        let old_key = std::fs::read(&files.key).unwrap();
        let renewed = files.renew();
        let new_key = std::fs::read(&files.key).unwrap();
        let serves = async |expected: &str| {
            let served = tls::served_serial(edge).await?;
            (served == expected).then_some(()).ok_or(served)
        };
        eventually("the new certificate is served", async || {
            serves(&renewed).await
        })
        .await;
        assert_ne!(first, renewed);

        // Half of a pair is none: the one in force stays, and it is said.
        let name = "outrigger_edge_certificate_refused_total";
        let orders = mesh.sidecar("orders");
        let before = orders.metric(name, &[]).await.unwrap();
        std::fs::write(&files.key, old_key).unwrap();
        eventually("the mismatch is counted", async || {
            let now = orders.metric(name, &[]).await.unwrap();
            (now > before).then_some(()).ok_or(now)
        })
        .await;
        serves(&renewed).await.unwrap();
        std::fs::write(&files.key, new_key).unwrap();
        assert_eq!(get(&mut raw).await.as_deref(), Some("200"));
    })
    .await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_ended() {
    with_edge(
        "[limits.connect]\nhandshake = \"1s\"\n",
        async |mesh, edge, _| {
            let mut silent = TcpStream::connect(edge).await.unwrap();
            let mut half = TcpStream::connect(edge).await.unwrap();
            half.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
            for stream in [&mut silent, &mut half] {
                let mut rest = Vec::new();
                // A reset is an end, too.
                let _: std::io::Result<usize> = stream.read_to_end(&mut rest).await;
                assert_eq!(rest, b"");
            }
            let orders = mesh.sidecar("orders");
            let labels = ["side=\"edge\"", "cause=\"timeout\""];
            let name = "outrigger_handshake_failures_total";
            eventually("both are counted", async || {
                let count = orders.metric(name, &labels).await.unwrap_or_default();
                (count == 2.0).then_some(()).ok_or(count)
            })
            .await;
        },
    )
    .await;
}

#[tokio::test]
async fn without_its_certificate_a_sidecar_does_not_start_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::issue(folder.path());
    std::fs::write(&files.key, "not PEM").unwrap();
    let config = format!(
        "service = \"web\"\ninstance = \"web-0\"\n[registry]\naddress = \"http://127.0.0.1:1\"\n\
         [application]\naddress = \"127.0.0.1:1\"\nprotocol = \"http\"\n\
         [edge]\ntls = \"127.0.0.1:0\"\ncertificate = {:?}\nkey = {:?}\n",
        files.certificate, files.key
    );
    let file = folder.path().join("sidecar.toml");
    std::fs::write(&file, config).unwrap();
    let output = tokio::process::Command::new(binary::outrigger())
        .args(["sidecar", "--config"])
        .arg(&file)
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    // The log quotes what is quoted.
    let told = String::from_utf8_lossy(&output.stderr).replace('\\', "");
    let expected = format!(
        "sidecar.edge.key = {:?}: holds no private key in PEM; expected one, not encrypted",
        files.key
    );
    assert!(told.contains(&expected), "{told}");
}

/// RFC 9113, 3.1: `h2c` is no token of Upgrade any more.
#[tokio::test]
async fn c3_nobody_upgrades_to_http2_in_clear() {
    const UPGRADE: &[u8] =
        b"GET / HTTP/1.1\r\nhost: orders\r\nconnection: upgrade, http2-settings, close\r\n\
        upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    let folder = tempfile::tempdir().unwrap();
    let files = Files::issue(folder.path());
    Mesh::builder()
        .service(Service::new("orders").protocol("http2").edge_tls(&files))
        .client("web")
        .run(async |mesh| {
            let edge = mesh.sidecar("orders").addresses.edge.clone().unwrap();
            let outbound = &mesh.client_sidecar("web").addresses.upstreams["orders"];
            for listener in [&edge, outbound] {
                let answer = tls::plain_text(listener, UPGRADE).await;
                let answer = String::from_utf8_lossy(&answer).into_owned();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            }
            for request in mesh.upstream("orders").requests() {
                for name in ["upgrade", "http2-settings", "connection"] {
                    assert!(!request.headers.contains_key(name), "{name} passed");
                }
            }
        })
        .await;
}
