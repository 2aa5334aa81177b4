//! The table `idempotency_keys`. Part of every service's migrations that has
//! methods with keys.

use async_trait::async_trait;
use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, DbBackend, Set, TryInsertResult};
use sea_orm_migration::prelude::{
    ColumnDef, Index, MigrationName, MigrationTrait, SchemaManager, Table,
};
use tonic::Code;

use super::{Begin, Call, Outcome};
use crate::Failure;
use crate::database::{Error, Transaction};

const RUNNING: &str = "RUNNING";
const BOUND: &str = "BOUND";
const DONE: &str = "DONE";

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub(super) struct Model {
    /// Whose key it is.
    #[sea_orm(primary_key, auto_increment = false)]
    pub principal: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub method: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    pub fingerprint: Vec<u8>,
    pub state: String,
    pub response: Option<Vec<u8>>,
    pub status: Option<i32>,
    pub resource: Option<String>,
    /// Microseconds since 1970, like all times here.
    pub locked_until: i64,
    pub created_at: i64,
    pub expires_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(super) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Creates the table.
#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "chassis_0001_idempotency_keys"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait's own signature hides it"
)]
#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let text = |column: Column| ColumnDef::new(column).text().take();
        let required = |column: Column| text(column).not_null().take();
        let number = |column: Column| ColumnDef::new(column).big_integer().not_null().take();
        let mut primary = Index::create();
        primary
            .col(Column::Principal)
            .col(Column::Method)
            .col(Column::Key);
        let table = Table::create()
            .table(Entity)
            .col(required(Column::Principal))
            .col(required(Column::Method))
            .col(required(Column::Key))
            .col(ColumnDef::new(Column::Fingerprint).blob().not_null())
            .col(required(Column::State))
            .col(ColumnDef::new(Column::Response).blob())
            .col(ColumnDef::new(Column::Status).integer())
            .col(text(Column::Resource))
            .col(number(Column::LockedUntil))
            .col(number(Column::CreatedAt))
            .col(number(Column::ExpiresAt))
            .primary_key(&mut primary)
            .take();
        manager.create_table(table).await?;
        let expiry = Index::create()
            .name("idempotency_keys_by_expiry")
            .table(Entity)
            .col(Column::ExpiresAt)
            .take();
        manager.create_index(expiry).await
    }
}

impl Model {
    /// What the row says to somebody who repeats the call. A RUNNING row whose
    /// lease has passed is taken over: its owner counts as dead.
    pub(super) async fn state(
        &self,
        tx: &Transaction,
        call: &Call,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Begin, Failure> {
        match self.state.as_str() {
            DONE => Ok(Begin::Done(Outcome {
                code: Code::from_i32(self.status.unwrap_or(0)),
                body: self.response.clone().unwrap_or_default(),
            })),
            BOUND => Ok(Begin::Bound(self.resource.clone().unwrap_or_default())),
            RUNNING if self.locked_until > now.as_microsecond() => Ok(Begin::Running),
            RUNNING if self.take_over(tx, call, lease).await? => Ok(Begin::First),
            RUNNING => Ok(Begin::Running),
            other => Err(Failure::internal(&format!(
                "idempotency key in state {other}"
            ))),
        }
    }

    /// Only one of those who found the lapsed lease gets it.
    async fn take_over(
        &self,
        tx: &Transaction,
        call: &Call,
        lease: Timestamp,
    ) -> Result<bool, Error> {
        let taken = Entity::update_many()
            .col_expr(Column::LockedUntil, Expr::value(lease.as_microsecond()))
            .filter(of(call))
            .filter(Column::State.eq(RUNNING))
            .filter(Column::LockedUntil.eq(self.locked_until))
            .exec(tx)
            .await?;
        Ok(taken.rows_affected == 1)
    }
}

/// Forgets the keys whose time is over.
pub(super) async fn expire(tx: &Transaction, now: Timestamp) -> Result<(), Error> {
    Entity::delete_many()
        .filter(Column::ExpiresAt.lte(now.as_microsecond()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Takes the key; `false` if somebody has it.
pub(super) async fn insert(
    tx: &Transaction,
    call: &Call,
    now: Timestamp,
    lease: Timestamp,
    expires_at: Timestamp,
) -> Result<bool, Error> {
    // The first one's transaction may be open: PostgreSQL waits for its end.
    lock_timeout(tx, "1s").await?;
    let taken = Entity::insert(ActiveModel {
        principal: Set(call.owner().to_owned()),
        method: Set(call.method().to_owned()),
        key: Set(call.key().to_owned()),
        fingerprint: Set(call.fingerprint().to_vec()),
        state: Set(RUNNING.to_owned()),
        response: Set(None),
        status: Set(None),
        resource: Set(None),
        locked_until: Set(lease.as_microsecond()),
        created_at: Set(now.as_microsecond()),
        expires_at: Set(expires_at.as_microsecond()),
    })
    .on_conflict_do_nothing_on([Column::Principal, Column::Method, Column::Key])
    .exec_without_returning(tx)
    .await?;
    lock_timeout(tx, "2s").await?;
    Ok(matches!(taken, TryInsertResult::Inserted(1)))
}

async fn lock_timeout(tx: &Transaction, limit: &str) -> Result<(), Error> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared(&format!("SET LOCAL lock_timeout = '{limit}'"))
            .await?;
    }
    Ok(())
}

/// The row of the call's key.
pub(super) async fn find(tx: &Transaction, call: &Call) -> Result<Option<Model>, Error> {
    Ok(Entity::find().filter(of(call)).one(tx).await?)
}

/// The key's resource exists now.
pub(super) async fn bind(tx: &Transaction, call: &Call, resource: &str) -> Result<(), Error> {
    let changes = [
        (Column::State, Expr::value(BOUND)),
        (Column::Resource, Expr::value(resource)),
    ];
    change(tx, call, changes).await
}

/// The call has ended so.
pub(super) async fn finish(tx: &Transaction, call: &Call, outcome: &Outcome) -> Result<(), Error> {
    let changes = [
        (Column::State, Expr::value(DONE)),
        (Column::Status, Expr::value(outcome.code as i32)),
        (Column::Response, Expr::value(outcome.body.clone())),
    ];
    change(tx, call, changes).await
}

/// Nobody has the key any more.
pub(super) async fn release(tx: &Transaction, call: &Call) -> Result<(), Error> {
    Entity::delete_many().filter(of(call)).exec(tx).await?;
    Ok(())
}

async fn change(
    tx: &Transaction,
    call: &Call,
    changes: impl IntoIterator<Item = (Column, Expr)>,
) -> Result<(), Error> {
    let mut update = Entity::update_many().filter(of(call));
    for (column, value) in changes {
        update = update.col_expr(column, value);
    }
    update.exec(tx).await?;
    Ok(())
}

fn of(call: &Call) -> Condition {
    Condition::all()
        .add(Column::Principal.eq(call.owner()))
        .add(Column::Method.eq(call.method()))
        .add(Column::Key.eq(call.key()))
}
