//! A small mesh on either registry.

use std::time::Duration;

use outrigger_tests::eventually::holds;
use outrigger_tests::mesh::Service;
use outrigger_tests::registry::Backend;
use outrigger_tests::{Mesh, eventually, external, within};
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::Code;

const ECHO: &str = "/test.Echo/Echo";

pub(crate) async fn a_call_needs_an_intention(backend: Backend) {
    Mesh::builder()
        .registry(backend)
        .service("payments")
        .client("orders")
        .client("catalog")
        .deny("catalog", "payments")
        .run(async |mesh| {
            mesh.client("orders")
                .unary("payments", ECHO, "a")
                .await
                .expect_ok();
            let answer = mesh.client("catalog").unary("payments", ECHO, "a").await;
            assert_eq!(
                answer.code(),
                Code::PermissionDenied,
                "{}",
                answer.summary()
            );
            assert_eq!(answer.reason(), "denied");

            mesh.registry.write_callers("payments", &["catalog"]).await;
            eventually("the new intention holds", async || {
                let answer = mesh.client("orders").unary("payments", ECHO, "a").await;
                holds(answer.reason() == "denied", answer.summary())
            })
            .await;
            mesh.client("catalog")
                .unary("payments", ECHO, "a")
                .await
                .expect_ok();
        })
        .await;
}

pub(crate) async fn a_health_query_blocks_until_something_changes(backend: Backend) {
    Mesh::builder()
        .registry(backend)
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let path = "/v1/health/connect/orders?passing=1";
            // Consul answers from what its agent has told its servers.
            let index = eventually("the instance is there", async || {
                let (index, now) = mesh.registry.indexed(path).await?;
                holds(now.as_array().unwrap().len() == 1, now.to_string())?;
                Ok::<_, String>(index)
            })
            .await;
            assert!(index > 0);
            // Nothing changes for this service: the query waits as long as it was told to.
            let begun = Instant::now();
            let waiting = format!("{path}&index={index}&wait=1s");
            let (same, _) = mesh.registry.indexed(&waiting).await.unwrap();
            assert!(same >= index);
            assert!(
                begun.elapsed() >= Duration::from_millis(900),
                "{:?}",
                begun.elapsed()
            );

            let waiting = format!("{path}&index={same}&wait=30s");
            let watch = mesh.registry.clone_client();
            let mut waiter = tokio::task::JoinSet::new();
            waiter.spawn(async move { watch.indexed(&waiting).await });
            mesh.start(&Service::new("orders")).await;
            let (_, then) = waiter.join_next().await.unwrap().unwrap().unwrap();
            eventually("both instances are there", async || {
                let (_, now) = mesh.registry.indexed(path).await?;
                holds(now.as_array().unwrap().len() == 2, format!("{now} {then}"))
            })
            .await;
        })
        .await;
}

fn resolver() -> Value {
    json!({"Kind": "service-resolver", "Name": "orders", "DefaultSubset": "v1", "Subsets": {
        "v1": {"Filter": "Service.Meta.version == v1"}, "v2": {"Filter": "Service.Meta.version == v2"},
    }})
}

fn splitter(v1: u8) -> Value {
    json!({"Kind": "service-splitter", "Name": "orders", "Splits": [
        {"Weight": v1, "ServiceSubset": "v1"}, {"Weight": 100 - v1, "ServiceSubset": "v2"},
    ]})
}

pub(crate) async fn a_chain_follows_resolver_and_splitter(backend: Backend) {
    Mesh::builder()
        .registry(backend)
        .service(Service::new("orders").instances(0))
        .run(async |mesh| {
            let path = "/v1/discovery-chain/orders";
            let chain = mesh.registry.get(path).await.unwrap();
            assert_eq!(chain["Chain"]["Protocol"], "grpc", "{chain}");
            assert_eq!(
                chain["Chain"]["StartNode"],
                "resolver:orders.default.default.dc1"
            );
            mesh.registry.write(resolver()).await;
            mesh.registry.write(splitter(80)).await;
            let chain = mesh.registry.get(path).await.unwrap();
            let chain = &chain["Chain"];
            assert_eq!(chain["StartNode"], "splitter:orders.default.default");
            let splits = &chain["Nodes"]["splitter:orders.default.default"]["Splits"];
            assert_eq!(splits[0]["Weight"], 80.0, "{chain}");
            assert_eq!(
                splits[1]["NextNode"],
                "resolver:v2.orders.default.default.dc1"
            );
            let target = &chain["Targets"]["v2.orders.default.default.dc1"];
            assert_eq!(
                target["Subset"]["Filter"], "Service.Meta.version == v2",
                "{chain}"
            );
        })
        .await;
}

pub(crate) async fn consul_config_write_moves_traffic_within_a_second(backend: Backend) {
    let Some(consul) = external("consul") else {
        return;
    };
    Mesh::builder()
        .registry(backend)
        .service("orders")
        .service(Service::new("orders").version("v2"))
        .client("web")
        .run(async |mesh| {
            let folder = tempfile::tempdir().unwrap();
            let write = async |entry: &Value| {
                let file = folder.path().join("entry.json");
                std::fs::write(&file, entry.to_string()).unwrap();
                let mut command = tokio::process::Command::new(&consul);
                command
                    .args(["config", "write"])
                    .arg(&file)
                    .env("CONSUL_HTTP_ADDR", mesh.registry.address());
                if let Some(token) = mesh.registry.management_token() {
                    command.env("CONSUL_HTTP_TOKEN", token);
                }
                let output = command.output().await.unwrap();
                assert!(
                    output.status.success(),
                    "consul config write {entry}: {output:?}"
                );
            };
            write(&resolver()).await;
            for (v1, version) in [(100, "orders-v1-"), (0, "orders-v2-"), (100, "orders-v1-")] {
                write(&splitter(v1)).await;
                within(
                    Duration::from_secs(1),
                    "all traffic has moved",
                    async || {
                        for _ in 0..10 {
                            let answer = mesh
                                .client("web")
                                .unary("orders", ECHO, "")
                                .await
                                .expect_ok();
                            let by = answer.headers["x-upstream"].to_str().unwrap();
                            holds(by.starts_with(version), by)?;
                        }
                        Ok::<(), String>(())
                    },
                )
                .await;
            }
        })
        .await;
}

pub(crate) async fn an_instance_that_fails_its_check_gets_no_call(backend: Backend) {
    Mesh::builder()
        .registry(backend)
        .service(Service::new("orders").instances(2))
        .client("web")
        .run(async |mesh| {
            // The application is gone; its sidecar, which is well, says so.
            mesh.instance("orders", 0).upstream.take();
            eventually("the registry knows", async || {
                let (_, passing) = mesh
                    .registry
                    .indexed("/v1/health/connect/orders?passing=1")
                    .await?;
                holds(passing.as_array().unwrap().len() == 1, passing)
            })
            .await;
            for _ in 0..20 {
                mesh.client("web")
                    .unary("orders", ECHO, "")
                    .await
                    .expect_ok();
            }
        })
        .await;
}
