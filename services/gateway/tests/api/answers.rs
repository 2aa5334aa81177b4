//! What works: requests become the calls they mean, answers the JSON that is documented.

use http::HeaderMap;
use outrigger_proto::shop::auth::v1::Principal;
use outrigger_proto::shop::orders::v1::place_order_request::Item;
use prost::Message as _;
use serde_json::json;

use crate::gateway::Gateway;
use crate::mesh::{Act, GET_ORDER, GET_PRODUCT, PLACE_ORDER};
use crate::token::alice;

/// As the brief writes it.
pub(crate) const BRIEF: &str = r#"{
  "items": [{ "productId": "P-101", "quantity": 2, "price": 1200 }],
  "shippingAddressId": "ADDR-55",
  "paymentMethod": "card",
  "idempotencyKey": "uuid-client-generated-key"
}"#;

#[tokio::test]
async fn the_briefs_order_is_placed_in_alices_name() {
    let gateway = Gateway::start().await;
    let token = alice("orders:read orders:write");
    for path in ["/api/v1/orders", "/v1/orders"] {
        let reply = gateway.send("POST", path, Some(&token), BRIEF).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        assert_eq!(reply.header("content-type"), "application/json");
        let id = "0197b2c4-7d3e-7c11-9a52-1f0c8e4b6a10";
        assert_eq!(reply.header("location"), format!("/v1/orders/{id}"));
        let expected = json!({
            "orderId": id, "orderNumber": 1, "userId": 1,
            "total": {"currencyCode": "USD", "units": "24"},
        });
        assert_eq!(reply.json(), expected);
    }
    let order = &gateway.mesh.orders()[0];
    let item = Item {
        product_id: "P-101".to_owned(),
        quantity: 2,
        price: Some(1200),
    };
    assert_eq!(order.items, [item]);
    assert_eq!(order.idempotency_key, "uuid-client-generated-key");

    let call = &gateway.mesh.seen(PLACE_ORDER)[0];
    assert_eq!(call.authority, "orders");
    assert!(!call.headers.contains_key("authorization"));
    let principal = principal(&call.headers);
    assert_eq!(
        (principal.user_id, principal.session_id.as_str()),
        (1, "the session")
    );
    assert_eq!(principal.scopes, ["orders:read", "orders:write"]);
    assert_eq!(principal.token_id, "the token");
    gateway.stop().await;
}

fn principal(headers: &HeaderMap) -> Principal {
    use base64::Engine as _;
    let header = headers["x-outrigger-principal"].to_str().unwrap();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    Principal::decode(engine.decode(header).unwrap().as_slice()).unwrap()
}

#[tokio::test]
async fn a_service_chooses_between_its_statuses_and_says_what_is_a_repeat() {
    let gateway = Gateway::start().await;
    let token = alice("orders:write");
    for (chosen, status) in [("202", 202), ("200", 200), ("302", 201), ("x", 201)] {
        let act = Act::Add("x-outrigger-http-status", chosen);
        gateway.mesh.on(PLACE_ORDER, act);
        let reply = gateway.order(Some(&token), BRIEF).await;
        assert_eq!(reply.status, status, "{chosen}");
        assert!(!reply.headers.contains_key("x-outrigger-http-status"));
    }
    let replayed = Act::Add("idempotent-replayed", "true");
    gateway.mesh.on(PLACE_ORDER, replayed);
    let reply = gateway.order(Some(&token), BRIEF).await;
    assert_eq!(reply.header("idempotent-replayed"), "true");
    // What is not on the list stays inside.
    gateway.mesh.on(PLACE_ORDER, Act::Add("x-inner", "inner"));
    let reply = gateway.order(Some(&token), BRIEF).await;
    assert!(!reply.headers.contains_key("x-inner"));
    gateway.stop().await;
}

#[tokio::test]
async fn reading_routes_answer() {
    let gateway = Gateway::start().await;
    let token = alice("orders:read inventory:read");
    for (path, expected) in [
        ("/v1/products/P-101", json!({"productId": "P-101"})),
        ("/v1/products/a%2Fb%20c", json!({"productId": "a/b c"})),
        (
            "/v1/products:batchGet?product_ids=b&product_ids=a",
            json!({"products": [{"productId": "b"}, {"productId": "a"}]}),
        ),
        (
            // Zero values are printed where the contract says so.
            "/v1/stock/4521",
            json!({"sku": "4521", "onHand": 12, "reserved": 0, "available": 12}),
        ),
    ] {
        let reply = gateway.get(path, Some(&token)).await;
        assert_eq!((reply.status, reply.json()), (200, expected), "{path}");
    }
    let reply = gateway.get("/v1/orders/the%20one", Some(&token)).await;
    assert_eq!(reply.json()["orderId"], "the one");
    assert_eq!(gateway.mesh.seen(GET_ORDER)[0].authority, "orders");

    let reply = gateway.send("HEAD", "/v1/products/a", None, "").await;
    assert_eq!((reply.status, reply.text.as_str()), (200, ""));
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_is_made_and_keys_are_shown_without_a_token() {
    let gateway = Gateway::start().await;
    let body = r#"{"email": "alice@example.com", "password": "secret"}"#;
    for path in ["/v1/sessions", "/auth/login"] {
        let reply = gateway.send("POST", path, None, body).await;
        assert_eq!(reply.json()["accessToken"], "a token", "{reply:?}");
    }
    let reply = gateway.get("/.well-known/jwks.json", None).await;
    assert_eq!(reply.json()["keys"][0]["kty"], "EC", "{reply:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn the_inside_hears_listed_headers_and_no_others() {
    let gateway = Gateway::start().await;
    let sent = [
        ("idempotency-key", "k"),
        ("accept-language", "de"),
        ("x-request-id", "mine_1"),
        ("x-outrigger-principal", "CAE"),
        ("X-Outrigger-Peer", "spiffe://forged"),
        ("x_outrigger_principal", "CAE"),
        ("x-forwarded-for", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("grpc-metadata-x", "x"),
        ("cookie", "a=b"),
    ];
    let headers = sent.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let reply = gateway
        .raw("GET", "/v1/products/a", HeaderMap::from_iter(headers), "")
        .await;
    assert_eq!(reply.header("x-request-id"), "mine_1");
    let inside = &gateway.mesh.seen(GET_PRODUCT)[0].headers;
    for (name, value) in &sent[..3] {
        assert_eq!(inside[*name], *value);
    }
    for (name, _) in &sent[3..] {
        assert!(!inside.contains_key(*name), "{name}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_description_names_what_is_served() {
    let gateway = Gateway::start().await;
    let reply = gateway.get("/openapi.json", None).await;
    assert_eq!(reply.status, 200);
    let paths = &reply.json()["paths"];
    assert!(paths["/api/v1/orders"]["post"].is_object(), "{paths}");
    assert!(paths["/v1/payments/{payment_id}:refund"].is_null());

    let reply = gateway.send("POST", "/openapi.json", None, "{}").await;
    assert_eq!((reply.status, reply.header("allow")), (405, "GET, HEAD"));
    assert_eq!(reply.reason(), "METHOD_NOT_ALLOWED");
    gateway.stop().await;
}

#[tokio::test]
async fn methods_of_a_path_are_told_to_who_asks() {
    let gateway = Gateway::start().await;
    let reply = gateway.send("OPTIONS", "/v1/orders", None, "").await;
    assert_eq!(reply.status, 204);
    assert_eq!(reply.header("allow"), "GET, HEAD, POST");
    gateway.stop().await;
}
