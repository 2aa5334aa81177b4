//! A new process takes the place of a sidecar, and nobody notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outrigger_tests::client::Call;
use outrigger_tests::figure::tell;
use outrigger_tests::load::Load;
use outrigger_tests::mesh::Service;
use outrigger_tests::{Mesh, eventually, settings};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::ECHO;

/// Dials again and again; what was refused.
async fn dial(address: String, dialed: Arc<AtomicU64>, stop: CancellationToken) -> Vec<String> {
    let mut refused = Vec::new();
    let mut ticks = interval(Duration::from_millis(2));
    while !stop.is_cancelled() {
        ticks.tick().await;
        dialed.fetch_add(1, Ordering::Relaxed);
        let connected = match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).await.map(drop),
            None => TcpStream::connect(&address).await.map(drop),
        };
        if let Err(err) = connected {
            refused.push(err.to_string());
        }
    }
    refused
}

/// D8. `OUTRIGGER_DIALS` connections in all while they are replaced again and again; a full run is 20,000.
#[tokio::test]
async fn d8_both_sidecars_of_a_call_are_replaced_without_a_failed_call_or_a_refused_connection() {
    let dials = settings::number("OUTRIGGER_DIALS", 200);
    Mesh::builder()
        .service(Service::new("orders"))
        .client("web")
        .run(async |mesh| {
            let web = mesh.client("web");
            web.unary("orders", ECHO, "").await.expect_ok();
            let stop = CancellationToken::new();
            let dialed = Arc::new(AtomicU64::new(0));
            let mut dialers = JoinSet::new();
            for sidecar in [mesh.sidecar("orders"), mesh.client_sidecar("web")] {
                let addresses = [&sidecar.addresses.inbound, &sidecar.addresses.outbound];
                for address in addresses.into_iter().flatten() {
                    dialers.spawn(dial(address.clone(), Arc::clone(&dialed), stop.clone()));
                }
            }
            let load = Load::start(200, move |_| (web.clone(), Call::new("orders", ECHO)));
            while dialed.load(Ordering::Relaxed) < dials {
                let orders = mesh.instance("orders", 0).sidecar.as_mut();
                orders.unwrap().replace().await;
                mesh.client_sidecar_mut("web").replace().await;
            }
            eventually("the new caller calls the new callee", async || {
                let web = mesh.client_sidecar("web");
                let name = "grpc_client_attempt_started_total";
                match web.metric(name, &[]).await {
                    Some(calls) if calls > 20.0 => Ok(()),
                    calls => Err(format!("{calls:?}")),
                }
            })
            .await;
            let report = load.stop().await;
            assert!(report.calls > 100, "{}", report.calls);
            report.expect_no_failures();
            stop.cancel();
            let refused = dialers.join_all().await.concat();
            let dialed = dialed.load(Ordering::Relaxed);
            tell(&format!(
                "d8: {dialed} connections, {} refused",
                refused.len()
            ));
            assert!(
                refused.is_empty(),
                "{} of {dialed}; the first: {}",
                refused.len(),
                refused[0]
            );
        })
        .await;
}
