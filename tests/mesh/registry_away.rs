//! The data path never waits for the control plane.

use outrigger_tests::client::Call;
use outrigger_tests::eventually::holds;
use outrigger_tests::load::Load;
use outrigger_tests::mesh::Service;
use outrigger_tests::{Mesh, settings, within};
use std::time::Duration;
use tokio::time::Instant;

use crate::ECHO;

const AGE: &str = "outrigger_snapshot_age_seconds";

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
                    let ages = mesh.client_sidecar("orders").samples(AGE).await;
                    let all = ages.iter().all(|age| *age > away.as_secs_f64());
                    holds(!ages.is_empty() && all, format!("{ages:?}"))
                },
            )
            .await;
            mesh.registry.start().await;
            let returned = Instant::now();
            within(
                Duration::from_secs(30),
                "the snapshot is fresh again",
                async || {
                    // Asked anew since then: a watch that waits for the next change confirms nothing meanwhile.
                    let ages = mesh.client_sidecar("orders").samples(AGE).await;
                    let since = returned.elapsed().as_secs_f64();
                    holds(
                        ages.iter().all(|age| *age <= since),
                        format!("{ages:?} after {since}"),
                    )
                },
            )
            .await;
            load.stop().await.expect_no_failures();
        })
        .await;
}
