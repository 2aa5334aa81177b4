//! gRPC as its clients speak it: exposed methods only, checked as REST is, errors as gRPC tells them.

use axum::body::Body;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use outrigger_proto::grpc::health::v1::HealthCheckRequest;
use outrigger_proto::grpc::health::v1::health_check_response::ServingStatus;
use outrigger_proto::grpc::health::v1::health_client::HealthClient;
use outrigger_proto::shop::inventory::v1::CreateReservationRequest;
use outrigger_proto::shop::inventory::v1::reservation_service_client::ReservationServiceClient;
use outrigger_proto::shop::orders::v1::order_service_client::OrderServiceClient;
use outrigger_proto::shop::orders::v1::{GetOrderRequest, WatchOrderRequest};
use shop_chassis::Failure;
use shop_chassis::status::error_info;
use tonic::{Code, Request};

use crate::client::{Http2, frame};
use crate::gateway::Gateway;
use crate::mesh::{Act, GET_ORDER, GET_PRODUCT};
use crate::token::alice;

fn get(token: &str) -> Request<GetOrderRequest> {
    let order_id = "the one".to_owned();
    let mut request = Request::new(GetOrderRequest {
        order_id,
        as_of: None,
    });
    if !token.is_empty() {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

#[tokio::test]
async fn a_call_passes_in_the_users_name() {
    let gateway = Gateway::start().await;
    let mut client = OrderServiceClient::new(gateway.peer());
    let answer = client.get_order(get(&alice("orders:read"))).await.unwrap();
    assert_eq!(answer.get_ref().order_id, "the one");
    assert!(answer.metadata().contains_key("x-request-id"));
    let call = &gateway.mesh.seen(GET_ORDER)[0];
    assert_eq!(call.authority, "orders");
    assert!(call.headers.contains_key("x-outrigger-principal"));
    assert!(!call.headers.contains_key("authorization"));
    gateway.stop().await;
}

#[tokio::test]
async fn errors_are_statuses_with_their_details() {
    let gateway = Gateway::start().await;
    let mut client = OrderServiceClient::new(gateway.peer());
    for (token, code, reason) in [
        ("", Code::Unauthenticated, "TOKEN_MISSING"),
        ("nonsense", Code::Unauthenticated, "TOKEN_INVALID"),
        (
            &alice("orders:write"),
            Code::PermissionDenied,
            "SCOPE_MISSING",
        ),
    ] {
        let status = client.get_order(get(token)).await.unwrap_err();
        assert_eq!(status.code(), code);
        assert_eq!(error_info(&status).unwrap().reason, reason);
    }
    assert_eq!(gateway.mesh.seen(GET_ORDER).len(), 0);
    let failure = Failure::new(Code::NotFound, "ORDER_NOT_FOUND", "no such order");
    gateway.mesh.on(GET_ORDER, Act::Fail(failure.into()));
    let status = client
        .get_order(get(&alice("orders:read")))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(error_info(&status).unwrap().reason, "ORDER_NOT_FOUND");
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_not_exposed_is_not_there() {
    let gateway = Gateway::start().await;
    let mut inner = ReservationServiceClient::new(gateway.peer());
    let request = CreateReservationRequest::default();
    let status = inner.create_reservation(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let mut orders = OrderServiceClient::new(gateway.peer());
    let status = orders.watch_order(WatchOrderRequest::default()).await;
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
    let mut http = Http2::connect(&gateway.socket()).await;
    for path in [
        "/shop.orders.v1.OrderService/GetOrder/",
        "/shop.orders.v1.OrderService//GetOrder",
        "/shop.orders.v1.orderservice/GetOrder",
        "/v1/orders/a",
        "/",
    ] {
        let answer = http.call(path, &[], Body::from(frame(&[]))).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["grpc-status"], "12", "{path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn metadata_passes_by_the_list_in_both_directions() {
    let gateway = Gateway::start().await;
    gateway.mesh.on(GET_PRODUCT, Act::Echo);
    let mut http = Http2::connect(&gateway.socket()).await;
    let headers = [
        ("idempotency-key", "k"),
        ("x-outrigger-principal", "CAE"),
        ("x-outrigger-peer", "spiffe://forged"),
        ("x-custom", "x"),
        ("grpc-timeout", "2S"),
    ];
    let answer = http
        .call(GET_PRODUCT, &headers, Body::from(frame(b"message")))
        .await;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap();
    assert_eq!(body.to_bytes(), frame(b"message"));
    assert_eq!(trailers["grpc-status"], "0");
    let hidden = |headers: &HeaderMap| {
        ["x-outrigger-secret", "x-inner"]
            .iter()
            .all(|name| !headers.contains_key(*name))
    };
    assert!(hidden(&parts.headers), "{:?}", parts.headers);
    assert!(hidden(&trailers), "{trailers:?}");

    let inside = &gateway.mesh.seen(GET_PRODUCT)[0].headers;
    assert_eq!(inside["idempotency-key"], "k");
    for name in ["x-outrigger-principal", "x-outrigger-peer", "x-custom"] {
        assert!(!inside.contains_key(name), "{name}");
    }
    let told = inside["grpc-timeout"].to_str().unwrap();
    let told = shop_chassis::context::parse_timeout(told).unwrap();
    assert!(told.as_millis() <= 2000 && told.as_millis() > 1500);
    gateway.stop().await;
}

#[tokio::test]
async fn a_malformed_timeout_is_the_callers_fault() {
    let gateway = Gateway::start().await;
    let mut http = Http2::connect(&gateway.socket()).await;
    for bad in ["123456789m", "5", "S", "-1S"] {
        let answer = http
            .call(
                GET_PRODUCT,
                &[("grpc-timeout", bad)],
                Body::from(frame(&[])),
            )
            .await;
        assert_eq!(answer.headers()["grpc-status"], "3", "{bad}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn health_is_told_by_grpc_too() {
    let down = Failure::new(Code::Unavailable, "DATABASE_UNAVAILABLE", "down");
    let act = Act::Fail(down.into());
    let gateway = Gateway::without_keys([], |mesh| mesh.on(crate::mesh::GET_JWKS, act)).await;
    let mut client = HealthClient::new(gateway.peer());
    let request = HealthCheckRequest::default();
    let answer = client.check(request.clone()).await.unwrap();
    assert_eq!(answer.get_ref().status(), ServingStatus::NotServing);
    gateway
        .mesh
        .on(crate::mesh::GET_JWKS, Act::Add("x-again", "1"));
    gateway.becomes_ready().await;
    let answer = client.check(request).await.unwrap();
    assert_eq!(answer.get_ref().status(), ServingStatus::Serving);
    gateway.stop().await;
}
