//! A deadline shrinks from hop to hop, ends a call everywhere, and is never misread as "for ever".

use std::time::Duration;

use outrigger_tests::Mesh;
use outrigger_tests::client::Call;
use tokio::time::Instant;
use tonic::Code;

use crate::ECHO;

#[tokio::test]
async fn it_ends_a_call_that_hangs() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let upstream = mesh.upstream("orders");
            mesh.client("web")
                .unary("orders", ECHO, "")
                .await
                .expect_ok();
            upstream.hang();
            let begun = Instant::now();
            let call = Call::new("orders", ECHO).header("grpc-timeout", "300m");
            let answer = mesh.client("web").call(call).await;
            let took = begun.elapsed();
            assert_eq!(
                answer.code(),
                Code::DeadlineExceeded,
                "{}",
                answer.summary()
            );
            assert_eq!(answer.reason(), "deadline_exceeded");
            assert!(took >= Duration::from_millis(300), "{took:?}");
            assert!(took < Duration::from_millis(600), "{took:?}");
            upstream.resume();
        })
        .await;
}

#[tokio::test]
async fn what_is_left_arrives_and_is_less_than_what_was_sent() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let call = Call::new("orders", ECHO).header("grpc-timeout", "5S");
            mesh.client("web").call(call).await.expect_ok();
            let request = mesh.upstream("orders").requests().pop().unwrap();
            let left = request.headers["grpc-timeout"].to_str().unwrap();
            let micros: u64 = left.strip_suffix('u').expect(left).parse().unwrap();
            assert!((3_000_000..5_000_000).contains(&micros), "{left}");
        })
        .await;
}

#[tokio::test]
async fn a_malformed_one_is_refused() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            for value in [
                "",
                "5",
                "S",
                "5s",
                "-1S",
                "1.5S",
                "123456789S",
                "5 S",
                "S5",
                "5SS",
                "0x5S",
            ] {
                let call = Call::new("orders", ECHO).header("grpc-timeout", value);
                let answer = mesh.client("web").call(call).await;
                assert_eq!(
                    answer.code(),
                    Code::Internal,
                    "{value:?}: {}",
                    answer.summary()
                );
                assert_eq!(answer.reason(), "malformed", "{value:?}");
            }
            assert_eq!(mesh.upstream("orders").handled(), 0);
        })
        .await;
}
