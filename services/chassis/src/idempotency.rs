//! One effect per key, and the same answer again. The services do this, not
//! the gateway, because a gRPC client may come straight to them.
//!
//! The key arrives as metadata `idempotency-key` or in the method's key field.
//! Its row is written in the transaction of the effect; the row's fingerprint
//! is the SHA-256 of the request's deterministic bytes without the key, so
//! JSON, field order and protocol make no difference. A key belongs to its
//! user, or to the calling service.
//!
//! `Idempotency::once` is for an effect of one transaction. A longer one says
//! `Idempotency::begin` and `Idempotency::bind` in its first
//! transaction and `Idempotency::finish` in its last.

mod fingerprint;
mod key;
mod outcome;
mod table;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prost::Message;
use sea_orm::TransactionTrait as _;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

pub use key::Call;
pub use outcome::Outcome;
pub use table::Migration;

use crate::Failure;
use crate::clock::Clock;
use crate::context::Context;
use crate::database::{Database, Error, Transaction};

/// How long a repeated call waits for the first one.
const WAIT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);
/// How long a RUNNING row keeps others away; then its owner counts as dead.
const LEASE: SignedDuration = SignedDuration::from_secs(30);

/// The keys of one service.
#[derive(Clone, Debug)]
pub struct Idempotency {
    clock: Arc<dyn Clock>,
    retention: SignedDuration,
}

/// Where a call with a key stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Begin {
    /// It is the first: run it.
    First,
    /// The first one runs elsewhere, or died less than a lease ago.
    Running,
    /// The first one made this resource; its outcome is open.
    Bound(String),
    /// This was its outcome.
    Done(Outcome),
}

enum Answer<R> {
    Fresh(R),
    Refused(Failure),
    Again(Outcome),
    Busy,
}

impl Idempotency {
    /// Keys are remembered for `retention`: 24 hours, or 30 days for money.
    pub fn new(clock: Arc<dyn Clock>, retention: SignedDuration) -> Self {
        Self { clock, retention }
    }

    /// Runs `work` in one transaction, once per key. A repeated call gets the
    /// stored answer with metadata `idempotent-replayed: true`; a definite
    /// refusal is an answer too, what may succeed later is not kept. A call
    /// without a key just runs.
    pub async fn once<T, R, E, F, W>(
        &self,
        db: &Database,
        request: &Request<T>,
        work: F,
    ) -> Result<Response<R>, Status>
    where
        R: Message + Default,
        E: From<Error> + Into<Failure>,
        F: Fn(Arc<Transaction>) -> W,
        W: Future<Output = Result<R, E>>,
    {
        let Some(call) = Call::of(request)? else {
            let run = |tx| async { work(tx).await.map_err(Into::into) };
            return Ok(Response::new(db.write::<_, Failure, _, _>(run).await?));
        };
        let patience = Patience::new();
        loop {
            let run = |tx: Arc<Transaction>| {
                let (call, work) = (&call, &work);
                async move { self.attempt(&tx, call, work).await }
            };
            match db.write::<_, Failure, _, _>(run).await? {
                Answer::Fresh(response) => return Ok(Response::new(response)),
                Answer::Refused(failure) => return Err(failure.into()),
                Answer::Again(outcome) => return outcome.replay(),
                Answer::Busy => patience.wait().await?,
            }
        }
    }

    async fn attempt<R, E, F, W>(
        &self,
        tx: &Transaction,
        call: &Call,
        work: &F,
    ) -> Result<Answer<R>, Failure>
    where
        R: Message + Default,
        E: From<Error> + Into<Failure>,
        F: Fn(Arc<Transaction>) -> W,
        W: Future<Output = Result<R, E>>,
    {
        match self.begin(tx, call).await? {
            Begin::First => {}
            Begin::Running | Begin::Bound(_) => return Ok(Answer::Busy),
            Begin::Done(outcome) => return Ok(Answer::Again(outcome)),
        }
        // A savepoint, so that a refusal is kept without half an effect.
        let effect = Arc::new(tx.begin().await.map_err(Error::from)?);
        let worked = work(Arc::clone(&effect)).await.map_err(Into::into);
        let effect = Arc::into_inner(effect).expect("the work's handle went with its future");
        match worked {
            Ok(response) => {
                effect.commit().await.map_err(Error::from)?;
                self.finish(tx, call, &Outcome::of(&response)).await?;
                Ok(Answer::Fresh(response))
            }
            Err(failure) if outcome::is_definite(&failure) => {
                effect.rollback().await.map_err(Error::from)?;
                self.finish(tx, call, &Outcome::refused(&failure)).await?;
                Ok(Answer::Refused(failure))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Takes the key, or says who has it. Rows that have expired go.
    pub async fn begin(&self, tx: &Transaction, call: &Call) -> Result<Begin, Failure> {
        let now = self.clock.now();
        table::expire(tx, now).await?;
        let taken = match table::insert(tx, call, now, now + LEASE, self.expiry(now)).await {
            // PostgreSQL: the first one's transaction is still open.
            Err(Error::Locked(_)) => return Err(in_progress()),
            taken => taken?,
        };
        if taken {
            return Ok(Begin::First);
        }
        let Some(row) = table::find(tx, call).await? else {
            // Gone between the two statements: its owner gave it up.
            return Ok(Begin::Running);
        };
        if row.fingerprint != call.fingerprint() {
            return Err(key::reused());
        }
        row.state(tx, call, now, now + LEASE).await
    }

    /// The resource exists now; whoever repeats the call finds it.
    pub async fn bind(&self, tx: &Transaction, call: &Call, resource: &str) -> Result<(), Error> {
        table::bind(tx, call, resource).await
    }

    /// Keeps the outcome for those who repeat the call.
    pub async fn finish(
        &self,
        tx: &Transaction,
        call: &Call,
        outcome: &Outcome,
    ) -> Result<(), Error> {
        table::finish(tx, call, outcome).await
    }

    /// Gives the key back: the call came to nothing and may be made again.
    pub async fn release(&self, tx: &Transaction, call: &Call) -> Result<(), Error> {
        table::release(tx, call).await
    }

    fn expiry(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.retention).unwrap_or(Timestamp::MAX)
    }
}

/// Waits for the first call, up to one second or the caller's deadline.
#[derive(Debug)]
pub struct Patience(Instant);

impl Patience {
    pub fn new() -> Self {
        let limit = Instant::now() + WAIT;
        Self(
            Context::current()
                .deadline()
                .map_or(limit, |deadline| deadline.min(limit)),
        )
    }

    /// A pause before looking again, or `IDEMPOTENCY_IN_PROGRESS`.
    pub async fn wait(&self) -> Result<(), Failure> {
        if Instant::now() + POLL > self.0 {
            return Err(in_progress());
        }
        tokio::time::sleep(POLL).await;
        Ok(())
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

/// The first call with this key has not ended yet.
pub fn in_progress() -> Failure {
    Failure::new(
        Code::Aborted,
        "IDEMPOTENCY_IN_PROGRESS",
        "the first request with this idempotency key is still running",
    )
    .retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests;
