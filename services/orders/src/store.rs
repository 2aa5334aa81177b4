//! Orders in the database: the events, and the view folded from them. Each function runs inside a transaction its
//! caller opened; sagas have a module of their own.

mod entity;
pub mod migration;
pub mod sagas;

use jiff::Timestamp;
use outrigger_proto::shop::orders::v1 as api;
use prost::Message;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, TryInsertResult,
};

use crate::error::Error;
use crate::order::{self, Event, Versioned};
use entity::{order_event, order_number, order_view};

/// The next order number. A transaction that is rolled back leaves no gap; one that waits makes others wait.
pub async fn next_number(conn: &impl ConnectionTrait) -> Result<u32, Error> {
    order_number::Entity::update_many()
        .col_expr(
            order_number::Column::Next,
            Expr::col(order_number::Column::Next).add(1),
        )
        .filter(order_number::Column::Id.eq(1))
        .exec(conn)
        .await?;
    let row = order_number::Entity::find_by_id(1)
        .one(conn)
        .await?
        .ok_or_else(|| DbErr::RecordNotFound("the row of order numbers".to_owned()))?;
    Ok(u32::try_from(row.next - 1)?)
}

/// Appends what happened and brings the view along. Two writers of one version: the second gets `VersionConflict`.
pub async fn append(
    conn: &impl ConnectionTrait,
    now: Timestamp,
    before: Option<Versioned>,
    event: &Event,
) -> Result<Versioned, Error> {
    let after = order::apply(before, event, now)?;
    let at = now.as_microsecond();
    let inserted = order_event::Entity::insert(order_event::ActiveModel {
        order_id: Set(after.order.order_id.clone()),
        version: Set(i64::from(after.version)),
        kind: Set(event.kind().to_owned()),
        payload: Set(event.payload()),
        meta: Set("{}".to_owned()),
        at: Set(at),
    })
    .on_conflict_do_nothing()
    .exec_without_returning(conn)
    .await?;
    if !matches!(inserted, TryInsertResult::Inserted(1)) {
        return Err(Error::VersionConflict {
            order_id: after.order.order_id,
        });
    }
    write_view(conn, at, &after).await?;
    Ok(after)
}

/// The order as it is.
pub async fn find(conn: &impl ConnectionTrait, order_id: &str) -> Result<Option<Versioned>, Error> {
    let row = order_view::Entity::find_by_id(order_id).one(conn).await?;
    row.map(TryInto::try_into).transpose()
}

/// The order, if it is this user's.
pub async fn find_of_user(
    conn: &impl ConnectionTrait,
    user_id: u32,
    order_id: &str,
) -> Result<Option<api::Order>, Error> {
    let found = find(conn, order_id).await?;
    Ok(found
        .map(|found| found.order)
        .filter(|order| order.user_id == user_id))
}

/// The order as it was at a moment; `None` if it did not exist yet.
pub async fn find_as_of(
    conn: &impl ConnectionTrait,
    order_id: &str,
    at: Timestamp,
) -> Result<Option<api::Order>, Error> {
    let events = events(conn, order_id).await?;
    let then: Vec<_> = events
        .into_iter()
        .take_while(|(_, when)| *when <= at)
        .collect();
    if then.is_empty() {
        return Ok(None);
    }
    Ok(Some(order::fold(then)?.order))
}

/// A user's orders, newest first, beginning below a number.
pub async fn list(
    conn: &impl ConnectionTrait,
    user_id: u32,
    below: Option<u32>,
    limit: u64,
) -> Result<Vec<api::Order>, Error> {
    let mut query =
        order_view::Entity::find().filter(order_view::Column::UserId.eq(i64::from(user_id)));
    if let Some(below) = below {
        query = query.filter(order_view::Column::OrderNumber.lt(i64::from(below)));
    }
    let rows = query
        .order_by_desc(order_view::Column::OrderNumber)
        .limit(limit)
        .all(conn)
        .await?;
    rows.into_iter()
        .map(|row| Ok(api::Order::decode(row.content.as_slice())?))
        .collect()
}

/// Everything that happened to an order, oldest first.
pub async fn events(
    conn: &impl ConnectionTrait,
    order_id: &str,
) -> Result<Vec<(Event, Timestamp)>, Error> {
    let rows = order_event::Entity::find()
        .filter(order_event::Column::OrderId.eq(order_id))
        .order_by_asc(order_event::Column::Version)
        .all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok((
                Event::decode(&row.kind, &row.payload)?,
                Timestamp::from_microsecond(row.at)?,
            ))
        })
        .collect()
}

async fn write_view(conn: &impl ConnectionTrait, at: i64, after: &Versioned) -> Result<(), Error> {
    let order = &after.order;
    order_view::Entity::insert(order_view::ActiveModel {
        order_id: Set(order.order_id.clone()),
        order_number: Set(i64::from(order.order_number)),
        user_id: Set(i64::from(order.user_id)),
        state: Set(order.state().as_str_name().to_owned()),
        version: Set(i64::from(after.version)),
        content: Set(order.encode_to_vec()),
        created_at: Set(at),
        updated_at: Set(at),
    })
    .on_conflict(
        OnConflict::column(order_view::Column::OrderId)
            .update_columns([
                order_view::Column::State,
                order_view::Column::Version,
                order_view::Column::Content,
                order_view::Column::UpdatedAt,
            ])
            .to_owned(),
    )
    .exec_without_returning(conn)
    .await?;
    Ok(())
}

impl TryFrom<order_view::Model> for Versioned {
    type Error = Error;

    fn try_from(row: order_view::Model) -> Result<Self, Error> {
        Ok(Self {
            version: u32::try_from(row.version)?,
            order: api::Order::decode(row.content.as_slice())?,
        })
    }
}
