//! `orders` dies in the middle of an order: after its restart nothing is half done.

use std::time::Duration;

use outrigger_tests::database::Books;
use outrigger_tests::eventually::holds;
use outrigger_tests::shop::order;
use outrigger_tests::{Shop, eventually, process, within};
use rustix::process::Signal;
use serde_json::json;
use std::sync::Arc;
use tokio::task::JoinSet;

#[tokio::test]
async fn what_a_killed_orders_left_is_undone_and_the_key_stays_usable() {
    let shop = Arc::new(Shop::start().await);
    let alice = shop.token("alice").await;
    let (inventory, payments) = (
        shop.database("inventory").await,
        shop.database("payments").await,
    );
    let before = Books::read(&inventory, &payments).await;

    // The slow card holds the order between the reservation and the charge.
    let mut body = order("slow");
    body["paymentMethod"] = json!("pm_slow_5s");
    let mut client = JoinSet::new();
    let (caller, token, sent) = (shop.clone(), alice.clone(), body.clone());
    client.spawn(async move { caller.order(&token, &sent).await });
    eventually("the stock is reserved", async || {
        let books = Books::read(&inventory, &payments).await;
        holds(books.reserved == before.reserved + 2, format!("{books:?}"))
    })
    .await;
    let pid = shop.processes().await["orders-v1-0"];
    process::signal(pid, Signal::KILL);
    let reply = client.join_next().await.unwrap().unwrap();
    assert!(
        reply.status >= 500 || reply.status == 409,
        "{} {}",
        reply.status,
        reply.text
    );

    within(
        Duration::from_secs(40),
        "everything is undone",
        async || {
            let books = Books::read(&inventory, &payments).await;
            let settled =
                books.reserved == before.reserved && books.captured == 0 && books.balance == 0;
            holds(settled, format!("{books:?}"))
        },
    )
    .await;
    let orders = shop.database("orders").await;
    eventually("the order is rejected", async || {
        let pending = orders
            .number("SELECT COUNT(*) FROM order_views WHERE state = 'PENDING'")
            .await;
        holds(pending == 0, format!("{pending} pending"))
    })
    .await;

    // The shop goes on.
    within(
        Duration::from_secs(20),
        "an order goes through",
        async || {
            let reply = shop.order(&alice, &order("afterwards")).await;
            holds(reply.status == 201, reply.text)
        },
    )
    .await;
    let books = Books::read(&inventory, &payments).await;
    assert_eq!(
        (books.captured, books.reserved, books.balance),
        (1, before.reserved + 2, 0)
    );
    Arc::into_inner(shop).unwrap().stop().await;
}
