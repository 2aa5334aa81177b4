//! Impatient clients: one key is one order.

use std::sync::Arc;

use outrigger_tests::Shop;
use outrigger_tests::database::Books;
use outrigger_tests::shop::order;
use tokio::task::JoinSet;

const CLIENTS: usize = 50;

#[tokio::test]
async fn fifty_parallel_requests_with_one_key_make_one_order_and_one_charge() {
    let shop = Arc::new(Shop::start().await);
    let alice = shop.token("alice").await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (shop, alice) = (shop.clone(), alice.clone());
        clients.spawn(async move { shop.order(&alice, &order("one key")).await });
    }
    let mut ids = std::collections::BTreeSet::new();
    let mut answered = 0;
    while let Some(reply) = clients.join_next().await {
        let reply = reply.unwrap();
        // Busy is an answer; a second order would not be.
        if reply.status == 409 {
            assert_eq!(reply.reason(), "IDEMPOTENCY_IN_PROGRESS", "{}", reply.text);
            continue;
        }
        assert!(
            matches!(reply.status, 201 | 202),
            "{} {}",
            reply.status,
            reply.text
        );
        ids.insert(reply.body["orderId"].as_str().unwrap().to_owned());
        answered += 1;
    }
    assert!(answered > 0);
    assert_eq!(ids.len(), 1, "{ids:?}");
    let again = shop.order(&alice, &order("one key")).await.expect(201);
    assert_eq!(again.body["state"], "CONFIRMED");
    let (inventory, payments) = (
        shop.database("inventory").await,
        shop.database("payments").await,
    );
    let books = Books::read(&inventory, &payments).await;
    assert_eq!(
        (books.captured, books.amount, books.reserved, books.balance),
        (1, 2400, 2, 0)
    );
    let orders = shop.database("orders").await;
    assert_eq!(orders.number("SELECT COUNT(*) FROM order_views").await, 1);
    Arc::into_inner(shop).unwrap().stop().await;
}
