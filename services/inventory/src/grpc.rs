//! Decode, call, encode: no rule and no SQL.

use jiff::{SignedDuration, Timestamp};
use outrigger_proto::shop::inventory::v1::{
    self as api, AdjustStockRequest, BatchGetStockRequest, BatchGetStockResponse,
    ConfirmReservationRequest, CreateReservationRequest, GetReservationRequest, GetStockRequest,
    ReleaseReservationRequest, reservation, reservation_service_server::ReservationService,
    stock_service_server::StockService,
};
use shop_chassis::clock::to_proto;
use shop_chassis::idempotency::Idempotency;
use shop_chassis::{Failure, failpoint};
use tonic::{Request, Response, Status};

use crate::error::Error;
use crate::inventory::Inventory;
use crate::reservation::{Line, State};
use crate::store::{self, Reservation, Stock};

/// `shop.inventory.v1.StockService`.
#[derive(Debug, Clone)]
pub struct Stocks {
    inventory: Inventory,
    idempotency: Idempotency,
}

/// `shop.inventory.v1.ReservationService`.
#[derive(Debug, Clone)]
pub struct Reservations {
    inventory: Inventory,
}

impl Stocks {
    /// Over what the service does, and its keys.
    pub fn new(inventory: Inventory, idempotency: Idempotency) -> Self {
        Self {
            inventory,
            idempotency,
        }
    }
}

impl Reservations {
    /// Over what the service does.
    pub fn new(inventory: Inventory) -> Self {
        Self { inventory }
    }
}

#[tonic::async_trait]
impl StockService for Stocks {
    async fn get_stock(
        &self,
        request: Request<GetStockRequest>,
    ) -> Result<Response<api::Stock>, Status> {
        let stock = self.inventory.stock(&request.get_ref().sku).await?;
        Ok(Response::new(encode_stock(&stock)?))
    }

    async fn batch_get_stock(
        &self,
        request: Request<BatchGetStockRequest>,
    ) -> Result<Response<BatchGetStockResponse>, Status> {
        let stocks = self.inventory.stock_of(&request.get_ref().skus).await?;
        let stocks = stocks.iter().map(encode_stock).collect::<Result<_, _>>()?;
        Ok(Response::new(BatchGetStockResponse { stocks }))
    }

    async fn adjust_stock(
        &self,
        request: Request<AdjustStockRequest>,
    ) -> Result<Response<api::Stock>, Status> {
        let asked = request.get_ref().clone();
        let stamp = self.inventory.stamp();
        self.idempotency
            .once(self.inventory.database(), &request, |tx| {
                let asked = &asked;
                async move {
                    let delta = i64::from(asked.delta);
                    let stock = store::adjust(&*tx, stamp, &asked.sku, delta).await?;
                    encode_stock(&stock)
                }
            })
            .await
    }
}

#[tonic::async_trait]
impl ReservationService for Reservations {
    async fn create_reservation(
        &self,
        request: Request<CreateReservationRequest>,
    ) -> Result<Response<api::Reservation>, Status> {
        let request = request.into_inner();
        let lines: Vec<_> = request.lines.into_iter().map(decode_line).collect();
        let time_to_live = request.ttl.map(decode_ttl).transpose()?;
        failpoint::reached("inventory.reserve.d");
        let made = self
            .inventory
            .reserve(&request.order_id, &lines, time_to_live)
            .await?;
        failpoint::reached("inventory.reserve.e");
        Ok(Response::new(encode_reservation(&made)?))
    }

    async fn confirm_reservation(
        &self,
        request: Request<ConfirmReservationRequest>,
    ) -> Result<Response<api::Reservation>, Status> {
        failpoint::reached("inventory.secure.d");
        let confirmed = self.inventory.confirm(&request.get_ref().order_id).await?;
        failpoint::reached("inventory.secure.e");
        Ok(Response::new(encode_reservation(&confirmed)?))
    }

    async fn release_reservation(
        &self,
        request: Request<ReleaseReservationRequest>,
    ) -> Result<Response<api::Reservation>, Status> {
        failpoint::reached("inventory.release.d");
        let released = self.inventory.release(&request.get_ref().order_id).await?;
        failpoint::reached("inventory.release.e");
        Ok(Response::new(encode_reservation(&released)?))
    }

    async fn get_reservation(
        &self,
        request: Request<GetReservationRequest>,
    ) -> Result<Response<api::Reservation>, Status> {
        let found = self
            .inventory
            .reservation(&request.get_ref().order_id)
            .await?;
        Ok(Response::new(encode_reservation(&found)?))
    }
}

fn decode_line(line: reservation::Line) -> Line {
    Line {
        sku: line.sku,
        quantity: i64::from(line.quantity),
    }
}

fn decode_ttl(ttl: prost_types::Duration) -> Result<SignedDuration, Failure> {
    let duration = SignedDuration::new(ttl.seconds, ttl.nanos);
    if duration <= SignedDuration::ZERO || duration > SignedDuration::from_hours(24) {
        return Err(Failure::field(
            "ttl",
            "must be above zero and at most a day",
        ));
    }
    Ok(duration)
}

fn encode_stock(stock: &Stock) -> Result<api::Stock, Error> {
    Ok(api::Stock {
        sku: stock.sku.clone(),
        on_hand: i32::try_from(stock.on_hand)?,
        reserved: i32::try_from(stock.reserved)?,
        available: i32::try_from(stock.available())?,
    })
}

fn encode_reservation(reservation: &Reservation) -> Result<api::Reservation, Error> {
    let lines = reservation
        .lines
        .iter()
        .map(|line| {
            Ok(reservation::Line {
                sku: line.sku.clone(),
                quantity: i32::try_from(line.quantity)?,
            })
        })
        .collect::<Result<_, Error>>()?;
    let time = |at: Timestamp| Some(to_proto(at));
    let mut encoded = api::Reservation {
        order_id: reservation.order_id.clone(),
        lines,
        create_time: time(reservation.created_at),
        update_time: time(reservation.updated_at),
        ..api::Reservation::default()
    };
    encoded.set_state(encode_state(reservation.state));
    // A tombstone reserved nothing: it has no id of its own and nothing to expire.
    if !reservation.lines.is_empty() {
        encoded.reservation_id.clone_from(&reservation.id);
        encoded.expire_time = time(reservation.expires_at);
    }
    Ok(encoded)
}

fn encode_state(state: State) -> reservation::State {
    match state {
        State::Pending => reservation::State::Pending,
        State::Confirmed => reservation::State::Confirmed,
        State::Committed => reservation::State::Committed,
        State::Released => reservation::State::Released,
        State::Expired => reservation::State::Expired,
    }
}
