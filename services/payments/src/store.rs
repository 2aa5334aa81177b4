//! Payments, ways to pay, the books and the record of calls to the processor, as functions named for intentions.
//! Each runs inside a transaction its caller opened.

pub mod books;
pub mod calls;
mod entity;
pub mod methods;
pub mod migration;

use jiff::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect, TryInsertResult,
};
use shop_chassis::Ids;
use shop_chassis::money::{Amount, Currency};

use crate::error::Error;
use crate::method::{Method, WALLET};
use crate::payment::{State, UnknownName};
use entity::payment as payments;

/// The payment of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Its own id.
    pub id: String,
    /// The order, one payment each.
    pub order_id: String,
    /// Who pays; 0 in a tombstone.
    pub user_id: u32,
    /// How much.
    pub amount: Amount,
    /// Where it stands.
    pub state: State,
    /// As the order named it: `card`, `wallet` or a token.
    pub payment_method: String,
    /// What that stands for.
    pub method: Method,
    /// The processor's number; empty before it answered, and for the wallet.
    pub transaction_id: String,
    /// Whether the books hold its capture.
    pub captured: bool,
    /// What went back, in minor units.
    pub refunded: i64,
    /// Why it was declined; empty otherwise.
    pub decline_reason: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
}

/// What is asked for when an order is to be charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPayment {
    /// The order.
    pub order_id: String,
    /// Who pays.
    pub user_id: u32,
    /// How much.
    pub amount: Amount,
    /// As the order named it.
    pub payment_method: String,
    /// What that stands for.
    pub method: Method,
}

/// Who asks for ids and what time it is, for rows that are written.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Ids of new rows.
    pub ids: &'a dyn Ids,
    /// The moment of the whole transaction.
    pub now: Timestamp,
}

/// The payment of an order.
pub async fn find(conn: &impl ConnectionTrait, order_id: &str) -> Result<Option<Payment>, Error> {
    by_order(order_id)
        .one(conn)
        .await?
        .map(TryInto::try_into)
        .transpose()
}

/// A payment by its id, if it is this user's.
pub async fn find_of_user(
    conn: &impl ConnectionTrait,
    user_id: u32,
    payment_id: &str,
) -> Result<Option<Payment>, Error> {
    payments::Entity::find_by_id(payment_id)
        .filter(payments::Column::UserId.eq(i64::from(user_id)))
        .one(conn)
        .await?
        .map(TryInto::try_into)
        .transpose()
}

/// A place in the list of a user's payments.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Microseconds.
    pub created_at: i64,
    /// The payment.
    pub id: String,
}

