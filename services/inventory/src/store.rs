//! Stock and reservations in the database, as functions named for intentions. Each runs inside a transaction its
//! caller opened, so that a refusal takes back everything the request had done.

mod entity;
pub mod migration;

use jiff::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, TryInsertResult,
};
use shop_chassis::Ids;

use crate::error::Error;
use crate::reservation::{self, Decision, Line, Refusal, Request, State};
use entity::{reservation as reservations, stock, stock_movement};

/// One article's units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock {
    /// The article.
    pub sku: String,
    /// Units in the warehouse.
    pub on_hand: i64,
    /// Units of those that belong to orders already.
    pub reserved: i64,
}

impl Stock {
    /// Units a new order may still have.
    pub fn available(&self) -> i64 {
        self.on_hand - self.reserved
    }
}

/// What one order holds, or held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Its own id.
    pub id: String,
    /// The order, one reservation each.
    pub order_id: String,
    /// Where it stands.
    pub state: State,
    /// Sorted by article; empty in a tombstone.
    pub lines: Vec<Line>,
    /// When the sweeper gives it back unless it was confirmed.
    pub expires_at: Timestamp,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
}

/// Why stock moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    /// Goods came in, or a count was corrected.
    Adjusted,
    /// An order holds units.
    Reserved,
    /// An order gave units back.
    Released,
    /// The sweeper gave units back.
    Expired,
}

impl Movement {
    fn name(self) -> &'static str {
        match self {
            Self::Adjusted => "ADJUSTED",
            Self::Reserved => "RESERVED",
            Self::Released => "RELEASED",
            Self::Expired => "EXPIRED",
        }
    }
}

/// Who asks for ids and what time it is, for rows that are written.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Ids of new rows.
    pub ids: &'a dyn Ids,
    /// The moment of the whole transaction.
    pub now: Timestamp,
}

/// The stock of one article.
pub async fn stock(conn: &impl ConnectionTrait, sku: &str) -> Result<Option<Stock>, Error> {
    Ok(stock::Entity::find_by_id(sku)
        .one(conn)
        .await?
        .map(Into::into))
}

