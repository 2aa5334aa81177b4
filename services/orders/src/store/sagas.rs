//! Sagas in the database. Whoever drives one holds its lease; every write names the lease's epoch, so that a driver
//! whose lease was taken over stops at its next write instead of doing the work twice.

use jiff::{SignedDuration, Timestamp};
use outrigger_proto::shop::orders::v1::order::Rejection;
use prost::Message;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect,
};

use super::entity::{saga, saga_step};
use crate::error::Error;
use crate::saga::{Direction, State, Step, StepState};

const PLACE_ORDER: &str = "PlaceOrder";
const DEFINITION: i64 = 1;
/// Renewed by every write; longer than any single step may take.
const LEASE: SignedDuration = SignedDuration::from_secs(30);

/// A process that drives sagas: the instance's name, and which of its lives this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    instance: String,
    life: String,
}

/// The right to drive one saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The order.
    pub saga_id: String,
    epoch: i64,
}

/// A saga as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Saga {
    /// How far it has come.
    pub state: State,
    /// The step it was last at; `None` before the first.
    pub step: Option<Step>,
    /// The decided outcome, if the order was given up.
    pub rejection: Option<Rejection>,
    /// How often its undoing was tried.
    pub attempts: u32,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq)]
pub struct StepResult {
    /// Which step.
    pub step: Step,
    /// Doing or undoing.
    pub direction: Direction,
    /// How.
    pub state: StepState,
    /// The participant's answer, encoded; empty for none.
    pub response: Vec<u8>,
    /// What went wrong; empty for nothing.
    pub error: String,
    /// How often it was asked.
    pub attempts: u32,
}

impl Owner {
    /// One life of an instance.
    pub fn new(instance: &str, life: String) -> Self {
        Self {
            instance: instance.to_owned(),
            life,
        }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.instance, self.life)
    }
}

/// Begins the saga of an order and takes its lease.
pub async fn begin(
    conn: &impl ConnectionTrait,
    now: Timestamp,
    owner: &Owner,
    order_id: &str,
    deadline: Timestamp,
) -> Result<Lease, Error> {
    let at = now.as_microsecond();
    saga::Entity::insert(saga::ActiveModel {
        saga_id: Set(order_id.to_owned()),
        kind: Set(PLACE_ORDER.to_owned()),
        def_version: Set(DEFINITION),
        state: Set(State::Running.name().to_owned()),
        step: Set(String::new()),
        deadline_at: Set(deadline.as_microsecond()),
        next_run_at: Set(at),
        lease_owner: Set(owner.name()),
        lease_epoch: Set(1),
        lease_until: Set((now + LEASE).as_microsecond()),
        attempts: Set(0),
        last_error: Set(String::new()),
        ctx: Set(Vec::new()),
        created_at: Set(at),
        updated_at: Set(at),
    })
    .exec_without_returning(conn)
    .await?;
    Ok(Lease {
        saga_id: order_id.to_owned(),
        epoch: 1,
    })
}

/// The saga of an order.
pub async fn find(conn: &impl ConnectionTrait, order_id: &str) -> Result<Option<Saga>, Error> {
    let row = saga::Entity::find_by_id(order_id).one(conn).await?;
    row.map(TryInto::try_into).transpose()
}

/// How far each step of a saga has come.
pub async fn steps(
    conn: &impl ConnectionTrait,
    order_id: &str,
) -> Result<Vec<(Step, Direction, StepState)>, Error> {
    let rows = saga_step::Entity::find()
        .filter(saga_step::Column::SagaId.eq(order_id))
        .all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            let direction = if row.direction == Direction::Forward.name() {
                Direction::Forward
            } else {
                Direction::Undo
            };
            Ok((row.step.parse()?, direction, row.state.parse()?))
        })
        .collect()
}

