//! The service as its callers see it: over its socket, by gRPC.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use outrigger_proto::shop::inventory::v1::reservation::{Line, State};
use outrigger_proto::shop::inventory::v1::reservation_service_client::ReservationServiceClient;
use outrigger_proto::shop::inventory::v1::stock_service_client::StockServiceClient;
use outrigger_proto::shop::inventory::v1::{
    AdjustStockRequest, BatchGetStockRequest, ConfirmReservationRequest, CreateReservationRequest,
    GetReservationRequest, GetStockRequest, ReleaseReservationRequest, Reservation, Stock,
};
use shop_chassis::Environment;
use shop_chassis::clock::ManualClock;
use shop_chassis::scratch::{Served, as_service, as_user, on_each_engine, sqlite_url};
use shop_chassis::status::reason;
use tokio::task::JoinSet;
use tonic::{Code, Request, Status};

const SKU: &str = "P-101";
const ON_HAND: i32 = 1000;
const MANAGER: u32 = 3;

fn env(folder: &Path, database: &str) -> Environment {
    let key = folder.join("keys/page").display().to_string();
    Environment::of([
        ("SHOP_INVENTORY_DATABASE_URL", database),
        ("SHOP_INVENTORY_SWEEP_INTERVAL", "10ms"),
        ("SHOP_PAGE_TOKEN_KEY_FILE", &key),
        ("OUTRIGGER_INSTANCE", "inventory-v1-0"),
    ])
}

/// An inventory and what orders and the gateway ask of it.
struct Inventory(Served);

impl Inventory {
    async fn start() -> Self {
        let serve = shop_inventory::serve;
        Self(Served::start(serve, |folder| env(folder, &sqlite_url(folder))).await)
    }

    async fn on(url: &str) -> Self {
        Self(Served::start(shop_inventory::serve, |folder| env(folder, url)).await)
    }

    async fn by(clock: &ManualClock) -> Self {
        let clock = Arc::new(clock.clone());
        let serve = |config, listener, shutdown| {
            shop_inventory::serve_at(config, listener, shutdown, clock)
        };
        Self(Served::start(serve, |folder| env(folder, &sqlite_url(folder))).await)
    }

    async fn reserve(&self, order: &str, lines: &[(&str, i32)]) -> Result<Reservation, Status> {
        let request = CreateReservationRequest {
            order_id: order.to_owned(),
            lines: lines.iter().map(line).collect(),
            ttl: None,
        };
        self.create(request).await
    }

    async fn create(&self, request: CreateReservationRequest) -> Result<Reservation, Status> {
        let mut client = ReservationServiceClient::new(self.0.peer());
        let request = as_service("orders", request);
        Ok(client.create_reservation(request).await?.into_inner())
    }

    async fn confirm(&self, order: &str) -> Result<Reservation, Status> {
        let mut client = ReservationServiceClient::new(self.0.peer());
        let order_id = order.to_owned();
        let request = as_service("orders", ConfirmReservationRequest { order_id });
        Ok(client.confirm_reservation(request).await?.into_inner())
    }

    async fn release(&self, order: &str) -> Result<Reservation, Status> {
        let mut client = ReservationServiceClient::new(self.0.peer());
        let order_id = order.to_owned();
        let request = as_service("orders", ReleaseReservationRequest { order_id });
        Ok(client.release_reservation(request).await?.into_inner())
    }

    async fn reservation(&self, order: &str) -> Result<Reservation, Status> {
        let mut client = ReservationServiceClient::new(self.0.peer());
        let order_id = order.to_owned();
        let request = as_service("orders", GetReservationRequest { order_id });
        Ok(client.get_reservation(request).await?.into_inner())
    }

    async fn stock(&self, sku: &str) -> Result<Stock, Status> {
        let mut client = StockServiceClient::new(self.0.peer());
        let sku = sku.to_owned();
        let request = as_service("gateway", GetStockRequest { sku });
        Ok(client.get_stock(request).await?.into_inner())
    }