/// The stock of these articles, sorted; articles nobody ever stocked are left out.
pub async fn stock_of(
    conn: &impl ConnectionTrait,
    skus: impl IntoIterator<Item = String>,
) -> Result<Vec<Stock>, Error> {
    let rows = stock::Entity::find()
        .filter(stock::Column::Sku.is_in(skus))
        .order_by_asc(stock::Column::Sku)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Puts units on the shelf or takes them off; an article that was never stocked begins at zero.
pub async fn adjust(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    sku: &str,
    delta: i64,
) -> Result<Stock, Error> {
    stock::Entity::insert(stock::ActiveModel {
        sku: Set(sku.to_owned()),
        on_hand: Set(0),
        reserved: Set(0),
        version: Set(1),
    })
    .on_conflict_do_nothing()
    .exec_without_returning(conn)
    .await?;
    let changed = stock::Entity::update_many()
        .col_expr(
            stock::Column::OnHand,
            Expr::col(stock::Column::OnHand).add(delta),
        )
        .col_expr(
            stock::Column::Version,
            Expr::col(stock::Column::Version).add(1),
        )
        .filter(stock::Column::Sku.eq(sku))
        .filter(
            Expr::col(stock::Column::OnHand)
                .add(delta)
                .gte(Expr::col(stock::Column::Reserved)),
        )
        .exec(conn)
        .await?
        .rows_affected;
    let after = stock(conn, sku)
        .await?
        .ok_or_else(|| DbErr::RecordNotFound(format!("stock of {sku}")))?;
    if changed == 0 {
        return Err(Error::BelowReserved {
            sku: sku.to_owned(),
            delta,
            available: after.available(),
        });
    }
    journal(conn, stamp, Movement::Adjusted, sku, (delta, 0), None).await?;
    Ok(after)
}

/// Holds every line for the order, or none: an error must roll the transaction back.
pub async fn reserve(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    order_id: &str,
    lines: Vec<Line>,
    expires_at: Timestamp,
) -> Result<Reservation, Error> {
    let lines = reservation::sorted(lines);
    let made = insert(conn, stamp, order_id, State::Pending, &lines, expires_at).await?;
    let existing = locked(conn, order_id)
        .await?
        .ok_or_else(|| vanished(order_id))?;
    if !made {
        return match reservation::decide(Some(existing.state), Request::Create) {
            Decision::Refuse(refusal) => Err(refused(order_id, refusal)),
            Decision::Nothing | Decision::Become(_) if existing.lines == lines => Ok(existing),
            Decision::Nothing | Decision::Become(_) => Err(Error::DifferentLines {
                order_id: order_id.to_owned(),
            }),
        };
    }
    for line in &lines {
        hold(conn, stamp, order_id, line).await?;
    }
    Ok(existing)
}

/// From now on the reservation does not expire.
pub async fn confirm(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    order_id: &str,
) -> Result<Reservation, Error> {
    let existing = locked(conn, order_id).await?;
    let decision = reservation::decide(
        existing.as_ref().map(|reservation| reservation.state),
        Request::Confirm,
    );
    match (decision, existing) {
        (Decision::Become(state), Some(existing)) => {
            become_state(conn, stamp, existing, state, None).await
        }
        (Decision::Nothing, Some(existing)) => Ok(existing),
        (Decision::Refuse(refusal), _) => Err(refused(order_id, refusal)),
        (Decision::Become(_) | Decision::Nothing, None) => Err(refused(order_id, Refusal::Unknown)),
    }
}

/// Gives back whatever the order holds. For an order that holds nothing yet it leaves a tombstone, so that a
/// reservation which is still on its way will be refused.
pub async fn release(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    order_id: &str,
) -> Result<Reservation, Error> {
    // Inserting first settles the race with a `reserve` of the same order: one of the two makes the row.
    insert(conn, stamp, order_id, State::Released, &[], stamp.now).await?;
    let existing = locked(conn, order_id)
        .await?
        .ok_or_else(|| vanished(order_id))?;
    match reservation::decide(Some(existing.state), Request::Release) {
        Decision::Become(state) => {
            become_state(conn, stamp, existing, state, Some(Movement::Released)).await
        }
        Decision::Nothing => Ok(existing),
        Decision::Refuse(refusal) => Err(refused(order_id, refusal)),
    }
}

/// The reservation of an order.
pub async fn reservation(
    conn: &impl ConnectionTrait,
    order_id: &str,
) -> Result<Option<Reservation>, Error> {
    by_order(order_id)
        .one(conn)
        .await?
        .map(TryInto::try_into)
        .transpose()
}

/// Orders whose reservation is due, oldest first.
pub async fn find_expired(
    conn: &impl ConnectionTrait,
    now: Timestamp,
    limit: u64,
) -> Result<Vec<String>, Error> {
    let rows = reservations::Entity::find()
        .filter(reservations::Column::State.eq(State::Pending.name()))
        .filter(reservations::Column::ExpiresAt.lte(now.as_microsecond()))
        .order_by_asc(reservations::Column::ExpiresAt)
        .limit(limit)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.order_id).collect())
}

/// Gives back a reservation that is due; `false` if it was confirmed or released meanwhile.
pub async fn expire(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    order_id: &str,
) -> Result<bool, Error> {
    let Some(existing) = locked(conn, order_id).await? else {
        return Ok(false);
    };
    let due = existing.expires_at <= stamp.now;
    match reservation::decide(Some(existing.state), Request::Expire) {
        Decision::Become(state) if due => {
            become_state(conn, stamp, existing, state, Some(Movement::Expired)).await?;
            Ok(true)
        }
        Decision::Become(_) | Decision::Nothing | Decision::Refuse(_) => Ok(false),
    }
}

async fn insert(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    order_id: &str,
    state: State,
    lines: &[Line],
    expires_at: Timestamp,
) -> Result<bool, Error> {
    let now = stamp.now.as_microsecond();
    let result = reservations::Entity::insert(reservations::ActiveModel {
        id: Set(stamp.ids.uuid().to_string()),
        order_id: Set(order_id.to_owned()),
        state: Set(state.name().to_owned()),
        lines: Set(serde_json::to_string(lines)?),
        expires_at: Set(expires_at.as_microsecond()),
        created_at: Set(now),
        updated_at: Set(now),
    })
    .on_conflict_do_nothing_on([reservations::Column::OrderId])
    .exec_without_returning(conn)
    .await?;
    Ok(matches!(result, TryInsertResult::Inserted(1)))
}

/// The row, locked until the transaction ends (SQLite has one writer anyway).
async fn locked(conn: &impl ConnectionTrait, order_id: &str) -> Result<Option<Reservation>, Error> {
    by_order(order_id)
        .lock_exclusive()
        .one(conn)
        .await?
        .map(TryInto::try_into)
        .transpose()
}

