//! Which names lead somewhere, and how a program that cannot choose its authority is served.

use outrigger_tests::upstream::Address;
use outrigger_tests::{Client, Mesh};
use tonic::Code;

use crate::ECHO;

#[tokio::test]
async fn only_declared_upstreams_are_routes() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let answer = mesh.client("web").unary("nobody", ECHO, "").await;
            assert_eq!(answer.code(), Code::Unimplemented, "{}", answer.summary());
            assert_eq!(answer.reason(), "no_route");
            mesh.client("web")
                .unary("orders", ECHO, "")
                .await
                .expect_ok();
            mesh.client("web")
                .unary("orders:80", ECHO, "")
                .await
                .expect_ok();
        })
        .await;
}

#[tokio::test]
async fn an_upstreams_own_port_leads_to_it_whatever_the_authority() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let port = &mesh.client_sidecar("web").addresses.upstreams["orders"];
            let client = Client::new(Address::parse(port));
            let answer = client.unary(port, ECHO, "by port").await.expect_ok();
            assert_eq!(answer.text(), "by port");
        })
        .await;
}

#[tokio::test]
async fn a_service_without_an_instance_fails_fast() {
    Mesh::builder()
        .service(outrigger_tests::mesh::Service::new("orders").instances(0))
        .client("web")
        .run(async |mesh| {
            let begun = tokio::time::Instant::now();
            let answer = mesh.client("web").unary("orders", ECHO, "").await;
            assert_eq!(answer.code(), Code::Unavailable, "{}", answer.summary());
            assert_eq!(answer.reason(), "no_endpoint");
            assert!(
                begun.elapsed() < std::time::Duration::from_secs(6),
                "{:?}",
                begun.elapsed()
            );
        })
        .await;
}
