//! What may be repeated follows from the contract and from what the peer can have done, never from hope.

use outrigger_tests::Mesh;
use outrigger_tests::mesh::Service;
use tonic::Code;

use crate::ECHO;

/// `IDEMPOTENCY_UNKNOWN`.
const CREATE_SESSION: &str = "/shop.identity.v1.SessionService/CreateSession";
/// `NO_SIDE_EFFECTS`.
const GET_PRODUCT: &str = "/shop.catalog.v1.ProductService/GetProduct";

fn handled(mesh: &Mesh, service: &str) -> u64 {
    mesh.upstreams(service)
        .iter()
        .map(|upstream| upstream.handled())
        .sum()
}

#[tokio::test]
async fn a_refused_call_is_repeated_whatever_it_is() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            for _ in 0..20 {
                mesh.upstream("orders").refuse_next(1);
                let client = mesh.client("web");
                client.unary("orders", ECHO, "a").await.expect_ok();
            }
            assert_eq!(handled(mesh, "orders"), 20);
            let asked = mesh.upstream("orders").requests().len();
            assert_eq!(asked, 40, "each call was refused once");
        })
        .await;
}

#[tokio::test]
async fn a_method_of_unknown_effect_runs_once_even_if_its_server_dies() {
    Mesh::builder()
        .service(Service::new("identity").instances(2).contract("identity"))
        .client("gateway")
        .run(async |mesh| {
            // Whichever is called first dies, and after it perhaps the other.
            for upstream in mesh.upstreams("identity") {
                upstream.die_next(1);
            }
            let mut failures = Vec::new();
            for _ in 0..20 {
                let answer = mesh
                    .client("gateway")
                    .unary("identity", CREATE_SESSION, "a")
                    .await;
                if answer.code() != Code::Ok {
                    failures.push(answer);
                }
            }
            assert_eq!(handled(mesh, "identity"), 20, "each call ran once");
            assert!(matches!(failures.len(), 1 | 2), "{failures:?}");
            for failure in failures {
                assert_eq!(failure.code(), Code::Unavailable, "{}", failure.summary());
                assert_eq!(failure.reason(), "connection_lost");
            }
        })
        .await;
}

#[tokio::test]
async fn a_method_without_side_effects_is_repeated_when_its_server_dies() {
    Mesh::builder()
        .service(Service::new("catalog").contract("catalog"))
        .client("gateway")
        .run(async |mesh| {
            mesh.upstream("catalog").die_next(1);
            for _ in 0..20 {
                mesh.client("gateway")
                    .unary("catalog", GET_PRODUCT, "a")
                    .await
                    .expect_ok();
            }
            assert_eq!(handled(mesh, "catalog"), 21, "one call ran twice");
        })
        .await;
}

#[tokio::test]
async fn an_applications_unavailable_is_repeated_by_contract_only() {
    Mesh::builder()
        .service(Service::new("identity").contract("identity"))
        .service(Service::new("catalog").contract("catalog"))
        .client("gateway")
        .run(async |mesh| {
            let gateway = mesh.client("gateway");
            mesh.upstream("catalog").unavailable_next(1);
            gateway.unary("catalog", GET_PRODUCT, "a").await.expect_ok();
            assert_eq!(mesh.upstream("catalog").handled(), 2);

            mesh.upstream("identity").unavailable_next(1);
            let answer = gateway.unary("identity", CREATE_SESSION, "a").await;
            assert_eq!(answer.code(), Code::Unavailable, "{}", answer.summary());
            assert_eq!(answer.reason(), "", "the application's own answer");
            assert_eq!(mesh.upstream("identity").handled(), 1);
        })
        .await;
}

#[tokio::test]
async fn a_second_failure_is_the_callers_to_see() {
    Mesh::builder()
        .service(Service::new("catalog").contract("catalog"))
        .client("gateway")
        .run(async |mesh| {
            mesh.upstream("catalog").unavailable_next(10);
            let answer = mesh
                .client("gateway")
                .unary("catalog", GET_PRODUCT, "a")
                .await;
            assert_eq!(answer.code(), Code::Unavailable, "{}", answer.summary());
            assert_eq!(mesh.upstream("catalog").handled(), 2);
        })
        .await;
}
