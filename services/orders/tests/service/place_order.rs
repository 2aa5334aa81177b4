//! Placing an order: what is confirmed, what is refused before anything is written, and that a key is one order.

use outrigger_proto::shop::orders::v1::{PlaceOrderRequest, order, shipping};
use shop_chassis::scratch::{Served, on_each_engine};
use shop_chassis::status::{error_info, reason};
use tokio::task::JoinSet;
use tonic::Code;

use crate::neighbours::Neighbours;
use crate::{client, env, order as the_order, place, start};

#[tokio::test]
async fn the_briefs_order_is_confirmed_once_and_replayed_after_that() {
    on_each_engine(async |url| {
        let neighbours = Neighbours::start();
        let served =
            Served::start(shop_orders::serve, |folder| env(folder, &url, &neighbours)).await;
        let first = place(client(&served), the_order("key")).await.unwrap();
        assert!(first.metadata().get("idempotent-replayed").is_none());
        let first = first.into_inner();
        assert_eq!(first.state(), order::State::Confirmed);
        assert_eq!(first.total.as_ref().unwrap().units, 24);
        assert_eq!(first.etag, "\"3\"");
        assert_eq!(first.payment.as_ref().unwrap().transaction_id, "TX89123");
        let again = place(client(&served), the_order("key")).await.unwrap();
        assert_eq!(again.metadata().get("idempotent-replayed").unwrap(), "true");
        assert_eq!(again.into_inner(), first);
        let next = place(client(&served), the_order("next"))
            .await
            .unwrap()
            .into_inner();
        assert_eq!((first.order_number, next.order_number), (1, 2));
        let quote: Vec<_> = neighbours.calls().into_iter().skip(2).take(4).collect();
        assert_eq!(quote, ["reserve", "authorize", "secure", "capture"]);
        served.stop().await;
    })
    .await;
}

#[tokio::test]
async fn fifty_at_once_with_one_key_are_one_order_and_one_charge() {
    on_each_engine(async |url| {
        let neighbours = Neighbours::start();
        let served =
            Served::start(shop_orders::serve, |folder| env(folder, &url, &neighbours)).await;
        let mut callers = JoinSet::new();
        for _ in 0..50 {
            callers.spawn(place(client(&served), the_order("key")));
        }
        let answers = callers.join_all().await;
        let mut ids = std::collections::BTreeSet::new();
        for answer in answers {
            match answer {
                Ok(answer) => {
                    ids.insert(answer.into_inner().order_id);
                }
                // Honest: the first is still being written.
                Err(status) => {
                    assert_eq!(reason(&status).as_deref(), Some("IDEMPOTENCY_IN_PROGRESS"));
                }
            }
        }
        assert_eq!(ids.len(), 1, "{ids:?}");
        assert_eq!((neighbours.held(), neighbours.payment_keys()), ((1, 1), 1));
        served.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_the_caller_got_wrong_is_told_and_nothing_is_written() {
    type Change = fn(&mut PlaceOrderRequest);
    let cases: [(Change, Code, &str); 8] = [
        (
            |order| order.items[0].quantity = -1,
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (
            |order| order.items.clear(),
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (
            |order| order.items.push(order.items[0].clone()),
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (
            |order| order.set_shipping_method(shipping::Method::Express),
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (
            |order| order.shipping_address_id.clear(),
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (
            |order| order.idempotency_key.clear(),
            Code::InvalidArgument,
            "IDEMPOTENCY_KEY_REQUIRED",
        ),
        (
            |order| order.items[0].price = Some(1100),
            Code::FailedPrecondition,
            "PRICE_CHANGED",
        ),
        (
            |order| order.items[0].product_id = "unknown".to_owned(),
            Code::FailedPrecondition,
            "PRODUCT_NOT_FOUND",
        ),
    ];
    let neighbours = Neighbours::start();
    let served = start(&neighbours).await;
    for (index, (change, code, expected)) in cases.into_iter().enumerate() {
        let mut request = the_order(&format!("key-{index}"));
        change(&mut request);
        let refused = place(client(&served), request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{expected}: {refused}");
        assert_eq!(reason(&refused).as_deref(), Some(expected));
    }
    assert!(!neighbours.calls().contains(&"reserve"));
    served.stop().await;
}

#[tokio::test]
async fn a_refusal_names_the_order_and_is_replayed_too() {
    let neighbours = Neighbours::start();
    let served = start(&neighbours).await;
    let mut request = the_order("key");
    request.items[0].price = Some(1100);
    for round in 0..2 {
        let refused = place(client(&served), request.clone()).await.unwrap_err();
        let info = error_info(&refused).unwrap();
        assert_eq!(info.metadata["current"], "1200");
        assert_eq!(info.metadata["order_number"], "1");
        let replayed = refused.metadata().get("idempotent-replayed").is_some();
        assert_eq!(replayed, round > 0);
    }
    // The same key with another request is somebody's mistake.
    let reused = place(client(&served), the_order("key")).await.unwrap_err();
    assert_eq!(reason(&reused).as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
    served.stop().await;
}
