//! gRPC bodies pass as they come, in both directions, and each message is bounded.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::{Http2, frame};
use crate::gateway::Gateway;
use crate::mesh::{Act, GET_PRODUCT};

type Sender = mpsc::Sender<Result<Bytes, std::io::Error>>;

fn open() -> (Sender, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Body::from_stream(ReceiverStream::new(receiver)))
}

#[tokio::test]
async fn ping_pong_works_before_either_side_has_ended() {
    let gateway = Gateway::start().await;
    gateway.mesh.on(GET_PRODUCT, Act::Echo);
    let mut http = Http2::connect(&gateway.socket()).await;
    let (sender, body) = open();
    let mut answer = http.call(GET_PRODUCT, &[], body).await.into_body();
    for round in 0..10 {
        let message = frame(format!("round {round}").as_bytes());
        sender.send(Ok(message.clone())).await.unwrap();
        let mut heard = Vec::new();
        while heard.len() < message.len() {
            let piece = answer.frame().await.unwrap().unwrap();
            heard.extend_from_slice(&piece.into_data().unwrap());
        }
        assert_eq!(heard, message);
    }
    drop(sender);
    let trailers = answer.collect().await.unwrap().trailers().cloned().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    gateway.stop().await;
}

/// A sender that nobody reads from stops: what is on its way is bounded by the windows.
#[tokio::test]
async fn a_slow_reader_slows_the_sender() {
    let gateway = Gateway::start().await;
    gateway.mesh.on(GET_PRODUCT, Act::Echo);
    let mut http = Http2::connect(&gateway.socket()).await;
    let (sender, body) = open();
    let answer = http.call(GET_PRODUCT, &[], body).await;
    let piece = frame(&[0; 64 * 1024]);
    let mut sent = 0;
    let pause = Duration::from_millis(500);
    while let Ok(sending) = tokio::time::timeout(pause, sender.send(Ok(piece.clone()))).await {
        sending.unwrap();
        sent += piece.len();
        assert!(sent < 64 * 1024 * 1024, "{sent} bytes and nobody reads");
    }
    // Somebody does: all of it arrives.
    drop(sender);
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes().len(), sent);
    gateway.stop().await;
}

#[tokio::test]
async fn a_message_has_a_largest_size_and_a_stream_has_none() {
    let gateway = Gateway::with([("SHOP_GATEWAY_MESSAGE_LIMIT", "1000")]).await;
    gateway.mesh.on(GET_PRODUCT, Act::Echo);
    let mut http = Http2::connect(&gateway.socket()).await;
    let many = [frame(&[1; 1000]), frame(&[2; 1000]), frame(&[3; 1000])].concat();
    let answer = http.call(GET_PRODUCT, &[], Body::from(many.clone())).await;
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), many);

    gateway.mesh.on(GET_PRODUCT, Act::Add("x-plain", "1"));
    let answer = http
        .call(GET_PRODUCT, &[], Body::from(frame(&[0; 1001])))
        .await;
    assert_eq!(answer.headers()["grpc-status"], "8", "{answer:?}");
    assert_eq!(gateway.hits("grpc_message").await, 1);
    gateway.stop().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_call_along() {
    let gateway = Gateway::start().await;
    gateway.mesh.on(GET_PRODUCT, Act::Hang);
    let mut http = Http2::connect(&gateway.socket()).await;
    let arrived = async |times| {
        while gateway.mesh.seen(GET_PRODUCT).len() < times {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = http.call(GET_PRODUCT, &[], Body::from(frame(&[]))) => panic!("answered"),
        () = arrived(1) => {}
    }
    tokio::select! {
        _ = gateway.get("/v1/products/a", None) => panic!("answered"),
        () = arrived(2) => {}
    }
    let abandoned = async {
        while gateway.mesh.abandoned() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), abandoned)
        .await
        .expect("both calls end at the service");
    gateway.stop().await;
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_nobody_answers() {
    let gateway = Gateway::start().await;
    gateway.mesh.on(GET_PRODUCT, Act::Hang);
    let mut http = Http2::connect(&gateway.socket()).await;
    let answer = http
        .call(
            GET_PRODUCT,
            &[("grpc-timeout", "50m")],
            Body::from(frame(&[])),
        )
        .await;
    assert_eq!(answer.headers()["grpc-status"], "4", "{answer:?}");
    gateway.stop().await;
}