    async fn adjust(&self, delta: i32, key: &str) -> Result<Stock, Status> {
        let mut client = StockServiceClient::new(self.0.peer());
        let asked = AdjustStockRequest {
            sku: SKU.to_owned(),
            delta,
            reason: "delivery".to_owned(),
        };
        let mut request = as_user(MANAGER, &["inventory:write"], asked);
        request
            .metadata_mut()
            .insert("idempotency-key", key.parse().unwrap());
        Ok(client.adjust_stock(request).await?.into_inner())
    }

    /// On hand, promised, available.
    async fn assert_stock(&self, expected: [i32; 3]) {
        let stock = self.stock(SKU).await.unwrap();
        let found = [stock.on_hand, stock.reserved, stock.available];
        assert_eq!(found, expected);
    }

    async fn stop(self) {
        self.0.stop().await;
    }
}

fn line(&(sku, quantity): &(&str, i32)) -> Line {
    Line {
        sku: sku.to_owned(),
        quantity,
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, expected: &str) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    assert_eq!(reason(&status).as_deref(), Some(expected), "{status:?}");
}

#[tokio::test]
async fn goods_are_held_confirmed_and_given_back() {
    on_each_engine(async |url| {
        let inventory = Inventory::on(&url).await;
        let held = inventory.reserve("order", &[(SKU, 2), ("4521", 1)]).await;
        let held = held.unwrap();
        assert_eq!(held.state(), State::Pending);
        // By article, so that two orders never wait for each other.
        assert_eq!(held.lines, [line(&("4521", 1)), line(&(SKU, 2))]);
        inventory.assert_stock([ON_HAND, 2, ON_HAND - 2]).await;

        let again = inventory.reserve("order", &[(SKU, 2), ("4521", 1)]).await;
        assert_eq!(again.unwrap(), held, "repeated, it holds no more");
        inventory.assert_stock([ON_HAND, 2, ON_HAND - 2]).await;

        for _ in 0..2 {
            let confirmed = inventory.confirm("order").await.unwrap();
            assert_eq!(confirmed.state(), State::Confirmed);
        }
        let found = inventory.reservation("order").await.unwrap();
        assert_eq!(found.state(), State::Confirmed);
        assert_eq!(found.reservation_id, held.reservation_id);

        for _ in 0..2 {
            let released = inventory.release("order").await.unwrap();
            assert_eq!(released.state(), State::Released);
        }
        inventory.assert_stock([ON_HAND, 0, ON_HAND]).await;
        inventory.stop().await;
    })
    .await;
}

