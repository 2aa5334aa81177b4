//! Each step refused, with its reply lost, and without an answer: the documented answer, and everything undone that
//! was begun, latest first.

use std::time::Duration;

use outrigger_proto::shop::orders::v1::order;
use shop_chassis::status::reason;
use tonic::Code;

use crate::neighbours::{Act, Neighbours};
use crate::{client, order as the_order, place, start};

const ALWAYS: u32 = u32::MAX;

#[tokio::test]
async fn a_step_that_is_refused_leaves_nothing_behind() {
    let cases: [(&'static str, &'static str, &[&str]); 4] = [
        ("reserve", "OUT_OF_STOCK", &[]),
        ("authorize", "CARD_DECLINED", &["release"]),
        ("secure", "RESERVATION_EXPIRED", &["cancel", "release"]),
        ("capture", "CAPTURE_FAILED", &["cancel", "release"]),
    ];
    for (step, expected, undone) in cases {
        let neighbours = Neighbours::start();
        let served = start(&neighbours).await;
        neighbours.act(step, Act::Refuse(expected), 1);
        let refused = place(client(&served), the_order("key")).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{step}");
        assert_eq!(reason(&refused).as_deref(), Some(expected), "{step}");
        assert_eq!(undoings(&neighbours), undone, "{step}");
        assert_eq!(neighbours.held(), (0, 0), "{step}");
        served.stop().await;
    }
}

#[tokio::test]
async fn a_step_whose_reply_is_lost_is_asked_again_and_goes_on() {
    for step in [
        "quote",
        "address",
        "reserve",
        "authorize",
        "secure",
        "capture",
    ] {
        let neighbours = Neighbours::start();
        let served = start(&neighbours).await;
        neighbours.act(step, Act::LoseReply, 1);
        let placed = place(client(&served), the_order("key")).await.unwrap();
        assert_eq!(
            placed.into_inner().state(),
            order::State::Confirmed,
            "{step}"
        );
        let asked = neighbours
            .calls()
            .iter()
            .filter(|call| **call == step)
            .count();
        assert_eq!(asked, 2, "{step}");
        assert_eq!(
            (neighbours.held(), neighbours.payment_keys()),
            ((1, 1), 1),
            "{step}"
        );
        served.stop().await;
    }
}

#[tokio::test]
async fn a_step_without_a_definite_answer_is_undone_from_its_intent_on() {
    let cases: [(&'static str, &'static str, &[&str]); 6] = [
        ("quote", "CATALOG_UNAVAILABLE", &[]),
        ("address", "IDENTITY_UNAVAILABLE", &[]),
        ("reserve", "INVENTORY_UNAVAILABLE", &["release"]),
        ("authorize", "PAYMENTS_UNAVAILABLE", &["cancel", "release"]),
        ("secure", "INVENTORY_UNAVAILABLE", &["cancel", "release"]),
        ("capture", "PAYMENTS_UNAVAILABLE", &["cancel", "release"]),
    ];
    for (step, expected, undone) in cases {
        for act in [Act::Hang, Act::LoseReply] {
            let neighbours = Neighbours::start();
            let served = start(&neighbours).await;
            neighbours.act(step, act, ALWAYS);
            let refused = place(client(&served), the_order("key")).await.unwrap_err();
            assert_eq!(refused.code(), Code::Aborted, "{step} {act:?}");
            assert_eq!(
                reason(&refused).as_deref(),
                Some(expected),
                "{step} {act:?}"
            );
            assert_eq!(undoings(&neighbours), undone, "{step} {act:?}");
            assert_eq!(neighbours.held(), (0, 0), "{step} {act:?}");
            served.stop().await;
        }
    }
}

#[tokio::test]
async fn an_undoing_that_fails_is_tried_until_it_is_done() {
    let neighbours = Neighbours::start();
    let served = start(&neighbours).await;
    neighbours.act("capture", Act::Refuse("CAPTURE_FAILED"), 1);
    neighbours.act("cancel", Act::Hang, 1);
    let open = place(client(&served), the_order("key"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(open.state(), order::State::Pending);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match place(client(&served), the_order("key")).await {
            Err(refused) => {
                assert_eq!(reason(&refused).as_deref(), Some("CAPTURE_FAILED"));
                break;
            }
            Ok(order) => assert_eq!(order.into_inner().state(), order::State::Pending),
        }
        assert!(tokio::time::Instant::now() < deadline, "still open");
    }
    assert_eq!(neighbours.held(), (0, 0));
    served.stop().await;
}

/// The undoings that were asked for, each once, in order.
fn undoings(neighbours: &Neighbours) -> Vec<&'static str> {
    let mut undoings = neighbours.calls();
    undoings.retain(|call| ["cancel", "release"].contains(call));
    undoings.dedup();
    undoings
}
