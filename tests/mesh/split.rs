//! A splitter moves traffic between two versions.

use std::time::Duration;

use outrigger_tests::eventually::holds;
use outrigger_tests::mesh::Service;
use outrigger_tests::{Mesh, within};
use serde_json::{Value, json};

use crate::ECHO;

fn splitter(v1: u8) -> Value {
    json!({"Kind": "service-splitter", "Name": "orders", "Splits": [
        {"Weight": v1, "ServiceSubset": "v1"}, {"Weight": 100 - v1, "ServiceSubset": "v2"},
    ]})
}

async fn share_of_v1(mesh: &Mesh, calls: u32) -> u32 {
    let mut v1 = 0;
    for _ in 0..calls {
        let answer = mesh
            .client("web")
            .unary("orders", ECHO, "")
            .await
            .expect_ok();
        if answer.headers["x-upstream"]
            .to_str()
            .unwrap()
            .starts_with("orders-v1-")
        {
            v1 += 1;
        }
    }
    v1
}

#[tokio::test]
async fn it_moves_all_traffic_within_a_second_and_keeps_its_weights() {
    Mesh::builder()
        .service("orders")
        .service(Service::new("orders").version("v2"))
        .client("web")
        .run(async |mesh| {
            mesh.registry
                .write(json!({"Kind": "service-resolver", "Name": "orders", "DefaultSubset": "v1", "Subsets": {
                    "v1": {"Filter": "Service.Meta.version == v1"}, "v2": {"Filter": "Service.Meta.version == v2"},
                }}))
                .await;
            for v1 in [100, 0, 100] {
                mesh.registry.write(splitter(v1)).await;
                within(Duration::from_secs(1), "all traffic has moved", async || {
                    let share = share_of_v1(mesh, 10).await;
                    holds(share == u32::from(v1) / 10, share)
                })
                .await;
            }
            mesh.registry.write(splitter(80)).await;
            within(Duration::from_secs(1), "both are called", async || {
                holds((1..30).contains(&share_of_v1(mesh, 30).await), "one only")
            })
            .await;
            // 2,000 draws at 0.8: three standard deviations are 54.
            let share = share_of_v1(mesh, 2000).await;
            assert!((1546..=1654).contains(&share), "{share} of 2000");
        })
        .await;
}
