//! Decode, call, encode: no rule and no SQL.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::shop::orders::v1::order_service_server::OrderService;
use outrigger_proto::shop::orders::v1::{
    GetOrderRequest, ListOrdersRequest, ListOrdersResponse, Order, OrderSubmitted,
    PlaceOrderRequest, order, order_submitted, shipping,
};
use shop_chassis::clock::to_proto;
use shop_chassis::context::Context;
use shop_chassis::idempotency::{Begin, Call, Idempotency, Outcome, in_progress};
use shop_chassis::page::{List, Tokens};
use shop_chassis::{Caller, Failure, Transaction};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::error::{Error, rejected};
use crate::place_order::{PlaceOrder, Placing};
use crate::store;

/// How often somebody who waits for another's order looks at it.
const LOOK: Duration = Duration::from_millis(50);

/// `shop.orders.v1.OrderService`.
#[derive(Debug, Clone)]
pub struct Orders {
    /// The saga.
    pub place_order: PlaceOrder,
    /// The keys of this service.
    pub keys: Idempotency,
    /// Reads and writes page tokens.
    pub tokens: Tokens,
    /// Owns the sagas that outlive their callers.
    pub sagas: TaskTracker,
    /// How long a repeated call waits for the first one's outcome.
    pub patience: Duration,
}

/// Where a call of `PlaceOrder` stands after its first transaction.
enum Begun {
    Submitted(Box<Placing>),
    Bound(String),
    Done(Outcome),
    Busy,
}

impl Orders {
    async fn place(
        &self,
        call: &Call,
        submitted: OrderSubmitted,
    ) -> Result<Response<Order>, Status> {
        match self.begin(call, &submitted).await? {
            Begun::Done(outcome) => outcome.replay(),
            Begun::Busy => Err(in_progress().into()),
            Begun::Bound(order_id) => self.wait(call, &order_id).await,
            Begun::Submitted(placing) => {
                let order = self.drive(*placing).await?;
                let (outcome, answer) = answer(order);
                if let Some(outcome) = outcome {
                    self.keep(call, &outcome).await?;
                }
                answer
            }
        }
    }

    async fn begin(&self, call: &Call, submitted: &OrderSubmitted) -> Result<Begun, Failure> {
        let work = |tx: Arc<Transaction>| async move {
            Ok(match self.keys.begin(&tx, call).await? {
                Begin::Running => Begun::Busy,
                Begin::Bound(order_id) => Begun::Bound(order_id),
                Begin::Done(outcome) => Begun::Done(outcome),
                Begin::First => {
                    let placing = self.place_order.submit(&tx, submitted.clone()).await?;
                    let order_id = &placing.lease.saga_id;
                    self.keys.bind(&tx, call, order_id).await?;
                    Begun::Submitted(Box::new(placing))
                }
            })
        };
        self.place_order
            .database
            .write::<_, Failure, _, _>(work)
            .await
    }

    /// The saga goes on when its caller has gone: the order exists, and its key leads to it.
    async fn drive(&self, placing: Placing) -> Result<Order, Error> {
        let place_order = self.place_order.clone();
        let context = Context::current().without_deadline();
        let work = context.scope(async move { place_order.run(placing).await });
        let order = self.sagas.spawn(work.in_current_span()).await??;
        Ok(order.order)
    }

    /// Another call drives it, or recovery does: look until it has come to an end or our patience has.
    async fn wait(&self, call: &Call, order_id: &str) -> Result<Response<Order>, Status> {
        let end = Instant::now() + self.patience;
        loop {
            let found = store::find(self.place_order.database.read(), order_id).await?;
            let order = found
                .ok_or_else(|| Error::UnknownOrder(order_id.to_owned()))?
                .order;
            let (outcome, _) = answer(order.clone());
            if let Some(outcome) = outcome {
                self.keep(call, &outcome).await?;
                return outcome.replay();
            }
            if Instant::now() >= end {
                return Ok(Response::new(order));
            }
            sleep(LOOK).await;
        }
    }

