//! What an application says is what its caller hears.

use bytes::Bytes;
use outrigger_tests::Mesh;
use outrigger_tests::client::Call;
use tonic::Code;

use crate::ECHO;

#[tokio::test]
async fn the_four_kinds_of_call_pass() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let web = mesh.client("web");
            let unary = web.unary("orders", ECHO, "one").await.expect_ok();
            assert_eq!(unary.text(), "one");

            let mut upload = Call::new("orders", "/test.Echo/Upload");
            upload.messages = vec![Bytes::from(vec![1; 100_000]); 5];
            assert_eq!(web.call(upload).await.expect_ok().text(), "500000");

            let download = web
                .unary("orders", "/test.Echo/Download", "200000")
                .await
                .expect_ok();
            let sizes: Vec<_> = download.messages.iter().map(Bytes::len).collect();
            assert_eq!(sizes, [65536, 65536, 65536, 3392]);

            let nothing = web
                .unary("orders", "/test.Echo/Download", "0")
                .await
                .expect_ok();
            assert_eq!(nothing.messages.len(), 0);

            let mut both = Call::new("orders", "/test.Echo/Bidi");
            both.messages = vec![Bytes::from_static(b"x"); 10];
            assert_eq!(web.call(both).await.expect_ok().messages.len(), 10);
        })
        .await;
}

#[tokio::test]
async fn every_code_arrives_unchanged_in_trailers_and_in_trailers_only() {
    Mesh::builder()
        .service("orders")
        .client("web")
        // Failures without end would open the breaker of the only instance, which is another test's claim.
        .run(async |mesh| {
            let web = mesh.client("web");
            for shape in ["trailers-only", "trailers"] {
                for code in 0..=16 {
                    let call = Call::new("orders", "/test.Echo/Fail")
                        .header("x-test-code", &code.to_string())
                        .header("x-test-shape", shape);
                    let answer = web.call(call).await;
                    assert_eq!(answer.http, 200, "{shape} {code}");
                    assert_eq!(
                        answer.code(),
                        Code::from_i32(code),
                        "{shape}: {}",
                        answer.summary()
                    );
                    assert_eq!(
                        answer.trailers.is_none(),
                        shape == "trailers-only",
                        "{shape} {code}"
                    );
                    let message = format!("code%20{code}%3A%20h%C3%A9");
                    assert_eq!(
                        answer.field("grpc-message"),
                        Some(message.as_str()),
                        "{shape}"
                    );
                    assert_eq!(answer.reason(), "", "{shape} {code}");
                    // A success between two failures keeps the breaker closed.
                    web.unary("orders", ECHO, "").await.expect_ok();
                }
            }
        })
        .await;
}

#[tokio::test]
async fn an_answer_without_a_status_is_a_failure() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let answer = mesh
                .client("web")
                .unary("orders", "/test.Echo/NoTrailers", "")
                .await;
            assert_eq!(answer.code(), Code::Unknown, "{}", answer.summary());
            assert_eq!(answer.reason(), "missing_trailers");
        })
        .await;
}

#[tokio::test]
async fn metadata_arrives_in_order_and_unchanged() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let call = Call::new("orders", ECHO)
                .header("x-test-echo", "there and back")
                .header("x-many", "1")
                .header("x-many", "2")
                .header("x-many", "1")
                .header("data-bin", "AAECAw==")
                .header("data-bin", "/w")
                .header("authorization", "Bearer abc")
                .header("user-agent", "grpc-test/1");
            let answer = mesh.client("web").call(call.clone()).await.expect_ok();
            assert_eq!(answer.field("x-test-echo"), Some("there and back"));
            assert_eq!(answer.headers["x-upstream"], "orders-v1-0");
            let request = mesh.upstream("orders").requests().pop().unwrap();
            for name in call.headers.keys() {
                let sent: Vec<_> = call.headers.get_all(name).iter().collect();
                let arrived: Vec<_> = request.headers.get_all(name).iter().collect();
                assert_eq!(arrived, sent, "{name}");
            }
            assert_eq!(request.headers["te"], "trailers");
            assert!(request.headers.contains_key("traceparent"));
        })
        .await;
}
