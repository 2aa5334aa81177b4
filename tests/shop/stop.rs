//! The end of a run, and the next one.

use outrigger_tests::shop::order;
use outrigger_tests::{Shop, process};
use rustix::process::Signal;

#[tokio::test]
async fn ctrl_c_ends_everything_and_the_next_start_finds_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut shop = Shop::builder().data(&data).start().await;
    let alice = shop.token("alice").await;
    let placed = shop.order(&alice, &order("before")).await.expect(201);
    shop.stop().await;

    let mut shop = Shop::builder().data(&data).start().await;
    let alice = shop.token("alice").await;
    let id = placed.body["orderId"].as_str().unwrap();
    let found = shop
        .get(&format!("/v1/orders/{id}"), &alice)
        .await
        .expect(200);
    assert_eq!(found.body["state"], "CONFIRMED");
    let replayed = shop.order(&alice, &order("before")).await.expect(201);
    assert_eq!(replayed.body["orderId"], placed.body["orderId"]);
    shop.stop().await;
}

#[tokio::test]
async fn a_killed_run_leaves_no_process_behind_and_can_be_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let shop = Shop::builder().data(&data).start().await;
    let processes = shop.processes().await;
    assert!(processes.len() > 10, "{processes:?}");
    process::signal(shop.pid(), Signal::KILL);
    outrigger_tests::eventually("its children end", async || {
        let left: Vec<_> = processes
            .iter()
            .filter(|(_, pid)| process::exists(**pid))
            .collect();
        outrigger_tests::eventually::holds(left.is_empty(), format!("{left:?}"))
    })
    .await;
    drop(shop);
    let mut shop = Shop::builder().data(&data).start().await;
    let alice = shop.token("alice").await;
    shop.order(&alice, &order("after")).await.expect(201);
    shop.stop().await;
}
