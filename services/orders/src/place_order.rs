//! Placing an order: submit, quote, reserve, authorise, secure, capture, confirm. A step's request is on disk before
//! it leaves, its outcome before the next one leaves. When a step is refused, or gives no definite answer within its
//! time, what was begun is undone, latest first, and the order is rejected.
//!
//! Whoever drives the saga holds its lease; every write names it, so that of two drivers one stops.

mod ask;
mod quote;
mod undo;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use outrigger_proto::shop::inventory::v1::{
    ConfirmReservationRequest, CreateReservationRequest, reservation,
};
use outrigger_proto::shop::orders::v1::order::{Payment, Rejection};
use outrigger_proto::shop::orders::v1::{
    OrderConfirmed, OrderPriced, OrderRejected, OrderSubmitted,
};
use outrigger_proto::shop::payments::v1::{
    self as payments, CapturePaymentRequest, CreatePaymentRequest,
};
use prost::Message;
use shop_chassis::{Clock, Database, Ids, Transaction, failpoint};
use tonic::{Request, Status};

use crate::error::Error;
use crate::order::{Event, Versioned};
use crate::peers::Peers;
use crate::saga::{self, Direction, State, Step, StepState};
use crate::store;
use crate::store::sagas::{self, Lease, Owner, StepResult};
use ask::Asked;

/// No order runs longer.
const DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// What placing orders needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PlaceOrder {
    /// Ours; it was migrated.
    pub database: Database,
    /// The services that hold goods and money.
    pub peers: Peers,
    /// The time of what is written.
    pub clock: Arc<dyn Clock>,
    /// The ids of new orders.
    pub ids: Arc<dyn Ids>,
    /// This process, as the holder of leases.
    pub owner: Owner,
    /// How long a step may go without a definite answer.
    pub step_timeout: Duration,
}

/// An order being placed, and the right to place it.
#[derive(Debug, Clone)]
pub struct Placing {
    /// The right.
    pub lease: Lease,
    /// The order so far.
    pub order: Versioned,
    /// What was asked for.
    pub submitted: OrderSubmitted,
}

/// The order is to be rejected for this.
type Outcome<T> = Result<Result<T, Rejection>, Error>;

impl PlaceOrder {
    /// The first transaction: the order exists from here on, and its saga is ours. `submitted` without id and number.
    pub async fn submit(
        &self,
        tx: &Transaction,
        mut submitted: OrderSubmitted,
    ) -> Result<Placing, Error> {
        failpoint::reached("orders.submit.before");
        let now = self.clock.now();
        submitted.order_id = self.ids.uuid().to_string();
        submitted.order_number = store::next_number(tx).await?;
        let event = Event::Submitted(submitted.clone());
        let order = store::append(tx, now, None, &event).await?;
        let deadline = now + DEADLINE;
        let lease = sagas::begin(tx, now, &self.owner, &submitted.order_id, deadline).await?;
        Ok(Placing {
            lease,
            order,
            submitted,
        })
    }

    /// Runs a submitted order to its outcome: CONFIRMED, REJECTED, or still PENDING when an undoing must wait.
    pub async fn run(&self, mut placing: Placing) -> Result<Versioned, Error> {
        failpoint::reached("orders.submit.after");
        match self.forward(&mut placing).await? {
            Ok(payment) => self.confirm(placing, payment).await,
            Err(rejection) => self.give_up(placing.lease, placing.order, rejection).await,
        }
    }

    async fn forward(&self, placing: &mut Placing) -> Outcome<payments::Payment> {
        let priced = match self.quote(placing).await? {
            Ok(priced) => priced,
            Err(rejection) => return Ok(Err(rejection)),
        };
        self.freeze(placing, priced.clone()).await?;
        if let Err(rejection) = self.reserve(placing).await? {
            return Ok(Err(rejection));
        }
        if let Err(rejection) = self.authorize(placing, &priced).await? {
            return Ok(Err(rejection));
        }
        if let Err(rejection) = self.secure(placing).await? {
            return Ok(Err(rejection));
        }
        self.capture(placing).await
    }

