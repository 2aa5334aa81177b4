//! The data path never waits for the control plane.

use outrigger_tests::client::Call;
use outrigger_tests::eventually::holds;
use outrigger_tests::load::Load;
use outrigger_tests::mesh::Service;
use outrigger_tests::{Mesh, settings, within};
use std::time::Duration;

use crate::ECHO;

#[tokio::test]
async fn no_call_fails_while_the_registry_is_away_nor_on_its_return() {
    let away = settings::seconds("REGISTRY_AWAY", 10);
    Mesh::builder()
        .service(Service::new("inventory").instances(2))
        .client("orders")
        .run(async |mesh| {
            let client = mesh.client("orders");
            let caller = client.clone();
            let load = Load::start(200, move |_| (caller.clone(), Call::new("inventory", ECHO)));
            mesh.registry.stop().await;
            // The metric is how one sees that the picture is old; meanwhile programs connect anew.
            within(
                away * 2,
                "the snapshot is as old as the registry is away",
                async || {
                    client.reconnect().await;
                    client.unary("inventory", ECHO, "").await.expect_ok();
                    let age = mesh
                        .client_sidecar("orders")
                        .metric("outrigger_snapshot_age_seconds", &[])
                        .await
                        .ok_or("no such metric".to_owned())?;
                    holds(age > away.as_secs_f64() * 0.9, age)
                },
            )
            .await;
            mesh.registry.start().await;
            within(
                Duration::from_secs(30),
                "the snapshot is fresh again",
                async || {
                    let age = mesh
                        .client_sidecar("orders")
                        .metric("outrigger_snapshot_age_seconds", &[])
                        .await
                        .ok_or("no such metric".to_owned())?;
                    holds(age < away.as_secs_f64() / 2.0, age)
                },
            )
            .await;
            load.stop().await.expect_no_failures();
        })
        .await;
}
