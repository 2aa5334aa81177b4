//! h2spec, strict, against each kind of listener: 146 of 146, with no list of exceptions.

use std::path::Path;

use outrigger_tests::mesh::Service;
use outrigger_tests::{Mesh, external, tls};
use tokio::process::Command;

/// Cases of h2spec 2.2.1.
const CASES: u32 = 146;

async fn conforms(program: &Path, address: &str) {
    let (host, port) = address.rsplit_once(':').unwrap();
    let output = Command::new(program)
        .args(["--strict", "--timeout", "3", "--host", host, "--port", port])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let whole = format!("{CASES} tests, {CASES} passed, 0 skipped, 0 failed");
    let failures = text.split("Failures:").nth(1).unwrap_or(&text);
    assert!(text.contains(&whole), "{failures}");
}

#[tokio::test]
async fn c2_edge_outbound_and_inbound_conform_to_http2() {
    let Some(program) = external("h2spec") else {
        return;
    };
    // Requests of h2spec are not gRPC; the application waits for their end, so that no refusal is quicker than what is wrong with them.
    Mesh::builder()
        .service(Service::new("orders").protocol("http2").edge())
        .client("web")
        .run(async |mesh| {
            let orders = &mesh.sidecar("orders").addresses;
            conforms(&program, orders.edge.as_ref().unwrap()).await;

            let upstreams = &mesh.client_sidecar("web").addresses.upstreams;
            conforms(&program, &upstreams["orders"]).await;

            let identity = tls::issued(&mesh.registry, "web").await;
            let tunnel = tls::Tunnel::to(orders.inbound.as_ref().unwrap(), identity).await;
            conforms(&program, &tunnel.address).await;
        })
        .await;
}
