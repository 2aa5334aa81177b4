//! An instance that only fails is left alone, and asked again carefully.

use outrigger_tests::eventually::holds;
use outrigger_tests::{Mesh, eventually};
use tonic::Code;

use crate::ECHO;

#[tokio::test]
async fn seven_failures_in_a_row_open_it_and_a_success_closes_it() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let web = mesh.client("web");
            let upstream = mesh.upstream("orders");
            upstream.unavailable_next(1000);
            for call in 1..=7 {
                let answer = web.unary("orders", ECHO, "").await;
                assert_eq!(
                    answer.code(),
                    Code::Unavailable,
                    "call {call}: {}",
                    answer.summary()
                );
                assert_eq!(answer.reason(), "", "call {call} reaches the application");
            }
            let answer = web.unary("orders", ECHO, "").await;
            assert_eq!(answer.reason(), "breaker_open", "{}", answer.summary());
            assert_eq!(upstream.handled(), 7);
            let state = mesh
                .client_sidecar("web")
                .metric("outrigger_breaker_state", &["orders"])
                .await;
            assert_eq!(state, Some(1.0));

            upstream.unavailable_next(0);
            eventually("the probe closes it", async || {
                let answer = web.unary("orders", ECHO, "").await;
                holds(answer.code() == Code::Ok, answer.summary())
            })
            .await;
            let state = mesh
                .client_sidecar("web")
                .metric("outrigger_breaker_state", &["orders"])
                .await;
            assert_eq!(state, Some(0.0));
            web.unary("orders", ECHO, "").await.expect_ok();
        })
        .await;
}
