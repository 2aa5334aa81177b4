//! The three listeners that every table runs on: inbound over mTLS, outbound in clear, the edge over TLS. Each case has a connection of
//! its own, and a few run at once: what one of them breaks is its own.

use std::sync::Arc;
use std::time::Duration;

use outrigger_tests::mesh::Service;
use outrigger_tests::tls::{Files, Tunnel, issued};
use outrigger_tests::{Mesh, settings};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::case::Case;

/// No case takes longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// Runs all cases on all listeners. What differs is told at the end, all of it. `OUTRIGGER_CASES_AT_ONCE` is how many run at a time, 12
/// by default.
pub(crate) async fn conform(cases: Vec<Case>) {
    let folder = tempfile::tempdir().unwrap();
    // Requests of the tables are not gRPC; the application waits for their end, so that no refusal is quicker than what is wrong with them.
    let orders = Service::new("orders")
        .protocol("http2")
        .edge_tls(&Files::issue(folder.path()));
    Mesh::builder()
        .service(orders)
        .client("web")
        .run(async |mesh| {
            let addresses = mesh.sidecar("orders").addresses.clone();
            let identity = issued(&mesh.registry, "web").await;
            let inbound = Tunnel::to(&addresses.inbound.unwrap(), identity).await;
            let edge = Tunnel::public(&addresses.edge_tls.unwrap()).await;
            let outbound = &mesh.client_sidecar("web").addresses.upstreams["orders"];
            let listeners = [
                ("inbound", &*inbound.address),
                ("outbound", outbound),
                ("edge", &edge.address),
            ];
            let failures = run(cases, &listeners).await;
            let count = failures.len();
            assert!(count == 0, "{count} differ:\n{}", failures.join("\n"));
        })
        .await;
}

async fn run(cases: Vec<Case>, listeners: &[(&'static str, &str)]) -> Vec<String> {
    let at_once = settings::number("OUTRIGGER_CASES_AT_ONCE", 12);
    let room = Arc::new(Semaphore::new(usize::try_from(at_once).unwrap()));
    let cases = Arc::new(cases);
    let mut running = JoinSet::new();
    for index in 0..cases.len() {
        for (listener, address) in listeners {
            let (cases, room) = (cases.clone(), room.clone());
            let (listener, address) = (*listener, (*address).to_owned());
            running.spawn(async move {
                let _turn = room.acquire().await.unwrap();
                failure(&cases[index], listener, &address).await
            });
        }
    }
    let mut failures: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    failures.sort();
    failures
}

async fn failure(case: &Case, listener: &str, address: &str) -> Option<String> {
    let instead = match timeout(PATIENCE, case.run(address)).await {
        Ok(Ok(())) => return None,
        Ok(Err(instead)) => instead,
        Err(_) => "nothing that was expected, in time".to_owned(),
    };
    let Case {
        id, does, outcome, ..
    } = case;
    Some(format!(
        "{id} at {listener} ({does}): expected {outcome:?}, got {instead}"
    ))
}
