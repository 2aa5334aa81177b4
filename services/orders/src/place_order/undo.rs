//! Undoing: one call a resource, safe whether or not the doing ever arrived. It leaves a tombstone, so that a doing
//! that arrives late is refused.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use outrigger_proto::shop::inventory::v1::ReleaseReservationRequest;
use outrigger_proto::shop::payments::v1::CancelPaymentRequest;
use prost::Message;
use rand::RngExt as _;
use shop_chassis::{Transaction, failpoint};

use super::PlaceOrder;
use super::ask::{self, Answer, Asked};
use crate::error::Error;
use crate::saga::{Direction, Resource, StepState};
use crate::store::sagas::{self, Lease, StepResult};

const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

impl PlaceOrder {
    /// Undoes one resource; the error if nobody knows whether it was undone.
    pub(super) async fn undo(
        &self,
        lease: &Lease,
        resource: Resource,
    ) -> Result<Option<String>, Error> {
        let step = (resource.step(), Direction::Undo);
        let asked = match resource {
            Resource::Payment => self.cancel(lease).await?,
            Resource::Reservation => self.release(lease).await?,
        };
        failpoint::reached(&format!("orders.{}.undo.c", step.0));
        let (state, error) = match asked.answer {
            Asked::Done(()) => (StepState::Undone, None),
            Asked::Refused(refusal) => (StepState::Unknown, Some(refusal.reason)),
            Asked::Unknown(error) => (StepState::Unknown, Some(error)),
        };
        let result = StepResult {
            step: step.0,
            direction: step.1,
            state,
            response: Vec::new(),
            error: error.clone().unwrap_or_default(),
            attempts: asked.attempts,
        };
        self.record(lease, &result).await?;
        Ok(error)
    }

    /// Voids or refunds.
    pub(super) async fn cancel(&self, lease: &Lease) -> Result<Answer<()>, Error> {
        let request = CancelPaymentRequest {
            order_id: lease.saga_id.clone(),
        };
        self.intend_undo(lease, Resource::Payment, &request).await?;
        let call = |request| {
            let peers = self.peers.clone();
            async move { peers.cancel(request).await.map(|_| ()) }
        };
        Ok(ask::until_definite(&request, self.step_timeout, call).await)
    }

    /// Gives the goods back.
    pub(super) async fn release(&self, lease: &Lease) -> Result<Answer<()>, Error> {
        let request = ReleaseReservationRequest {
            order_id: lease.saga_id.clone(),
        };
        self.intend_undo(lease, Resource::Reservation, &request)
            .await?;
        let call = |request| {
            let peers = self.peers.clone();
            async move { peers.release(request).await.map(|_| ()) }
        };
        Ok(ask::until_definite(&request, self.step_timeout, call).await)
    }

    async fn intend_undo(
        &self,
        lease: &Lease,
        resource: Resource,
        request: &impl Message,
    ) -> Result<(), Error> {
        let step = (resource.step(), Direction::Undo);
        self.intend(lease, step, request.encode_to_vec()).await?;
        failpoint::reached(&format!("orders.{}.undo.a", step.0));
        Ok(())
    }

    /// Lets the saga go; recovery takes it up again, at first soon and then ever later.
    pub(super) async fn postpone(&self, lease: &Lease, error: &str) -> Result<(), Error> {
        let saga = sagas::find(self.database.read(), &lease.saga_id).await?;
        let tried = saga.map_or(0, |saga| saga.attempts);
        let ceiling = SHORTEST_WAIT
            .saturating_mul(1 << tried.min(16))
            .min(LONGEST_WAIT);
        let wait = ceiling.mul_f64(rand::rng().random_range(0.5..1.0));
        let now = self.clock.now();
        let until = now + SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_mins(5));
        tracing::warn!(
            order_id = lease.saga_id,
            error,
            tried,
            "an undoing must wait"
        );
        let work = |tx: Arc<Transaction>| async move {
            sagas::postpone(&*tx, now, lease, until, error).await
        };
        self.database.write(work).await
    }
}
