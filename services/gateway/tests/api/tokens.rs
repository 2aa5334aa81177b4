//! Who may pass: tokens, scopes, and the key set behind them.

use http::HeaderMap;
use serde_json::{Value, json};
use shop_chassis::Failure;
use tonic::Code;

use crate::answers::BRIEF;
use crate::client::Reply;
use crate::gateway::Gateway;
use crate::mesh::{Act, GET_JWKS, GET_PRODUCT, PLACE_ORDER};
use crate::token::{alice, claims, head, sign};

#[track_caller]
fn refused(reply: &Reply, reason: &str, challenge: &str) {
    assert_eq!(
        (reply.status, reply.reason().as_str()),
        (401, reason),
        "{reply:?}"
    );
    assert_eq!(reply.json()["error"]["status"], "UNAUTHENTICATED");
    assert_eq!(reply.header("www-authenticate"), challenge);
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

#[tokio::test]
async fn without_a_good_token_nothing_is_done() {
    let gateway = Gateway::start().await;
    let reply = gateway.order(None, BRIEF).await;
    refused(&reply, "TOKEN_MISSING", "Bearer");

    let good = || claims("orders:write");
    let now = good()["iat"].as_i64().unwrap();
    let token = alice("orders:write");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (first, rest) = signature.split_at(1);
    let other = if first == "A" { "B" } else { "A" };
    let bad = [
        "nonsense".to_owned(),
        "a.b.c".to_owned(),
        format!("{signed}."),
        format!("{signed}.{other}{rest}"),
        format!("{token}.x"),
        sign(&with(head(), "alg", json!("none")), &good()),
        sign(&with(head(), "alg", json!("HS256")), &good()),
        sign(&with(head(), "kid", json!("../one")), &good()),
        sign(&with(head(), "jwk", json!({})), &good()),
        sign(&head(), &with(good(), "exp", json!(now - 31))),
        sign(&head(), &with(good(), "exp", json!(now + 3600))),
        sign(&head(), &with(good(), "iss", json!("https://elsewhere"))),
        sign(&head(), &with(good(), "aud", json!(["others"]))),
        sign(&head(), &with(good(), "scope", json!(["orders:write"]))),
        "a".repeat(9000),
    ];
    let mut bodies = std::collections::BTreeSet::new();
    for token in &bad {
        let reply = gateway.order(Some(token), BRIEF).await;
        refused(&reply, "TOKEN_INVALID", "Bearer error=\"invalid_token\"");
        let mut body = reply.json();
        body["error"]["details"][1] = Value::Null;
        bodies.insert(body.to_string());
        // Not anonymous instead, where no token is needed.
        let reply = gateway.get("/v1/products/a", Some(token)).await;
        refused(&reply, "TOKEN_INVALID", "Bearer error=\"invalid_token\"");
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(gateway.mesh.seen(PLACE_ORDER).len(), 0);
    assert_eq!(gateway.mesh.seen(GET_PRODUCT).len(), 0);
    // Unknown keys do not make the gateway ask identity again and again.
    assert_eq!(gateway.mesh.seen(GET_JWKS).len(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn the_header_is_one_bearer_token() {
    let gateway = Gateway::start().await;
    let token = alice("");
    for (values, status) in [
        (vec![format!("Bearer {token}")], 200),
        (vec![format!("bearer {token}")], 200),
        (vec![format!("Bearer  {token}")], 401),
        (vec![format!("Basic {token}")], 401),
        (vec![token.clone()], 401),
        (
            vec![format!("Bearer {token}"), format!("Bearer {token}")],
            401,
        ),
    ] {
        let mut headers = HeaderMap::new();
        for value in &values {
            headers.append("authorization", value.parse().unwrap());
        }
        let reply = gateway.raw("GET", "/v1/products/a", headers, "").await;
        assert_eq!(reply.status, status, "{values:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_scope_goes_before_everything_in_the_body() {
    let gateway = Gateway::start().await;
    let token = alice("orders:read");
    for body in [BRIEF, "{", r#"{"colour": "red"}"#] {
        let reply = gateway.order(Some(&token), body).await;
        assert_eq!(reply.status, 403, "{reply:?}");
        assert_eq!(reply.reason(), "SCOPE_MISSING");
        assert_eq!(
            reply.detail("ErrorInfo")["metadata"]["scope"],
            "orders:write"
        );
    }
    assert_eq!(gateway.mesh.seen(PLACE_ORDER).len(), 0);
    gateway.stop().await;
}

#[tokio::test]
async fn without_keys_protected_routes_wait_and_public_ones_work() {
    let down = Failure::new(Code::Unavailable, "DATABASE_UNAVAILABLE", "down");
    let gateway = Gateway::without_keys([], |mesh| {
        mesh.on(GET_JWKS, Act::Fail(down.into()));
    })
    .await;
    let reply = gateway.get("/v1/products/a", None).await;
    assert_eq!(reply.status, 200);
    let reply = gateway.order(Some(&alice("orders:write")), BRIEF).await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.reason(), "AUTH_KEYS_UNAVAILABLE");
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!(gateway.health().await, 503);
    // It goes on asking.
    gateway.mesh.on(GET_JWKS, Act::Add("x-again", "1"));
    gateway.becomes_ready().await;
    let reply = gateway.order(Some(&alice("orders:write")), BRIEF).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn keys_are_read_again_and_an_outage_of_identity_is_not_noticed() {
    let gateway = Gateway::with([("SHOP_GATEWAY_KEY_SET_TTL", "20ms")]).await;
    let asked = async |times: usize| {
        while gateway.mesh.seen(GET_JWKS).len() < times {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let limit = std::time::Duration::from_secs(10);
    tokio::time::timeout(limit, asked(3)).await.unwrap();
    let down = Failure::new(Code::Unavailable, "DATABASE_UNAVAILABLE", "down");
    gateway.mesh.on(GET_JWKS, Act::Fail(down.into()));
    tokio::time::timeout(limit, asked(6)).await.unwrap();
    let reply = gateway.order(Some(&alice("orders:write")), BRIEF).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    gateway.stop().await;
}
