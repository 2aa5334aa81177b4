//! What is refused gets its documented error, and neither stock nor money moves.

use outrigger_tests::Shop;
use outrigger_tests::database::Books;
use outrigger_tests::shop::{Reply, order};
use serde_json::{Value, json};

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = order(&uuid::Uuid::new_v4().to_string());
    change(&mut body);
    body
}

#[tokio::test]
async fn every_refusal_has_its_error_and_changes_nothing() {
    let mut shop = Shop::start().await;
    let alice = shop.token("alice").await;
    shop.order(&alice, &order("the one that is fine"))
        .await
        .expect(201);
    let (inventory, payments) = (
        shop.database("inventory").await,
        shop.database("payments").await,
    );
    let before = Books::read(&inventory, &payments).await;
    assert_eq!(
        (before.captured, before.amount, before.balance),
        (1, 2400, 0)
    );

    // (what, token, body, status, reason)
    let forged = forge(&alice);
    let fine = || order(&uuid::Uuid::new_v4().to_string()).to_string();
    let refusals: Vec<(&str, Option<&str>, String, u16, &str)> = vec![
        ("no token", None, fine(), 401, "TOKEN_MISSING"),
        (
            "a word for a token",
            Some("nonsense"),
            fine(),
            401,
            "TOKEN_INVALID",
        ),
        (
            "a changed token",
            Some(&forged),
            fine(),
            401,
            "TOKEN_INVALID",
        ),
        (
            "a declined card",
            Some(&alice),
            changed(|body| body["paymentMethod"] = json!("pm_declined")).to_string(),
            400,
            "CARD_DECLINED",
        ),
        (
            "too little money",
            Some(&alice),
            changed(|body| body["paymentMethod"] = json!("pm_insufficient_funds")).to_string(),
            400,
            "INSUFFICIENT_FUNDS",
        ),
        (
            "a capture that fails",
            Some(&alice),
            changed(|body| body["paymentMethod"] = json!("pm_capture_fails")).to_string(),
            400,
            "CAPTURE_FAILED",
        ),
        (
            "an unknown product",
            Some(&alice),
            changed(|body| body["items"][0]["productId"] = json!("P-999")).to_string(),
            400,
            "PRODUCT_NOT_FOUND",
        ),
        (
            "a changed price",
            Some(&alice),
            changed(|body| body["items"][0]["price"] = json!(1100)).to_string(),
            400,
            "PRICE_CHANGED",
        ),
        (
            "more than there is",
            Some(&alice),
            changed(|body| body["items"][0] = json!({"productId": "4521", "quantity": 13}))
                .to_string(),
            400,
            "OUT_OF_STOCK",
        ),
        (
            "a negative quantity",
            Some(&alice),
            changed(|body| body["items"][0]["quantity"] = json!(-1)).to_string(),
            400,
            "FIELD_INVALID",
        ),
        (
            "malformed JSON",
            Some(&alice),
            "{\"items\": [".to_owned(),
            400,
            "",
        ),
        (
            "an unknown field",
            Some(&alice),
            changed(|body| body["colour"] = json!("red")).to_string(),
            400,
            "",
        ),
        (
            "a missing key",
            Some(&alice),
            changed(|body| {
                body.as_object_mut().unwrap().remove("idempotencyKey");
            })
            .to_string(),
            400,
            "IDEMPOTENCY_KEY_REQUIRED",
        ),
        (
            "a key with another request",
            Some(&alice),
            changed(|body| {
                body["idempotencyKey"] = json!("the one that is fine");
                body["items"][0]["quantity"] = json!(3);
            })
            .to_string(),
            422,
            "IDEMPOTENCY_KEY_REUSED",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, token, body, status, reason) in refusals {
        let reply: Reply = shop
            .request("POST", "/api/v1/orders", token, Some(body))
            .await;
        let as_documented =
            reply.status == status && (reason.is_empty() || reply.reason() == reason);
        if !as_documented {
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
    let captured = listed.body["payments"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|payment| payment["state"] == "CAPTURED")
        .count();
    assert_eq!(captured, 1, "{}", listed.text);
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