fn by_order(order_id: &str) -> sea_orm::Select<reservations::Entity> {
    reservations::Entity::find().filter(reservations::Column::OrderId.eq(order_id))
}

/// One guarded update: it moves the row only while enough units are free.
async fn hold(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    order_id: &str,
    line: &Line,
) -> Result<(), Error> {
    let held = stock::Entity::update_many()
        .col_expr(
            stock::Column::Reserved,
            Expr::col(stock::Column::Reserved).add(line.quantity),
        )
        .col_expr(
            stock::Column::Version,
            Expr::col(stock::Column::Version).add(1),
        )
        .filter(stock::Column::Sku.eq(&line.sku))
        .filter(
            Expr::col(stock::Column::OnHand)
                .sub(Expr::col(stock::Column::Reserved))
                .gte(line.quantity),
        )
        .exec(conn)
        .await?
        .rows_affected;
    if held == 0 {
        let available = stock(conn, &line.sku)
            .await?
            .map_or(0, |stock| stock.available());
        return Err(Error::OutOfStock {
            sku: line.sku.clone(),
            wanted: line.quantity,
            available,
        });
    }
    let deltas = (0, line.quantity);
    journal(
        conn,
        stamp,
        Movement::Reserved,
        &line.sku,
        deltas,
        Some(order_id),
    )
    .await
}

async fn become_state(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    mut reservation: Reservation,
    state: State,
    give_back: Option<Movement>,
) -> Result<Reservation, Error> {
    if let Some(movement) = give_back {
        for line in &reservation.lines {
            give_back_line(conn, stamp, movement, &reservation.order_id, line).await?;
        }
    }
    reservations::Entity::update_many()
        .col_expr(reservations::Column::State, Expr::value(state.name()))
        .col_expr(
            reservations::Column::UpdatedAt,
            Expr::value(stamp.now.as_microsecond()),
        )
        .filter(reservations::Column::OrderId.eq(&reservation.order_id))
        .filter(reservations::Column::State.eq(reservation.state.name()))
        .exec(conn)
        .await?;
    reservation.state = state;
    reservation.updated_at = stamp.now;
    Ok(reservation)
}

async fn give_back_line(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    movement: Movement,
    order_id: &str,
    line: &Line,
) -> Result<(), Error> {
    stock::Entity::update_many()
        .col_expr(
            stock::Column::Reserved,
            Expr::col(stock::Column::Reserved).sub(line.quantity),
        )
        .col_expr(
            stock::Column::Version,
            Expr::col(stock::Column::Version).add(1),
        )
        .filter(stock::Column::Sku.eq(&line.sku))
        .exec(conn)
        .await?;
    let deltas = (0, -line.quantity);
    journal(conn, stamp, movement, &line.sku, deltas, Some(order_id)).await
}

async fn journal(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    movement: Movement,
    sku: &str,
    (on_hand_delta, reserved_delta): (i64, i64),
    order_id: Option<&str>,
) -> Result<(), Error> {
    stock_movement::Entity::insert(stock_movement::ActiveModel {
        id: Set(stamp.ids.uuid().to_string()),
        sku: Set(sku.to_owned()),
        kind: Set(movement.name().to_owned()),
        on_hand_delta: Set(on_hand_delta),
        reserved_delta: Set(reserved_delta),
        order_id: Set(order_id.map(str::to_owned)),
        at: Set(stamp.now.as_microsecond()),
    })
    .exec_without_returning(conn)
    .await?;
    Ok(())
}

fn refused(order_id: &str, refusal: Refusal) -> Error {
    Error::Refused {
        order_id: order_id.to_owned(),
        refusal,
    }
}

fn vanished(order_id: &str) -> DbErr {
    DbErr::RecordNotFound(format!("reservation of order {order_id}"))
}

impl From<stock::Model> for Stock {
    fn from(row: stock::Model) -> Self {
        Self {
            sku: row.sku,
            on_hand: row.on_hand,
            reserved: row.reserved,
        }
    }
}

impl TryFrom<reservations::Model> for Reservation {
    type Error = Error;

    fn try_from(row: reservations::Model) -> Result<Self, Error> {
        Ok(Self {
            state: row.state.parse()?,
            lines: serde_json::from_str(&row.lines)?,
            expires_at: Timestamp::from_microsecond(row.expires_at)?,
            created_at: Timestamp::from_microsecond(row.created_at)?,
            updated_at: Timestamp::from_microsecond(row.updated_at)?,
            id: row.id,
            order_id: row.order_id,
        })
    }
}