    async fn keep(&self, call: &Call, outcome: &Outcome) -> Result<(), Failure> {
        let work = |tx: Arc<Transaction>| async move {
            self.keys
                .finish(&tx, call, outcome)
                .await
                .map_err(Failure::from)
        };
        self.place_order.database.write(work).await
    }

    async fn page(
        &self,
        user_id: u32,
        request: ListOrdersRequest,
    ) -> Result<ListOrdersResponse, Status> {
        let list = List::new(
            "shop.orders.v1.OrderService/ListOrders",
            &ListOrdersRequest::default(),
        );
        let now = self.place_order.now();
        let page = self
            .tokens
            .read(&list, request.page_size, &request.page_token, now)?;
        let below = page.after.map(|number| number.parse()).transpose();
        let below = below.map_err(|error| Failure::internal(&error))?;
        // One more than asked tells whether there is a next page.
        let limit = u64::from(page.size) + 1;
        let conn = self.place_order.database.read();
        let mut orders = store::list(conn, user_id, below, limit).await?;
        let more = orders.len() as u64 == limit;
        orders.truncate(page.size as usize);
        let next_page_token = match orders.last() {
            Some(last) if more => self.tokens.next(&list, &last.order_number.to_string(), now),
            Some(_) | None => String::new(),
        };
        Ok(ListOrdersResponse {
            orders,
            next_page_token,
        })
    }
}

#[tonic::async_trait]
impl OrderService for Orders {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        let user_id = Caller::of(&request)?.user()?.user_id;
        let call = Call::of(&request)?
            .ok_or_else(|| Failure::internal(&"a required key was not required"))?;
        let submitted = self.decode(user_id, request.into_inner())?;
        self.place(&call, submitted).await
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        let user_id = Caller::of(&request)?.user()?.user_id;
        let request = request.into_inner();
        let conn = self.place_order.database.read();
        let unknown = || Error::UnknownOrder(request.order_id.clone());
        let order = store::find_of_user(conn, user_id, &request.order_id)
            .await?
            .ok_or_else(unknown)?;
        let Some(as_of) = request.as_of else {
            return Ok(Response::new(order));
        };
        let as_of = jiff::Timestamp::new(as_of.seconds, as_of.nanos)
            .map_err(|error| Failure::field("as_of", error.to_string()))?;
        let then = store::find_as_of(conn, &request.order_id, as_of)
            .await?
            .ok_or_else(unknown)?;
        Ok(Response::new(then))
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        let user_id = Caller::of(&request)?.user()?.user_id;
        let page = self.page(user_id, request.into_inner()).await?;
        Ok(Response::new(page))
    }
}

impl Orders {
    fn decode(&self, user_id: u32, request: PlaceOrderRequest) -> Result<OrderSubmitted, Failure> {
        if request.shipping_method() == shipping::Method::Express {
            return Err(Failure::field(
                "shipping_method",
                "EXPRESS is not offered yet; leave it out or ask for STANDARD",
            ));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = request
            .items
            .iter()
            .position(|item| !seen.insert(&item.product_id))
        {
            return Err(Failure::field(
                format!("items[{twice}].product_id"),
                "each product once; add its quantities",
            ));
        }
        let items = request.items.into_iter().map(|item| order_submitted::Item {
            product_id: item.product_id,
            quantity: item.quantity,
            claimed_price: item.price,
        });
        let mut submitted = OrderSubmitted {
            user_id,
            items: items.collect(),
            shipping_address_id: request.shipping_address_id,
            payment_method: request.payment_method,
            time: Some(to_proto(self.place_order.now())),
            ..OrderSubmitted::default()
        };
        submitted.set_shipping_method(shipping::Method::Standard);
        Ok(submitted)
    }
}

/// What an order's state is answered with, and what is kept for those who ask again; nothing while it is open.
fn answer(order: Order) -> (Option<Outcome>, Result<Response<Order>, Status>) {
    match (order.state(), &order.rejection) {
        (order::State::Rejected, Some(rejection)) => {
            let failure = rejected(&order, rejection);
            (Some(Outcome::refused(&failure)), Err(failure.into()))
        }
        (order::State::Pending, _) => (None, Ok(Response::new(order))),
        _ => (Some(Outcome::of(&order)), Ok(Response::new(order))),
    }
}
