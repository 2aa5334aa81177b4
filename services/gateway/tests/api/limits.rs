//! Every bound, exceeded by one.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::{Reply, http1};
use crate::gateway::Gateway;
use crate::mesh::{Act, GET_PRODUCT, PLACE_ORDER};
use crate::token::alice;

/// A JSON order of exactly this many bytes.
fn order(bytes: usize) -> String {
    let (before, behind) = (r#"{"paymentMethod":""#, r#""}"#);
    let filling = bytes - before.len() - behind.len();
    format!("{before}{}{behind}", "x".repeat(filling))
}

#[tokio::test]
async fn a_body_has_a_largest_size() {
    let gateway = Gateway::with([("SHOP_GATEWAY_BODY_LIMIT", "1000")]).await;
    let token = alice("orders:write");
    let reply = gateway.order(Some(&token), &order(1000)).await;
    assert_eq!(reply.status, 201);
    let reply = gateway.order(Some(&token), &order(1001)).await;
    assert_eq!(reply.status, 413, "{reply:?}");
    assert_eq!(reply.reason(), "MESSAGE_TOO_LARGE");
    assert_eq!(reply.json()["error"]["status"], "RESOURCE_EXHAUSTED");
    assert_eq!(gateway.mesh.orders().len(), 1);
    assert_eq!(gateway.hits("json_body").await, 1);
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_of_unknown_length_is_cut_at_the_limit() {
    let gateway = Gateway::with([("SHOP_GATEWAY_BODY_LIMIT", "1000")]).await;
    let pieces = tokio_stream::iter(0..100).map(|_| Ok::<_, std::io::Error>("x".repeat(100)));
    let reply = post(&gateway, Body::from_stream(pieces)).await;
    assert_eq!(
        (reply.status, reply.reason().as_str()),
        (413, "MESSAGE_TOO_LARGE")
    );
    assert_eq!(gateway.hits("json_body").await, 1);
    gateway.stop().await;
}

async fn post(gateway: &Gateway, body: Body) -> Reply {
    let token = format!("Bearer {}", alice("orders:write"));
    let mut headers = HeaderMap::new();
    headers.insert("authorization", token.parse().unwrap());
    headers.insert("content-type", "application/json".parse().unwrap());
    http1(&gateway.socket(), "POST", "/v1/orders", headers, body).await
}

#[tokio::test]
async fn a_body_arrives_within_its_time() {
    let gateway = Gateway::with([("SHOP_GATEWAY_BODY_TIMEOUT", "100ms")]).await;
    let (sender, receiver) = mpsc::channel(1);
    sender
        .send(Ok::<_, std::io::Error>(Bytes::from("{")))
        .await
        .unwrap();
    let reply = post(&gateway, Body::from_stream(ReceiverStream::new(receiver))).await;
    assert_eq!(
        (reply.status, reply.reason().as_str()),
        (408, "BODY_TOO_SLOW")
    );
    assert_eq!(reply.json()["error"]["status"], "DEADLINE_EXCEEDED");
    assert_eq!(gateway.hits("request_body").await, 1);
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_does_not_trickle() {
    let gateway = Gateway::with([
        ("SHOP_GATEWAY_BODY_GRACE", "50ms"),
        ("SHOP_GATEWAY_BODY_RATE", "1024"),
    ])
    .await;
    let trickle = tokio_stream::iter(0..).then(async |_| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, std::io::Error>(" ")
    });
    let reply = post(&gateway, Body::from_stream(trickle)).await;
    assert_eq!(
        (reply.status, reply.reason().as_str()),
        (408, "BODY_TOO_SLOW")
    );
    assert_eq!(gateway.hits("request_body").await, 1);
    gateway.stop().await;
}

#[tokio::test]
async fn a_query_and_an_address_have_a_largest_size() {
    let gateway = Gateway::with([
        ("SHOP_GATEWAY_QUERY_LIMIT", "3"),
        ("SHOP_GATEWAY_URI_LIMIT", "100"),
    ])
    .await;
    for (parameters, status) in [(3, 200), (4, 400)] {
        let query = vec!["productIds=a"; parameters].join("&");
        let path = format!("/v1/products:batchGet?{query}");
        let reply = gateway.get(&path, None).await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
    for (length, status) in [(100, 200), (101, 414)] {
        let path = format!("/v1/products/{}", "a".repeat(length - 13));
        let reply = gateway.get(&path, None).await;
        assert_eq!(reply.status, status, "{reply:?}");
        if status == 414 {
            assert_eq!(reply.reason(), "URI_TOO_LONG");
        }
    }
    assert_eq!(gateway.hits("query_parameters").await, 1);
    assert_eq!(gateway.hits("uri").await, 1);
    gateway.stop().await;
}

#[tokio::test]
async fn headers_have_a_largest_number_and_size() {
    let gateway = Gateway::with([
        ("SHOP_GATEWAY_HEADER_LIMIT", "1000"),
        ("SHOP_GATEWAY_HEADER_COUNT_LIMIT", "10"),
    ])
    .await;
    // With the client's own `host`, and 32 bytes more a header, as HTTP/2 counts.
    let host = "host".len() + "shop.example".len() + 32;
    for (length, status) in [(1000 - host, 200), (1001 - host, 431)] {
        let value = "a".repeat(length - 32 - 1);
        let headers = HeaderMap::from_iter([("x".parse().unwrap(), value.parse().unwrap())]);
        let reply = gateway.raw("GET", "/v1/products/a", headers, "").await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
    for (count, status) in [(9, 200), (10, 431)] {
        let headers = (0..count).map(|n| (format!("x-{n}").parse().unwrap(), "a".parse().unwrap()));
        let headers = HeaderMap::from_iter(headers);
        let reply = gateway.raw("GET", "/v1/products/a", headers, "").await;
        assert_eq!(reply.status, status, "{reply:?}");
        if status == 431 {
            assert_eq!(reply.reason(), "HEADERS_TOO_LARGE");
        }
    }
    assert_eq!(gateway.hits("header_list").await, 1);
    assert_eq!(gateway.hits("header_count").await, 1);
    gateway.stop().await;
}

#[tokio::test]
async fn an_answer_that_becomes_json_has_a_largest_size() {
    let gateway = Gateway::with([("SHOP_GATEWAY_RESPONSE_LIMIT", "1000")]).await;
    gateway.mesh.on(GET_PRODUCT, Act::Flood(1001));
    let reply = gateway.get("/v1/products/a", None).await;
    assert_eq!(reply.status, 500, "{reply:?}");
    assert_eq!(reply.json()["error"]["message"], "internal error");
    assert_eq!(gateway.hits("response").await, 1);
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_has_a_deadline_of_its_own_or_the_gateways() {
    let gateway = Gateway::with([
        ("SHOP_GATEWAY_TIMEOUT", "100ms"),
        ("SHOP_GATEWAY_LONGEST_TIMEOUT", "200ms"),
    ])
    .await;
    gateway.mesh.on(GET_PRODUCT, Act::Hang);
    for (name, stated, at_least, at_most) in [
        ("", "", 60, 100),
        ("x-request-timeout", "0.05s", 20, 50),
        ("grpc-timeout", "50m", 20, 50),
        ("x-request-timeout", "3000s", 120, 200),
    ] {
        let mut headers = HeaderMap::new();
        if !name.is_empty() {
            let name: http::HeaderName = name.parse().unwrap();
            headers.insert(name, stated.parse().unwrap());
        }
        let began = tokio::time::Instant::now();
        let reply = gateway.raw("GET", "/v1/products/a", headers, "").await;
        assert_eq!(reply.status, 504, "{reply:?}");
        assert_eq!(reply.json()["error"]["status"], "DEADLINE_EXCEEDED");
        assert!(began.elapsed() < Duration::from_secs(5), "{stated}");
        // The service hears of a little less, so that its answer still has a way to go.
        let call = gateway.mesh.seen(GET_PRODUCT).pop().unwrap();
        let told = call.headers["grpc-timeout"].to_str().unwrap();
        let told = shop_chassis::context::parse_timeout(told).unwrap();
        let bounds = Duration::from_millis(at_least)..Duration::from_millis(at_most);
        assert!(bounds.contains(&told), "{stated}: {told:?}");
    }
    for bad in ["1.5", "s", "-1s", "1e3s", "NaNs", "infs"] {
        let headers =
            HeaderMap::from_iter([("x-request-timeout".parse().unwrap(), bad.parse().unwrap())]);
        let reply = gateway.raw("GET", "/v1/products/a", headers, "").await;
        assert_eq!(reply.status, 400, "{bad}: {reply:?}");
    }
    assert_eq!(gateway.hits("route_timeout").await, 1);
    assert_eq!(gateway.hits("grpc_timeout_max").await, 1);
    gateway.stop().await;
}

#[tokio::test]
async fn the_gateways_own_time_is_within_its_longest() {
    let gateway = Gateway::with([("SHOP_GATEWAY_LONGEST_TIMEOUT", "100ms")]).await;
    gateway.mesh.on(GET_PRODUCT, Act::Hang);
    let reply = gateway.get("/v1/products/a", None).await;
    assert_eq!(reply.status, 504, "{reply:?}");
    let call = gateway.mesh.seen(GET_PRODUCT).pop().unwrap();
    let told = call.headers["grpc-timeout"].to_str().unwrap();
    let told = shop_chassis::context::parse_timeout(told).unwrap();
    assert!(told < Duration::from_millis(100), "{told:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn only_so_many_requests_of_a_method_are_in_flight() {
    let gateway = Gateway::with([("SHOP_GATEWAY_IN_FLIGHT_LIMIT", "1")]).await;
    gateway.mesh.on(GET_PRODUCT, Act::Hang);
    let first = gateway.get("/v1/products/a", None);
    let second = async {
        while gateway.mesh.seen(GET_PRODUCT).is_empty() {
            tokio::task::yield_now().await;
        }
        gateway.get("/v1/products/a", None).await
    };
    // Dropping the first ends its connection, and gives its place back.
    let reply = tokio::select! {
        reply = first => panic!("answered: {reply:?}"),
        reply = second => reply,
    };
    assert_eq!((reply.status, reply.reason().as_str()), (503, "OVERLOADED"));
    assert_eq!(reply.header("retry-after"), "1");
    let token = alice("orders:write");
    let reply = gateway.order(Some(&token), "{}").await;
    assert_eq!(reply.status, 201, "another method");
    assert_eq!(gateway.mesh.seen(PLACE_ORDER).len(), 1);

    gateway.mesh.on(GET_PRODUCT, Act::Add("etag", "\"1\""));
    let again = async {
        while gateway.get("/v1/products/a", None).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again)
        .await
        .expect("its place is free again");
    assert!(gateway.hits("in_flight").await >= 1);
    assert!((gateway.metric("outrigger_limit", "in_flight").await - 1.0).abs() < 1e-9);
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_has_a_largest_depth() {
    let gateway = Gateway::with([("SHOP_GATEWAY_JSON_DEPTH", "2")]).await;
    let token = alice("orders:write");
    // The object, its list, the list's object: three levels.
    let flat = r#"{"items": []}"#;
    let reply = gateway.order(Some(&token), flat).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let deep = r#"{"items": [{}]}"#;
    let reply = gateway.order(Some(&token), deep).await;
    assert_eq!(
        (reply.status, reply.reason().as_str()),
        (400, "JSON_INVALID")
    );
    assert_eq!(gateway.hits("json_depth").await, 1);
    gateway.stop().await;
}

/// Strangers reach the gateway's routes, and nothing about itself is among them.
#[tokio::test]
async fn metrics_are_told_on_a_socket_of_their_own() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.get("/metrics", None).await.status, 404);
    assert!((gateway.metric("outrigger_limit", "json_body").await - 1_048_576.0).abs() < 1e-9);
    assert!(
        gateway
            .metric("outrigger_limit_usage", "in_flight")
            .await
            .abs()
            < 1e-9
    );
    gateway.stop().await;
}