/// Sagas that nobody drives and that are due: their lease ran out, or belonged to an earlier life of this instance.
pub async fn find_abandoned(
    conn: &impl ConnectionTrait,
    now: Timestamp,
    owner: &Owner,
    limit: u64,
) -> Result<Vec<String>, Error> {
    let rows = saga::Entity::find()
        .filter(unfinished())
        .filter(saga::Column::NextRunAt.lte(now.as_microsecond()))
        .filter(free(now, owner))
        .order_by_asc(saga::Column::NextRunAt)
        .limit(limit)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.saga_id).collect())
}

/// Takes over an abandoned saga; `None` if somebody else did.
pub async fn claim(
    conn: &impl ConnectionTrait,
    now: Timestamp,
    owner: &Owner,
    saga_id: &str,
) -> Result<Option<Lease>, Error> {
    let taken = saga::Entity::update_many()
        .col_expr(
            saga::Column::LeaseEpoch,
            Expr::col(saga::Column::LeaseEpoch).add(1),
        )
        .col_expr(saga::Column::LeaseOwner, Expr::value(owner.name()))
        .col_expr(
            saga::Column::LeaseUntil,
            Expr::value((now + LEASE).as_microsecond()),
        )
        .filter(saga::Column::SagaId.eq(saga_id))
        .filter(unfinished())
        .filter(free(now, owner))
        .exec(conn)
        .await?
        .rows_affected;
    if taken == 0 {
        return Ok(None);
    }
    let row = saga::Entity::find_by_id(saga_id).one(conn).await?;
    Ok(row.map(|row| Lease {
        saga_id: row.saga_id,
        epoch: row.lease_epoch,
    }))
}

/// Records that a step's request, these bytes under this key, is about to leave.
pub async fn intend(
    conn: &impl ConnectionTrait,
    now: Timestamp,
    lease: &Lease,
    (step, direction): (Step, Direction),
    request: Vec<u8>,
) -> Result<(), Error> {
    fence(conn, now, lease)
        .col_expr(saga::Column::Step, Expr::value(step.name()))
        .exec(conn)
        .await
        .map_err(Error::from)
        .and_then(|result| still_ours(&result))?;
    saga_step::Entity::insert(saga_step::ActiveModel {
        saga_id: Set(lease.saga_id.clone()),
        step: Set(step.name().to_owned()),
        direction: Set(direction.name().to_owned()),
        state: Set(StepState::Intent.name().to_owned()),
        idem_key: Set(crate::saga::key(&lease.saga_id, step, direction)),
        request: Set(request),
        response: Set(Vec::new()),
        error: Set(String::new()),
        attempts: Set(0),
        started_at: Set(now.as_microsecond()),
        finished_at: Set(None),
    })
    .on_conflict(
        // Only undoing comes back to a step it began before.
        OnConflict::columns([
            saga_step::Column::SagaId,
            saga_step::Column::Step,
            saga_step::Column::Direction,
        ])
        .update_column(saga_step::Column::State)
        .to_owned(),
    )
    .exec_without_returning(conn)
    .await?;
    Ok(())
}

/// Records how a step ended.
pub async fn record(
    conn: &impl ConnectionTrait,
    now: Timestamp,
    lease: &Lease,
    result: &StepResult,
) -> Result<(), Error> {
    fence(conn, now, lease)
        .exec(conn)
        .await
        .map_err(Error::from)
        .and_then(|result| still_ours(&result))?;
    saga_step::Entity::update_many()
        .col_expr(saga_step::Column::State, Expr::value(result.state.name()))
        .col_expr(
            saga_step::Column::Response,
            Expr::value(result.response.clone()),
        )
        .col_expr(saga_step::Column::Error, Expr::value(&result.error))
        .col_expr(
            saga_step::Column::Attempts,
            Expr::col(saga_step::Column::Attempts).add(i64::from(result.attempts)),
        )
        .col_expr(
            saga_step::Column::FinishedAt,
            Expr::value(Some(now.as_microsecond())),
        )
        .filter(saga_step::Column::SagaId.eq(&lease.saga_id))
        .filter(saga_step::Column::Step.eq(result.step.name()))
        .filter(saga_step::Column::Direction.eq(result.direction.name()))
        .exec(conn)
        .await?;
    Ok(())
}

