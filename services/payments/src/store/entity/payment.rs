//! The payment of one order. Rows are never deleted: they are what makes a late repeat harmless.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "payments")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    #[sea_orm(unique)]
    pub order_id: String,
    pub user_id: i64,
    pub amount_minor: i64,
    pub currency: String,
    pub state: String,
    /// As the order named it: `card`, `wallet` or a token.
    pub payment_method: String,
    pub token: String,
    pub brand: String,
    pub last4: String,
    pub transaction_id: String,
    /// The books hold its capture.
    pub captured: bool,
    pub refunded_minor: i64,
    pub decline_reason: String,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
