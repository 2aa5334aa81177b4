//! h2spec, strict, against each kind of listener: 146 of 146, with no list of exceptions.

use std::path::Path;

use outrigger_tests::{Mesh, Shop, external, tls};
use tokio::process::Command;

/// Cases of h2spec 2.2.1.
const CASES: u32 = 146;

async fn conforms(program: &Path, port: u16) {
    let output = Command::new(program)
        .args([
            "--strict",
            "--timeout",
            "3",
            "--host",
            "127.0.0.1",
            "--port",
        ])
        .arg(port.to_string())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let whole = format!("{CASES} tests, {CASES} passed, 0 skipped, 0 failed");
    let failures = text.split("Failures:").nth(1).unwrap_or(&text);
    assert!(text.contains(&whole), "{failures}");
}

fn port(address: &str) -> u16 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn c2_the_edge_conforms_to_http2() {
    let Some(program) = external("h2spec") else {
        return;
    };
    let mut shop = Shop::start().await;
    conforms(&program, port(&shop.edge())).await;
    shop.stop().await;
}

#[tokio::test]
async fn c2_outbound_and_inbound_conform_to_http2() {
    let Some(program) = external("h2spec") else {
        return;
    };
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let upstreams = &mesh.client_sidecar("web").addresses.upstreams;
            conforms(&program, port(&upstreams["orders"])).await;

            let inbound = mesh.sidecar("orders").addresses.inbound.clone().unwrap();
            let identity = tls::issued(&mesh.registry, "web").await;
            let tunnel = tls::Tunnel::to(&inbound, identity).await;
            conforms(&program, tunnel.port).await;
        })
        .await;
}
