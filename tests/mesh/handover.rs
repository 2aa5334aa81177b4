//! A new process takes the place of a sidecar, and nobody notices.

use std::time::Duration;

use outrigger_tests::client::Call;
use outrigger_tests::load::Load;
use outrigger_tests::mesh::Service;
use outrigger_tests::{Mesh, eventually};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::ECHO;

/// Dials again and again; how often, and what was refused.
async fn dial(address: String, stop: CancellationToken) -> (u32, Vec<String>) {
    let (mut dialed, mut refused) = (0, Vec::new());
    let mut ticks = interval(Duration::from_millis(2));
    while !stop.is_cancelled() {
        ticks.tick().await;
        dialed += 1;
        let connected = match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).await.map(drop),
            None => TcpStream::connect(&address).await.map(drop),
        };
        if let Err(err) = connected {
            refused.push(err.to_string());
        }
    }
    (dialed, refused)
}

#[tokio::test]
async fn both_sidecars_of_a_call_are_replaced_without_a_failed_call_or_a_refused_connection() {
    Mesh::builder()
        .service(Service::new("orders"))
        .client("web")
        .run(async |mesh| {
            let web = mesh.client("web");
            web.unary("orders", ECHO, "").await.expect_ok();
            let stop = CancellationToken::new();
            let mut dialers = JoinSet::new();
            for sidecar in [mesh.sidecar("orders"), mesh.client_sidecar("web")] {
                let addresses = [&sidecar.addresses.inbound, &sidecar.addresses.outbound];
                for address in addresses.into_iter().flatten() {
                    dialers.spawn(dial(address.clone(), stop.clone()));
                }
            }
            let load = Load::start(200, move |_| (web.clone(), Call::new("orders", ECHO)));
            mesh.instance("orders", 0)
                .sidecar
                .as_mut()
                .unwrap()
                .replace()
                .await;
            mesh.client_sidecar_mut("web").replace().await;
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
            for (dialed, refused) in dialers.join_all().await {
                assert!(dialed > 10 && refused.is_empty(), "{refused:?} of {dialed}");
            }
        })
        .await;
}