    /// Prices are part of the order from here on, whatever the catalogue says later.
    async fn freeze(&self, placing: &mut Placing, priced: OrderPriced) -> Result<(), Error> {
        let (now, before) = (self.clock.now(), &placing.order);
        let event = &Event::Priced(priced);
        let work = |tx: Arc<Transaction>| async move {
            store::append(&*tx, now, Some(before.clone()), event).await
        };
        placing.order = self.database.write(work).await?;
        Ok(())
    }

    /// Undone by [`PlaceOrder::release`].
    async fn reserve(&self, placing: &Placing) -> Outcome<()> {
        let lines = placing
            .submitted
            .items
            .iter()
            .map(|item| reservation::Line {
                sku: item.product_id.clone(),
                quantity: item.quantity,
            });
        let request = CreateReservationRequest {
            order_id: placing.lease.saga_id.clone(),
            lines: lines.collect(),
            ttl: None,
        };
        let call = |request| self.peers.clone().reserve(request);
        let held = self
            .step(&placing.lease, Step::Reserve, request, call)
            .await?;
        Ok(held.map(|_| ()))
    }

    /// Undone by [`PlaceOrder::cancel`].
    async fn authorize(&self, placing: &Placing, priced: &OrderPriced) -> Outcome<()> {
        let order_id = placing.lease.saga_id.clone();
        let request = CreatePaymentRequest {
            idempotency_key: saga::key(&order_id, Step::Authorize, Direction::Forward),
            order_id,
            user_id: placing.submitted.user_id,
            amount: priced.total.clone(),
            payment_method: placing.submitted.payment_method.clone(),
            capture: false,
        };
        let call = |request| self.peers.clone().authorize(request);
        let held = self
            .step(&placing.lease, Step::Authorize, request, call)
            .await?;
        Ok(held.map(|_| ()))
    }

    /// Undone by [`PlaceOrder::release`].
    async fn secure(&self, placing: &Placing) -> Outcome<()> {
        let order_id = placing.lease.saga_id.clone();
        let call = |request| self.peers.clone().secure(request);
        let request = ConfirmReservationRequest { order_id };
        let held = self
            .step(&placing.lease, Step::Secure, request, call)
            .await?;
        Ok(held.map(|_| ()))
    }

    /// Undone by [`PlaceOrder::cancel`].
    async fn capture(&self, placing: &Placing) -> Outcome<payments::Payment> {
        let order_id = placing.lease.saga_id.clone();
        let call = |request| self.peers.clone().capture(request);
        let request = CapturePaymentRequest { order_id };
        self.step(&placing.lease, Step::Capture, request, call)
            .await
    }

    /// The last transaction, and the point of no return.
    async fn confirm(
        &self,
        placing: Placing,
        payment: payments::Payment,
    ) -> Result<Versioned, Error> {
        failpoint::reached("orders.confirm.before");
        let (now, lease, before) = (self.clock.now(), &placing.lease, &placing.order);
        let event = &Event::Confirmed(OrderConfirmed {
            order_id: lease.saga_id.clone(),
            payment: Some(Payment {
                payment_method: placing.submitted.payment_method.clone(),
                brand: payment.brand,
                last4: payment.last4,
                transaction_id: payment.transaction_id,
            }),
        });
        let work = |tx: Arc<Transaction>| async move {
            sagas::finish(&*tx, now, lease, State::Succeeded).await?;
            store::append(&*tx, now, Some(before.clone()), event).await
        };
        let order = self.database.write(work).await?;
        failpoint::reached("orders.confirm.after");
        Ok(order)
    }

