//! The service as its callers see it, with its four neighbours played by the test: over its socket, and as a process
//! that dies in the middle of an order.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod crash;
mod neighbours;
mod place_order;
mod read;
mod step;

use std::path::Path;

use outrigger_proto::shop::orders::v1::order_service_client::OrderServiceClient;
use outrigger_proto::shop::orders::v1::{Order, PlaceOrderRequest, place_order_request};
use shop_chassis::Environment;
use shop_chassis::client::Peer;
use shop_chassis::scratch::{Served, as_user, sqlite_url};
use tonic::{Response, Status};

use neighbours::Neighbours;

const ALICE: u32 = 1;
const BOB: u32 = 2;

fn env(folder: &Path, database: &str, neighbours: &Neighbours) -> Environment {
    let key = folder.join("keys/page").display().to_string();
    let outbound = neighbours.address();
    Environment::of([
        ("SHOP_ORDERS_DATABASE_URL", database),
        ("SHOP_PAGE_TOKEN_KEY_FILE", &key),
        ("OUTRIGGER_OUTBOUND_ADDR", &outbound),
        ("OUTRIGGER_INSTANCE", "orders-v1-0"),
        ("SHOP_ORDERS_STEP_TIMEOUT", "400ms"),
        ("SHOP_ORDERS_RECOVERY_INTERVAL", "50ms"),
    ])
}

async fn start(neighbours: &Neighbours) -> Served {
    Served::start(shop_orders::serve, |folder| {
        env(folder, &sqlite_url(folder), neighbours)
    })
    .await
}

fn client(served: &Served) -> OrderServiceClient<Peer> {
    OrderServiceClient::new(served.peer())
}

/// The brief's order.
fn order(key: &str) -> PlaceOrderRequest {
    PlaceOrderRequest {
        items: vec![place_order_request::Item {
            product_id: "P-101".to_owned(),
            quantity: 2,
            price: Some(1200),
        }],
        shipping_address_id: "ADDR-55".to_owned(),
        payment_method: "card".to_owned(),
        idempotency_key: key.to_owned(),
        ..PlaceOrderRequest::default()
    }
}

async fn place(
    mut client: OrderServiceClient<Peer>,
    request: PlaceOrderRequest,
) -> Result<Response<Order>, Status> {
    client
        .place_order(as_user(ALICE, &["orders:write"], request))
        .await
}
