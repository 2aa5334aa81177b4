//! Who may speak to whom: certificates, intentions, and headers that only the mesh may set.

use outrigger_tests::client::Call;
use outrigger_tests::mesh::Service;
use outrigger_tests::{Mesh, eventually, tls};
use serde_json::json;
use tonic::Code;

use crate::ECHO;

#[tokio::test]
async fn a_peer_without_a_certificate_the_mesh_signed_reaches_nothing() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let inbound = mesh.sidecar("orders").addresses.inbound.clone().unwrap();
            let web = "spiffe://outrigger.local/ns/default/dc/dc1/svc/web";
            let cases = [
                ("none", None),
                ("of another authority", Some(tls::self_signed(web))),
            ];
            for (what, identity) in cases {
                let answer = tls::call(&inbound, identity).await;
                assert!(answer.is_err(), "certificate {what}: {answer:?}");
            }
            assert_eq!(mesh.upstream("orders").handled(), 0);
            mesh.client("web")
                .unary("orders", ECHO, "a")
                .await
                .expect_ok();
            let failures = mesh
                .sidecar("orders")
                .metric("outrigger_handshake_failures_total", &[])
                .await;
            assert_eq!(failures, Some(2.0));
        })
        .await;
}

#[tokio::test]
async fn plain_text_at_the_inbound_port_gets_no_http_byte() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let inbound = mesh.sidecar("orders").addresses.inbound.clone().unwrap();
            let requests: [&[u8]; 2] = [
                b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            ];
            for request in requests {
                let answer = tls::plain_text(&inbound, request).await;
                // Nothing, or a TLS alert record.
                assert!(matches!(answer.first(), None | Some(0x15)), "{answer:?}");
            }
        })
        .await;
}

#[tokio::test]
async fn a_server_with_another_services_leaf_gets_no_call() {
    Mesh::builder()
        .service(Service::new("orders").instances(0))
        .service("payments")
        .client("web")
        .run(async |mesh| {
            let inbound = mesh.sidecar("payments").addresses.inbound.clone().unwrap();
            let (address, port) = inbound.rsplit_once(':').unwrap();
            // The registry is told that payments' port is where orders is.
            let registered = mesh
                .registry
                .put(
                    "/v1/agent/service/register",
                    json!({
                        "Kind": "connect-proxy", "ID": "orders-stray-sidecar-proxy", "Name": "orders-sidecar-proxy",
                        "Address": address, "Port": port.parse::<u16>().unwrap(),
                        "Proxy": {"DestinationServiceName": "orders", "DestinationServiceID": "orders-stray"},
                    }),
                )
                .await;
            registered.unwrap();
            let failures = eventually("a handshake is refused", async || {
                let answer = mesh.client("web").unary("orders", ECHO, "a").await;
                assert_eq!(answer.code(), Code::Unavailable, "{}", answer.summary());
                mesh.client_sidecar("web")
                    .metric("outrigger_handshake_failures_total", &["side=\"outbound\"", "cause=\"identity\""])
                    .await
                    .filter(|failures| *failures > 0.0)
                    .ok_or_else(|| answer.summary())
            })
            .await;
            assert!(failures > 0.0);
            let answer = mesh.client("web").unary("orders", ECHO, "a").await;
            assert_eq!(answer.reason(), "handshake", "{}", answer.summary());
            assert_eq!(mesh.upstream("payments").handled(), 0);
        })
        .await;
}

#[tokio::test]
async fn a_caller_without_an_intention_is_denied() {
    Mesh::builder()
        .service("payments")
        .client("orders")
        .client("catalog")
        .deny("catalog", "payments")
        .run(async |mesh| {
            let answer = mesh.client("catalog").unary("payments", ECHO, "a").await;
            assert_eq!(
                answer.code(),
                Code::PermissionDenied,
                "{}",
                answer.summary()
            );
            assert_eq!(answer.reason(), "denied");
            assert_eq!(mesh.upstream("payments").handled(), 0);
            mesh.client("orders")
                .unary("payments", ECHO, "a")
                .await
                .expect_ok();
        })
        .await;
}

#[tokio::test]
async fn forged_internal_headers_never_arrive() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let forged = [
                "x-outrigger-peer",
                "x-outrigger-principal",
                "x-outrigger-client-addr",
                "x-outrigger-attempt",
                "x-outrigger-mirror",
                "x-outrigger-reason",
                "x-outrigger-anything",
                "x_outrigger_peer",
            ];
            let mut call = Call::new("orders", ECHO);
            for name in forged {
                call = call.header(name, "forged");
            }
            mesh.client("web").call(call).await.expect_ok();
            let requests = mesh.upstream("orders").requests();
            let [request] = requests.as_slice() else {
                panic!("one request: {requests:?}")
            };
            for (name, value) in &request.headers {
                assert!(
                    !value.as_bytes().windows(6).any(|part| part == b"forged"),
                    "{name}"
                );
            }
            let peer = request.headers["x-outrigger-peer"].to_str().unwrap();
            assert!(peer.starts_with("spiffe://"), "{peer}");
            assert!(peer.ends_with("/ns/default/dc/dc1/svc/web"), "{peer}");
        })
        .await;
}
