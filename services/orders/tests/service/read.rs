//! Reading orders: one's own, page by page, and as they were.

use outrigger_proto::shop::orders::v1::{GetOrderRequest, ListOrdersRequest, order};
use shop_chassis::scratch::as_user;
use shop_chassis::status::reason;

use crate::neighbours::Neighbours;
use crate::{ALICE, BOB, client, order as the_order, place, start};

#[tokio::test]
async fn an_order_is_shown_to_its_user_and_to_nobody_else() {
    let neighbours = Neighbours::start();
    let served = start(&neighbours).await;
    let placed = place(client(&served), the_order("key"))
        .await
        .unwrap()
        .into_inner();
    let get = |user, id: &str, as_of| {
        let request = GetOrderRequest {
            order_id: id.to_owned(),
            as_of,
        };
        let mut client = client(&served);
        async move {
            client
                .get_order(as_user(user, &["orders:read"], request))
                .await
        }
    };
    let shown = get(ALICE, &placed.order_id, None)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(shown, placed);
    for (user, id) in [(BOB, placed.order_id.as_str()), (ALICE, "nothing")] {
        let refused = get(user, id, None).await.unwrap_err();
        assert_eq!(reason(&refused).as_deref(), Some("ORDER_NOT_FOUND"));
    }
    let then = get(ALICE, &placed.order_id, placed.create_time)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(then.state(), order::State::Pending);
    served.stop().await;
}

#[tokio::test]
async fn a_users_orders_come_newest_first_page_by_page() {
    let neighbours = Neighbours::start();
    let served = start(&neighbours).await;
    for key in ["one", "two", "three"] {
        place(client(&served), the_order(key)).await.unwrap();
    }
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListOrdersRequest {
            page_size: 2,
            page_token,
        };
        let request = as_user(ALICE, &["orders:read"], request);
        let page = client(&served)
            .list_orders(request)
            .await
            .unwrap()
            .into_inner();
        seen.extend(page.orders.into_iter().map(|order| order.order_number));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [3, 2, 1]);
    let request = as_user(BOB, &["orders:read"], ListOrdersRequest::default());
    assert!(
        client(&served)
            .list_orders(request)
            .await
            .unwrap()
            .into_inner()
            .orders
            .is_empty()
    );
    served.stop().await;
}
