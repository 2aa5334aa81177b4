//! Where the placing of an order stands, and who drives it.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sagas")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub saga_id: String,
    #[sea_orm(column_name = "type")]
    pub kind: String,
    pub def_version: i64,
    pub state: String,
    pub step: String,
    pub deadline_at: i64,
    pub next_run_at: i64,
    pub lease_owner: String,
    pub lease_epoch: i64,
    pub lease_until: i64,
    pub attempts: i64,
    pub last_error: String,
    /// What the saga must know to go on: the decided rejection, encoded; empty while it runs.
    pub ctx: Vec<u8>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
