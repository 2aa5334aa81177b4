//! Leaves are renewed while calls go on.

use std::collections::BTreeSet;

use outrigger_tests::client::Call;
use outrigger_tests::eventually::holds;
use outrigger_tests::load::Load;
use outrigger_tests::{Mesh, settings, tls, within};
use tokio::time::Instant;

use crate::ECHO;

#[tokio::test]
async fn no_call_fails_over_several_generations_of_leaves() {
    let ttl = settings::seconds("LEAF_TTL", 10);
    let duration = settings::seconds("ROTATION", 25);
    Mesh::builder()
        .service("orders")
        .client("web")
        .leaf_ttl(ttl)
        .run(async |mesh| {
            let client = mesh.client("web");
            let load = Load::start(200, move |_| (client.clone(), Call::new("orders", ECHO)));
            let inbound = mesh.sidecar("orders").addresses.inbound.clone().unwrap();
            let end = Instant::now() + duration;
            let mut serials = BTreeSet::new();
            within(duration * 2, "the time is over", async || {
                serials.insert(tls::served_serial(&inbound).await?);
                holds(Instant::now() >= end, "not yet")
            })
            .await;
            let report = load.stop().await;
            report.expect_no_failures();
            // Renewed at half its life, give or take a tenth.
            let generations = usize::try_from(duration.as_secs() / ttl.as_secs()).unwrap();
            assert!(serials.len() > generations, "{serials:?} in {duration:?}");
            assert!(
                report.calls > 100 * duration.as_secs(),
                "{} calls",
                report.calls
            );
        })
        .await;
}