    /// From here on there is only undoing.
    pub(crate) async fn give_up(
        &self,
        lease: Lease,
        order: Versioned,
        rejection: Rejection,
    ) -> Result<Versioned, Error> {
        let (now, kept, reason) = (self.clock.now(), &lease, &rejection);
        let work =
            |tx: Arc<Transaction>| async move { sagas::give_up(&*tx, now, kept, reason).await };
        self.database.write(work).await?;
        tracing::info!(
            order_id = lease.saga_id,
            reason = rejection.reason,
            "order is being undone"
        );
        self.compensate(lease, order, rejection).await
    }

    /// Undoes what is owed, then rejects the order. An undoing without a definite answer is tried again later.
    pub(crate) async fn compensate(
        &self,
        lease: Lease,
        order: Versioned,
        rejection: Rejection,
    ) -> Result<Versioned, Error> {
        let steps = sagas::steps(self.database.read(), &lease.saga_id).await?;
        for resource in saga::owed(&steps) {
            if let Some(error) = self.undo(&lease, resource).await? {
                self.postpone(&lease, &error).await?;
                return Ok(order);
            }
        }
        self.reject(&lease, order, rejection).await
    }

    async fn reject(
        &self,
        lease: &Lease,
        order: Versioned,
        rejection: Rejection,
    ) -> Result<Versioned, Error> {
        failpoint::reached("orders.reject.before");
        let (now, before) = (self.clock.now(), &order);
        let event = &Event::Rejected(OrderRejected {
            order_id: lease.saga_id.clone(),
            user_id: order.order.user_id,
            rejection: Some(rejection),
        });
        let work = |tx: Arc<Transaction>| async move {
            sagas::finish(&*tx, now, lease, State::Compensated).await?;
            store::append(&*tx, now, Some(before.clone()), event).await
        };
        let order = self.database.write(work).await?;
        failpoint::reached("orders.reject.after");
        Ok(order)
    }

    /// One remote step: intent, request, outcome.
    async fn step<Q, A, F, R>(&self, lease: &Lease, step: Step, request: Q, call: F) -> Outcome<A>
    where
        Q: Message + Clone,
        A: Message,
        F: Fn(Request<Q>) -> R,
        R: Future<Output = Result<A, Status>>,
    {
        let taken = (step, Direction::Forward);
        self.intend(lease, taken, request.encode_to_vec()).await?;
        failpoint::reached(&format!("orders.{step}.a"));
        let asked = ask::until_definite(&request, self.step_timeout, call).await;
        failpoint::reached(&format!("orders.{step}.c"));
        let attempts = asked.attempts;
        let (state, response, error, outcome) = match asked.answer {
            Asked::Done(answer) => {
                let response = answer.encode_to_vec();
                (StepState::Done, response, String::new(), Ok(answer))
            }
            Asked::Refused(refusal) => {
                let error = refusal.reason.clone();
                (StepState::Refused, Vec::new(), error, Err(refusal))
            }
            Asked::Unknown(error) => (
                StepState::Unknown,
                Vec::new(),
                error,
                Err(saga::given_up(step)),
            ),
        };
        let result = StepResult {
            step,
            direction: Direction::Forward,
            state,
            response,
            error,
            attempts,
        };
        self.record(lease, &result).await?;
        Ok(outcome)
    }

    async fn intend(
        &self,
        lease: &Lease,
        step: (Step, Direction),
        request: Vec<u8>,
    ) -> Result<(), Error> {
        let (now, request) = (self.clock.now(), &request);
        let work = |tx: Arc<Transaction>| async move {
            sagas::intend(&*tx, now, lease, step, request.clone()).await
        };
        self.database.write(work).await
    }

    async fn record(&self, lease: &Lease, result: &StepResult) -> Result<(), Error> {
        let now = self.clock.now();
        let work =
            |tx: Arc<Transaction>| async move { sagas::record(&*tx, now, lease, result).await };
        self.database.write(work).await
    }

    /// The present, for what is not written here.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
