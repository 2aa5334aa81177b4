//! The brief's order.

use outrigger_tests::Shop;
use outrigger_tests::shop::order;
use serde_json::json;

#[tokio::test]
async fn it_is_confirmed_once_and_replayed_after_that() {
    let mut shop = Shop::start().await;
    let alice = shop.token("alice").await;
    let body = order("uuid-client-generated-key");

    let first = shop.order(&alice, &body).await.expect(201);
    assert_eq!(first.body["state"], "CONFIRMED", "{}", first.text);
    assert_eq!(first.body["orderNumber"], 1, "{}", first.text);
    assert_eq!(first.body["userId"], 1, "{}", first.text);
    assert_eq!(
        first.body["total"],
        json!({"currencyCode": "USD", "units": "24"})
    );
    assert_eq!(
        first.body["items"],
        json!([{"productId": "P-101", "quantity": 2, "unitPrice": {"currencyCode": "USD", "units": "12"}}])
    );
    assert_eq!(first.body["payment"]["transactionId"], "TX89123");
    assert_eq!(first.body["payment"]["last4"], "4242");
    assert!(!first.headers.contains_key("idempotent-replayed"));

    let again = shop.order(&alice, &body).await.expect(201);
    assert_eq!(again.body, first.body);
    assert_eq!(again.headers["idempotent-replayed"], "true");

    let id = first.body["orderId"].as_str().unwrap();
    let read = shop
        .get(&format!("/v1/orders/{id}"), &alice)
        .await
        .expect(200);
    assert_eq!(read.body["orderNumber"], 1);
    let bob = shop.token("bob").await;
    let hidden = shop
        .get(&format!("/v1/orders/{id}"), &bob)
        .await
        .expect(404);
    assert_eq!(hidden.reason(), "ORDER_NOT_FOUND");

    assert_eq!(shop.available("P-101", &alice).await, 998);
    let payments = shop.get("/v1/payments", &alice).await.expect(200);
    assert_eq!(
        payments.body["payments"].as_array().map(Vec::len),
        Some(1),
        "{}",
        payments.text
    );
    shop.stop().await;
}