#[tokio::test]
async fn all_lines_are_held_or_none() {
    on_each_engine(async |url| {
        let inventory = Inventory::on(&url).await;
        for (order, other) in [("too many", ("4521", 13)), ("unknown", ("P-nowhere", 1))] {
            let none = inventory.reserve(order, &[(SKU, 5), other]).await;
            refused(none, Code::FailedPrecondition, "OUT_OF_STOCK");
            let none = inventory.reservation(order).await;
            refused(none, Code::NotFound, "RESERVATION_NOT_FOUND");
        }
        inventory.assert_stock([ON_HAND, 0, ON_HAND]).await;
        // Nothing stands in the way of a better order with the same id.
        inventory
            .reserve("too many", &[("4521", 12)])
            .await
            .unwrap();
        inventory.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_undo_that_comes_first_leaves_a_tombstone() {
    on_each_engine(async |url| {
        let inventory = Inventory::on(&url).await;
        let tombstone = inventory.release("order").await.unwrap();
        assert_eq!(tombstone.state(), State::Released);
        assert_eq!(tombstone.reservation_id, "");
        let late = inventory.reserve("order", &[(SKU, 2)]).await;
        refused(late, Code::FailedPrecondition, "OPERATION_REVOKED");
        let late = inventory.confirm("order").await;
        refused(late, Code::FailedPrecondition, "OPERATION_REVOKED");
        inventory.assert_stock([ON_HAND, 0, ON_HAND]).await;
        inventory.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_order_reserves_once_and_the_same() {
    let inventory = Inventory::start().await;
    inventory.reserve("order", &[(SKU, 2)]).await.unwrap();
    let other = inventory.reserve("order", &[(SKU, 3)]).await;
    refused(other, Code::AlreadyExists, "RESERVATION_EXISTS");
    let unknown = inventory.confirm("never").await;
    refused(unknown, Code::NotFound, "RESERVATION_NOT_FOUND");
    inventory.assert_stock([ON_HAND, 2, ON_HAND - 2]).await;
    inventory.stop().await;
}

#[tokio::test]
async fn what_nobody_confirms_in_time_is_given_back() {
    let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
    let inventory = Inventory::by(&clock).await;
    inventory.reserve("slow", &[(SKU, 2)]).await.unwrap();
    inventory.reserve("confirmed", &[(SKU, 3)]).await.unwrap();
    inventory.confirm("confirmed").await.unwrap();
    let hasty = CreateReservationRequest {
        order_id: "hasty".to_owned(),
        lines: vec![line(&(SKU, 4))],
        ttl: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
    };
    inventory.create(hasty).await.unwrap();

    clock.advance(SignedDuration::from_secs(60));
    becomes(&inventory, "hasty", State::Expired).await;
    inventory.assert_stock([ON_HAND, 5, ON_HAND - 5]).await;
    let late = inventory.confirm("hasty").await;
    refused(late, Code::FailedPrecondition, "RESERVATION_EXPIRED");

    clock.advance(SignedDuration::from_mins(15));
    becomes(&inventory, "slow", State::Expired).await;
    inventory.assert_stock([ON_HAND, 3, ON_HAND - 3]).await;
    let kept = inventory.reservation("confirmed").await.unwrap();
    assert_eq!(kept.state(), State::Confirmed);
    inventory.stop().await;
}

/// The sweeper has its own pace.
async fn becomes(inventory: &Inventory, order: &str, state: State) {
    let swept = async {
        while inventory.reservation(order).await.unwrap().state() != state {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_secs(10);
    tokio::time::timeout(limit, swept).await.expect("the sweep");
}

/// Sixty buyers at once want the last twelve.
#[tokio::test]
async fn nothing_is_sold_twice() {
    on_each_engine(async |url| {
        let inventory = Inventory::on(&url).await;
        let mut buyers = JoinSet::new();
        for buyer in 0..60 {
            let mut client = ReservationServiceClient::new(inventory.0.peer());
            let request = CreateReservationRequest {
                order_id: format!("order-{buyer}"),
                lines: vec![line(&("4521", 1))],
                ttl: None,
            };
            let request = as_service("orders", request);
            buyers.spawn(async move { client.create_reservation(request).await });
        }
        let (mut served, mut refused) = (0, 0);
        while let Some(answer) = buyers.join_next().await {
            match answer.unwrap() {
                Ok(_) => served += 1,
                Err(status) => {
                    assert_eq!(reason(&status).as_deref(), Some("OUT_OF_STOCK"));
                    refused += 1;
                }
            }
        }
        assert_eq!((served, refused), (12, 48));
        let stock = inventory.stock("4521").await.unwrap();
        assert_eq!((stock.reserved, stock.available), (12, 0));
        inventory.stop().await;
    })
    .await;
}

/// One order, asked for from many sides at once.
#[tokio::test]
async fn the_same_reservation_in_parallel_holds_once() {
    on_each_engine(async |url| {
        let inventory = Inventory::on(&url).await;
        let mut callers = JoinSet::new();
        for _ in 0..20 {
            let mut client = ReservationServiceClient::new(inventory.0.peer());
            let request = CreateReservationRequest {
                order_id: "order".to_owned(),
                lines: vec![line(&(SKU, 7))],
                ttl: None,
            };
            let request = as_service("orders", request);
            callers.spawn(async move { client.create_reservation(request).await });
        }
        let mut ids = std::collections::BTreeSet::new();
        while let Some(answer) = callers.join_next().await {
            ids.insert(answer.unwrap().unwrap().into_inner().reservation_id);
        }
        assert_eq!(ids.len(), 1, "{ids:?}");
        inventory.assert_stock([ON_HAND, 7, ON_HAND - 7]).await;
        inventory.stop().await;
    })
    .await;
}

#[tokio::test]
async fn goods_come_in_and_go_out_once_a_key() {
    on_each_engine(async |url| {
        let inventory = Inventory::on(&url).await;
        for _ in 0..2 {
            let stock = inventory.adjust(50, "delivery-1").await.unwrap();
            assert_eq!(stock.on_hand, ON_HAND + 50);
        }
        inventory.reserve("order", &[(SKU, 1000)]).await.unwrap();
        let sold = inventory.adjust(-51, "loss-1").await;
        refused(sold, Code::FailedPrecondition, "OUT_OF_STOCK");
        inventory.adjust(-50, "loss-2").await.unwrap();
        inventory.assert_stock([ON_HAND, 1000, 0]).await;
        let other = inventory.adjust(1, "delivery-1").await.unwrap_err();
        assert_eq!(reason(&other).as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
        inventory.stop().await;
    })
    .await;
}

#[tokio::test]
async fn bad_requests_are_refused_before_anything_happens() {
    let inventory = Inventory::start().await;
    for (order, lines) in [
        ("", vec![(SKU, 1)]),
        ("none", vec![]),
        ("zero", vec![(SKU, 0)]),
        ("less", vec![(SKU, -1)]),
        ("more", vec![(SKU, 1001)]),
    ] {
        let answer = inventory.reserve(order, &lines).await;
        refused(answer, Code::InvalidArgument, "FIELD_INVALID");
    }
    for seconds in [0, -1, 86_401] {
        let request = CreateReservationRequest {
            order_id: "ttl".to_owned(),
            lines: vec![line(&(SKU, 1))],
            ttl: Some(prost_types::Duration { seconds, nanos: 0 }),
        };
        let answer = inventory.create(request).await;
        refused(answer, Code::InvalidArgument, "FIELD_INVALID");
    }
    refused(
        inventory.stock("P-nowhere").await,
        Code::NotFound,
        "PRODUCT_NOT_FOUND",
    );
    inventory.assert_stock([ON_HAND, 0, ON_HAND]).await;
    inventory.stop().await;
}

#[tokio::test]
async fn only_orders_reserves_and_only_scopes_adjust() {
    let inventory = Inventory::start().await;
    let mut client = ReservationServiceClient::new(inventory.0.peer());
    let request = CreateReservationRequest {
        order_id: "order".to_owned(),
        lines: vec![line(&(SKU, 1))],
        ttl: None,
    };
    let strange = client
        .create_reservation(as_service("catalog", request.clone()))
        .await;
    refused(strange, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    let nobody = client.create_reservation(Request::new(request)).await;
    assert!(nobody.is_err(), "{nobody:?}");

    let mut client = StockServiceClient::new(inventory.0.peer());
    let asked = AdjustStockRequest {
        sku: SKU.to_owned(),
        delta: 1,
        reason: String::new(),
    };
    let without = client
        .adjust_stock(as_user(MANAGER, &["inventory:read"], asked))
        .await;
    refused(without, Code::PermissionDenied, "SCOPE_MISSING");
    inventory.assert_stock([ON_HAND, 0, ON_HAND]).await;
    inventory.stop().await;
}

#[tokio::test]
async fn several_articles_are_shown_in_the_order_asked() {
    let inventory = Inventory::start().await;
    let mut client = StockServiceClient::new(inventory.0.peer());
    let ask = |skus: [&str; 2]| BatchGetStockRequest {
        skus: skus.map(str::to_owned).to_vec(),
    };
    let request = as_service("gateway", ask([SKU, "4521"]));
    let stocks = client.batch_get_stock(request).await.unwrap().into_inner();
    let found: Vec<_> = stocks.stocks.iter().map(|stock| &stock.sku).collect();
    assert_eq!(found, [SKU, "4521"]);
    let request = as_service("gateway", ask([SKU, "P-nowhere"]));
    let unknown = client.batch_get_stock(request).await;
    refused(unknown, Code::NotFound, "PRODUCT_NOT_FOUND");
    inventory.stop().await;
}

#[tokio::test]
async fn what_is_held_survives_a_restart() {
    let inventory = Inventory::start().await;
    let held = inventory.reserve("order", &[(SKU, 2)]).await.unwrap();
    let folder = inventory.0.folder();
    inventory.stop().await;
    let serve = shop_inventory::serve;
    let again = Served::start_in(folder, serve, |folder| env(folder, &sqlite_url(folder))).await;
    let again = Inventory(again);
    assert_eq!(again.reservation("order").await.unwrap(), held);
    again.assert_stock([ON_HAND, 2, ON_HAND - 2]).await;
    again.stop().await;
}