/// The order is given up: from here on there is only undoing.
pub async fn give_up(
    conn: &impl ConnectionTrait,
    now: Timestamp,
    lease: &Lease,
    rejection: &Rejection,
) -> Result<(), Error> {
    fence(conn, now, lease)
        .col_expr(saga::Column::State, Expr::value(State::Compensating.name()))
        .col_expr(saga::Column::Ctx, Expr::value(rejection.encode_to_vec()))
        .exec(conn)
        .await
        .map_err(Error::from)
        .and_then(|result| still_ours(&result))
}

/// Everything was done, or undone.
pub async fn finish(
    conn: &impl ConnectionTrait,
    now: Timestamp,
    lease: &Lease,
    state: State,
) -> Result<(), Error> {
    fence(conn, now, lease)
        .col_expr(saga::Column::State, Expr::value(state.name()))
        .exec(conn)
        .await
        .map_err(Error::from)
        .and_then(|result| still_ours(&result))
}

/// Undoing did not succeed now: let the lease go and try again at that time.
pub async fn postpone(
    conn: &impl ConnectionTrait,
    now: Timestamp,
    lease: &Lease,
    until: Timestamp,
    error: &str,
) -> Result<(), Error> {
    fence(conn, now, lease)
        .col_expr(saga::Column::NextRunAt, Expr::value(until.as_microsecond()))
        .col_expr(saga::Column::LeaseUntil, Expr::value(now.as_microsecond()))
        .col_expr(
            saga::Column::Attempts,
            Expr::col(saga::Column::Attempts).add(1),
        )
        .col_expr(saga::Column::LastError, Expr::value(error))
        .exec(conn)
        .await
        .map_err(Error::from)
        .and_then(|result| still_ours(&result))
}

/// An update of the saga that only its owner can make, and that renews the lease.
fn fence(
    _conn: &impl ConnectionTrait,
    now: Timestamp,
    lease: &Lease,
) -> sea_orm::UpdateMany<saga::Entity> {
    saga::Entity::update_many()
        .col_expr(
            saga::Column::LeaseUntil,
            Expr::value((now + LEASE).as_microsecond()),
        )
        .col_expr(saga::Column::UpdatedAt, Expr::value(now.as_microsecond()))
        .filter(saga::Column::SagaId.eq(&lease.saga_id))
        .filter(saga::Column::LeaseEpoch.eq(lease.epoch))
}

fn still_ours(result: &sea_orm::UpdateResult) -> Result<(), Error> {
    if result.rows_affected == 0 {
        return Err(Error::LeaseLost);
    }
    Ok(())
}

fn unfinished() -> Condition {
    Condition::all()
        .add(saga::Column::State.is_in([State::Running.name(), State::Compensating.name()]))
}

fn free(now: Timestamp, owner: &Owner) -> Condition {
    Condition::any()
        .add(saga::Column::LeaseUntil.lte(now.as_microsecond()))
        .add(
            saga::Column::LeaseOwner
                .starts_with(format!("{}/", owner.instance))
                .and(saga::Column::LeaseOwner.ne(owner.name())),
        )
}

impl TryFrom<saga::Model> for Saga {
    type Error = Error;

    fn try_from(row: saga::Model) -> Result<Self, Error> {
        let rejection = if row.ctx.is_empty() {
            None
        } else {
            Some(Rejection::decode(row.ctx.as_slice())?)
        };
        Ok(Self {
            state: row.state.parse()?,
            step: (!row.step.is_empty())
                .then(|| row.step.parse())
                .transpose()?,
            rejection,
            attempts: u32::try_from(row.attempts)?,
        })
    }
}
