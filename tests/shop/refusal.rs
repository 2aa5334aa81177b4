//! What is refused gets its documented error, and neither stock nor money moves.

use outrigger_tests::Shop;
use outrigger_tests::database::Books;
use outrigger_tests::shop::order;
use serde_json::{Value, json};

/// The key of the order that is fine, and that stays the only one.
const FINE: &str = "the one that is fine";

/// What is wrong, how the brief's order is changed for it, status and reason.
type Case = (&'static str, fn(&mut Value), u16, &'static str);

const CASES: [Case; 10] = [
    (
        "a declined card",
        |body| body["paymentMethod"] = json!("pm_declined"),
        400,
        "CARD_DECLINED",
    ),
    (
        "too little money",
        |body| body["paymentMethod"] = json!("pm_insufficient_funds"),
        400,
        "INSUFFICIENT_FUNDS",
    ),
    (
        "a capture that fails",
        |body| body["paymentMethod"] = json!("pm_capture_fails"),
        400,
        "CAPTURE_FAILED",
    ),
    (
        "an unknown product",
        |body| body["items"][0]["productId"] = json!("P-999"),
        400,
        "PRODUCT_NOT_FOUND",
    ),
    (
        "a changed price",
        |body| body["items"][0]["price"] = json!(1100),
        400,
        "PRICE_CHANGED",
    ),
    (
        "more than there is",
        |body| body["items"][0] = json!({"productId": "4521", "quantity": 13}),
        400,
        "OUT_OF_STOCK",
    ),
    (
        "a negative quantity",
        |body| body["items"][0]["quantity"] = json!(-1),
        400,
        "FIELD_INVALID",
    ),
    (
        "an unknown field",
        |body| body["colour"] = json!("red"),
        400,
        "",
    ),
    (
        "a missing key",
        |body| {
            body.as_object_mut()
                .and_then(|fields| fields.remove("idempotencyKey"));
        },
        400,
        "IDEMPOTENCY_KEY_REQUIRED",
    ),
    (
        "a key with another request",
        |body| {
            body["idempotencyKey"] = json!(FINE);
            body["items"][0]["quantity"] = json!(3);
        },
        422,
        "IDEMPOTENCY_KEY_REUSED",
    ),
];

fn fresh() -> Value {
    order(&uuid::Uuid::new_v4().to_string())
}

#[tokio::test]
async fn every_refusal_has_its_error_and_changes_nothing() {
    let mut shop = Shop::start().await;
    let alice = shop.token("alice").await;
    shop.order(&alice, &order(FINE)).await.expect(201);
    let inventory = shop.database("inventory").await;
    let payments = shop.database("payments").await;
    let before = Books::read(&inventory, &payments).await;
    assert_eq!(
        (before.captured, before.amount, before.balance),
        (1, 2400, 0)
    );

    let forged = forge(&alice);
    let mut requests = vec![
        ("no token", None, fresh().to_string(), 401, "TOKEN_MISSING"),
        (
            "a word for a token",
            Some("nonsense"),
            fresh().to_string(),
            401,
            "TOKEN_INVALID",
        ),
        (
            "a changed token",
            Some(forged.as_str()),
            fresh().to_string(),
            401,
            "TOKEN_INVALID",
        ),
        (
            "malformed JSON",
            Some(alice.as_str()),
            "{\"items\": [".to_owned(),
            400,
            "",
        ),
    ];
    for (what, change, status, reason) in CASES {
        let mut body = fresh();
        change(&mut body);
        requests.push((what, Some(alice.as_str()), body.to_string(), status, reason));
    }
    let mut wrong = Vec::new();
    for (what, token, body, status, reason) in requests {
        let reply = shop
            .request("POST", "/api/v1/orders", token, Some(body))
            .await;
        if reply.status != status || (!reason.is_empty() && reply.reason() != reason) {
            wrong.push(format!(
                "{what}: expected {status} {reason}, got {} {}",
                reply.status, reply.text
            ));
        }
        let after = Books::read(&inventory, &payments).await;
        if after != before {
            wrong.push(format!(
                "{what} changed the books: {after:?} from {before:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(shop.available("P-101", &alice).await, 998);
    let listed = shop.get("/v1/payments", &alice).await.expect(200);
    let listed = listed.body["payments"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let captured = listed
        .iter()
        .filter(|payment| payment["state"] == "CAPTURED")
        .count();
    assert_eq!(captured, 1, "{listed:?}");
    shop.stop().await;
}

/// The same token with one letter of its signature changed.
fn forge(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!(
        "{signed}.{first}{}",
        signature.chars().skip(1).collect::<String>()
    )
}