/// A user's payments, newest first, beginning behind `after`.
pub async fn list(
    conn: &impl ConnectionTrait,
    user_id: u32,
    order_id: Option<&str>,
    after: Option<&Position>,
    limit: u64,
) -> Result<Vec<Payment>, Error> {
    let mut query =
        payments::Entity::find().filter(payments::Column::UserId.eq(i64::from(user_id)));
    if let Some(order_id) = order_id {
        query = query.filter(payments::Column::OrderId.eq(order_id));
    }
    if let Some(after) = after {
        query = query.filter(
            Condition::any()
                .add(payments::Column::CreatedAt.lt(after.created_at))
                .add(
                    payments::Column::CreatedAt
                        .eq(after.created_at)
                        .and(payments::Column::Id.lt(&after.id)),
                ),
        );
    }
    let rows = query
        .order_by_desc(payments::Column::CreatedAt)
        .order_by_desc(payments::Column::Id)
        .limit(limit)
        .all(conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// What is set aside in a user's wallet for orders, in minor units.
pub async fn held_in_wallet(conn: &impl ConnectionTrait, user_id: u32) -> Result<i64, Error> {
    let rows = payments::Entity::find()
        .filter(payments::Column::UserId.eq(i64::from(user_id)))
        .filter(payments::Column::Token.eq(WALLET))
        .filter(payments::Column::State.eq(State::Authorized.name()))
        .all(conn)
        .await?;
    Ok(rows.iter().map(|row| row.amount_minor).sum())
}

/// The order's payment, locked; made now in state PENDING if there is none.
pub async fn open(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    new: &NewPayment,
) -> Result<Payment, Error> {
    insert(conn, stamp, new, State::Pending).await?;
    locked(conn, &new.order_id)
        .await?
        .ok_or_else(|| vanished(&new.order_id))
}

/// The order's payment, locked; a tombstone if nobody charged it. The tombstone is CANCELLING until the processor
/// knows of it too.
pub async fn open_for_cancelling(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    order_id: &str,
) -> Result<Payment, Error> {
    let tombstone = NewPayment {
        order_id: order_id.to_owned(),
        user_id: 0,
        amount: Amount::usd(0),
        payment_method: String::new(),
        method: Method {
            token: String::new(),
            brand: String::new(),
            last4: String::new(),
        },
    };
    insert(conn, stamp, &tombstone, State::Cancelling).await?;
    locked(conn, order_id)
        .await?
        .ok_or_else(|| vanished(order_id))
}

/// The order's payment, locked until the transaction ends (SQLite has one writer anyway).
pub async fn locked(conn: &impl ConnectionTrait, order_id: &str) -> Result<Option<Payment>, Error> {
    by_order(order_id)
        .lock_exclusive()
        .one(conn)
        .await?
        .map(TryInto::try_into)
        .transpose()
}

/// Stores what became of a payment that `locked` or `open` returned.
pub async fn save(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    mut payment: Payment,
) -> Result<Payment, Error> {
    payment.updated_at = stamp.now;
    payments::Entity::update_many()
        .col_expr(payments::Column::State, Expr::value(payment.state.name()))
        .col_expr(
            payments::Column::TransactionId,
            Expr::value(&payment.transaction_id),
        )
        .col_expr(payments::Column::Captured, Expr::value(payment.captured))
        .col_expr(
            payments::Column::RefundedMinor,
            Expr::value(payment.refunded),
        )
        .col_expr(
            payments::Column::DeclineReason,
            Expr::value(&payment.decline_reason),
        )
        .col_expr(
            payments::Column::UpdatedAt,
            Expr::value(stamp.now.as_microsecond()),
        )
        .filter(payments::Column::Id.eq(&payment.id))
        .exec(conn)
        .await?;
    Ok(payment)
}

async fn insert(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    new: &NewPayment,
    state: State,
) -> Result<bool, Error> {
    let now = stamp.now.as_microsecond();
    let result = payments::Entity::insert(payments::ActiveModel {
        id: Set(stamp.ids.uuid().to_string()),
        order_id: Set(new.order_id.clone()),
        user_id: Set(i64::from(new.user_id)),
        amount_minor: Set(new.amount.minor),
        currency: Set(new.amount.currency.code().to_owned()),
        state: Set(state.name().to_owned()),
        payment_method: Set(new.payment_method.clone()),
        token: Set(new.method.token.clone()),
        brand: Set(new.method.brand.clone()),
        last4: Set(new.method.last4.clone()),
        transaction_id: Set(String::new()),
        captured: Set(false),
        refunded_minor: Set(0),
        decline_reason: Set(String::new()),
        created_at: Set(now),
        updated_at: Set(now),
    })
    .on_conflict_do_nothing_on([payments::Column::OrderId])
    .exec_without_returning(conn)
    .await?;
    Ok(matches!(result, TryInsertResult::Inserted(1)))
}

fn by_order(order_id: &str) -> sea_orm::Select<payments::Entity> {
    payments::Entity::find().filter(payments::Column::OrderId.eq(order_id))
}

fn vanished(order_id: &str) -> Error {
    DbErr::RecordNotFound(format!("payment of order {order_id}")).into()
}

impl TryFrom<payments::Model> for Payment {
    type Error = Error;

    fn try_from(row: payments::Model) -> Result<Self, Error> {
        Ok(Self {
            user_id: u32::try_from(row.user_id).map_err(|_| UnknownName {
                kind: "user",
                name: row.user_id.to_string(),
            })?,
            state: row.state.parse()?,
            created_at: Timestamp::from_microsecond(row.created_at)?,
            updated_at: Timestamp::from_microsecond(row.updated_at)?,
            id: row.id,
            order_id: row.order_id,
            amount: Amount::new(row.amount_minor, Currency::parse(&row.currency)?),
            payment_method: row.payment_method,
            method: Method {
                token: row.token,
                brand: row.brand,
                last4: row.last4,
            },
            transaction_id: row.transaction_id,
            captured: row.captured,
            refunded: row.refunded_minor,
            decline_reason: row.decline_reason,
        })
    }
}
