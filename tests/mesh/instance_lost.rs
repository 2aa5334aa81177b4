//! One of two instances dies under load: its callers hardly notice.

use std::time::Duration;

use outrigger_tests::client::Call;
use outrigger_tests::eventually::{holds, reached, within};
use outrigger_tests::load::Load;
use outrigger_tests::mesh::Service;
use outrigger_tests::{Mesh, settings};
use tokio::time::Instant;

use crate::ECHO;

const RATE: u64 = 200;
/// From the moment of the loss until no call may fail any more.
const GRACE: Duration = Duration::from_secs(1);

/// By then an instance whose first answer took long, as first ones do, is asked again.
const FORGOTTEN: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_lost_application_costs_nothing_after_a_second() {
    lose(async |mesh| {
        mesh.instance("inventory", 0).upstream.take();
    })
    .await;
}

#[tokio::test]
async fn a_killed_sidecar_costs_nothing_after_a_second() {
    lose(async |mesh| {
        let instance = mesh.instance("inventory", 0);
        let mut sidecar = instance.sidecar.take().unwrap();
        sidecar.kill().await;
    })
    .await;
}

async fn lose(fault: impl AsyncFnOnce(&mut Mesh)) {
    Mesh::builder()
        .service(Service::new("inventory").instances(2))
        .client("orders")
        .run(async |mesh| {
            let client = mesh.client("orders");
            let load = Load::start(RATE, move |_| {
                (client.clone(), Call::new("inventory", ECHO))
            });
            within(FORGOTTEN, "both instances are called", async || {
                let handled: Vec<u64> = mesh
                    .upstreams("inventory")
                    .iter()
                    .map(|upstream| upstream.handled())
                    .collect();
                holds(
                    handled.iter().all(|handled| *handled > 10),
                    format!("{handled:?}"),
                )
            })
            .await;
            let lost = Instant::now();
            fault(mesh).await;
            reached(lost + settings::seconds("INSTANCE_LOST", 5)).await;
            let report = load.stop().await;
            assert!(report.calls > RATE, "{} calls", report.calls);
            report.expect_no_failures_after(lost + GRACE);
        })
        .await;
}
