//! A card processor inside this process, for a shop without one of its own. It keeps its keys, authorisations and the
//! number of the next transaction in payments' database, in tables nobody else reads, and knows the test tokens.
//!
//! As with a real processor, what was done under a key is kept: a repeat gets the same answer.

mod entity;
mod migration;
mod token;

use std::sync::Arc;
use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect,
};
use shop_chassis::{Database, Transaction, database};

use super::{Authorization, Cancelled, Charge, Decline, Error, Processor};
use entity::{authorization, call, counter};
use token::Token;

pub(crate) use migration::schema;

/// How late the slow card's answer is.
const SLOW: Duration = Duration::from_secs(5);
const LOST: &str = "the connection closed before the answer";

/// The processor over payments' own database.
#[derive(Debug, Clone)]
pub struct Embedded {
    database: Database,
}

/// What a request came to; kept under its key unless it is `Unknown`.
type Answer<T> = Result<T, Error>;

impl Embedded {
    /// Over a database that was migrated.
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait::async_trait]
impl Processor for Embedded {
    async fn authorize(&self, key: &str, charge: &Charge) -> Answer<Authorization> {
        let work = |tx: Arc<Transaction>| async move { authorize(&*tx, key, charge).await };
        let (answer, fresh) = self
            .database
            .write(work)
            .await
            .map_err(|error| unknown(&error))?;
        match Token::of(&charge.payment_method) {
            Some(Token::Slow) if fresh => tokio::time::sleep(SLOW).await,
            Some(Token::LosesAnswer) if fresh => return Err(Error::Unknown(LOST.to_owned())),
            _ => {}
        }
        answer
    }

    async fn capture(&self, key: &str, transaction_id: &str) -> Answer<()> {
        let work = |tx: Arc<Transaction>| async move { capture(&*tx, key, transaction_id).await };
        self.database
            .write(work)
            .await
            .map_err(|error| unknown(&error))?
    }

    async fn cancel_by_key(&self, key: &str, cancelled: &str) -> Answer<Cancelled> {
        let work = |tx: Arc<Transaction>| async move { cancel(&*tx, key, cancelled).await };
        self.database
            .write(work)
            .await
            .map_err(|error| unknown(&error))?
    }
}

/// The answer, and whether it was made just now.
async fn authorize(
    conn: &impl ConnectionTrait,
    key: &str,
    charge: &Charge,
) -> Result<(Answer<Authorization>, bool), database::Error> {
    let known = find_call(conn, key).await?;
    match &known {
        Some(call) if call.cancelled => return Ok((declined(Decline::KeyCancelled), false)),
        Some(call) if !call.result.is_empty() => return Ok((replay(&call.result), false)),
        None if Token::of(&charge.payment_method) == Some(Token::FailsOnce) => {
            keep(conn, key, "").await?;
            return Ok((
                Err(Error::Unknown("500 Internal Server Error".to_owned())),
                true,
            ));
        }
        Some(_) | None => {}
    }
    if let Some(decline) = refusal(&charge.payment_method) {
        keep(conn, key, &format!("declined {}", decline.code())).await?;
        return Ok((declined(decline), true));
    }
    let id = format!("TX{}", next_number(conn).await?);
    authorization::Entity::insert(authorization::ActiveModel {
        id: Set(id.clone()),
        key: Set(key.to_owned()),
        amount_minor: Set(charge.amount),
        currency: Set(charge.currency.clone()),
        token: Set(charge.payment_method.clone()),
        reference: Set(charge.reference.clone()),
        state: Set("AUTHORIZED".to_owned()),
    })
    .exec_without_returning(conn)
    .await?;
    keep(conn, key, &id).await?;
    Ok((Ok(Authorization { transaction_id: id }), true))
}

async fn capture(
    conn: &impl ConnectionTrait,
    key: &str,
    transaction_id: &str,
) -> Result<Answer<()>, database::Error> {
    if let Some(call) = find_call(conn, key).await? {
        return Ok(replay(&call.result).map(|_| ()));
    }
    let held = authorization::Entity::find_by_id(transaction_id)
        .one(conn)
        .await?;
    let takes = held.is_some_and(|held| {
        held.state == "AUTHORIZED" && Token::of(&held.token) != Some(Token::CaptureFails)
    });
    if !takes {
        keep(conn, key, &format!("declined {}", Decline::Capture.code())).await?;
        return Ok(declined(Decline::Capture));
    }
    move_to(conn, transaction_id, "CAPTURED").await?;
    keep(conn, key, transaction_id).await?;
    Ok(Ok(()))
}

async fn cancel(
    conn: &impl ConnectionTrait,
    key: &str,
    cancelled: &str,
) -> Result<Answer<Cancelled>, database::Error> {
    let known = find_call(conn, key).await?;
    if let Some(done) = known
        .as_ref()
        .and_then(|call| parse_cancelled(&call.result))
    {
        return Ok(Ok(done));
    }
    let made = authorization::Entity::find()
        .filter(authorization::Column::Key.eq(cancelled))
        .one(conn)
        .await?;
    let failed = known.map_or(0, |call| call.failures);
    let done = match &made {
        None => Cancelled::Nothing,
        Some(made) if made.state == "CAPTURED" => {
            if Token::of(&made.token) == Some(Token::RefundFails) && failed < 3 {
                keep(conn, key, "").await?;
                count_failure(conn, key).await?;
                return Ok(Err(Error::Unknown("503 Service Unavailable".to_owned())));
            }
            move_to(conn, &made.id, "REFUNDED").await?;
            Cancelled::Refunded
        }
        Some(made) => {
            move_to(conn, &made.id, "VOIDED").await?;
            Cancelled::Voided
        }
    };
    keep(conn, cancelled, "").await?;
    refuse_from_now_on(conn, cancelled).await?;
    keep(conn, key, name_of(done)).await?;
    Ok(Ok(done))
}

/// The definite "no" a token gives a charge.
fn refusal(token: &str) -> Option<Decline> {
    match Token::of(token) {
        None => Some(Decline::UnknownMethod),
        Some(Token::Declines(decline)) => Some(decline),
        Some(_) => None,
    }
}

fn replay(result: &str) -> Answer<Authorization> {
    match result.strip_prefix("declined ").and_then(Decline::parse) {
        Some(decline) => Err(Error::Declined(decline)),
        None => Ok(Authorization {
            transaction_id: result.to_owned(),
        }),
    }
}

fn declined<T>(decline: Decline) -> Answer<T> {
    Err(Error::Declined(decline))
}

fn name_of(cancelled: Cancelled) -> &'static str {
    match cancelled {
        Cancelled::Nothing => "nothing",
        Cancelled::Voided => "voided",
        Cancelled::Refunded => "refunded",
    }
}

fn parse_cancelled(result: &str) -> Option<Cancelled> {
    [Cancelled::Nothing, Cancelled::Voided, Cancelled::Refunded]
        .into_iter()
        .find(|cancelled| name_of(*cancelled) == result)
}

/// The database did not say what happened, so nobody knows.
fn unknown(error: &database::Error) -> Error {
    Error::Unknown(error.to_string())
}

async fn find_call(
    conn: &impl ConnectionTrait,
    key: &str,
) -> Result<Option<call::Model>, database::Error> {
    Ok(call::Entity::find_by_id(key).one(conn).await?)
}

/// Keeps what a key came to; an empty result leaves it open.
async fn keep(conn: &impl ConnectionTrait, key: &str, result: &str) -> Result<(), database::Error> {
    call::Entity::insert(call::ActiveModel {
        key: Set(key.to_owned()),
        result: Set(String::new()),
        failures: Set(0),
        cancelled: Set(false),
    })
    .on_conflict_do_nothing()
    .exec_without_returning(conn)
    .await?;
    if !result.is_empty() {
        call::Entity::update_many()
            .col_expr(call::Column::Result, Expr::value(result))
            .filter(call::Column::Key.eq(key))
            .exec(conn)
            .await?;
    }
    Ok(())
}

async fn count_failure(conn: &impl ConnectionTrait, key: &str) -> Result<(), database::Error> {
    call::Entity::update_many()
        .col_expr(
            call::Column::Failures,
            Expr::col(call::Column::Failures).add(1),
        )
        .filter(call::Column::Key.eq(key))
        .exec(conn)
        .await?;
    Ok(())
}

async fn refuse_from_now_on(conn: &impl ConnectionTrait, key: &str) -> Result<(), database::Error> {
    call::Entity::update_many()
        .col_expr(call::Column::Cancelled, Expr::value(true))
        .filter(call::Column::Key.eq(key))
        .exec(conn)
        .await?;
    Ok(())
}

async fn move_to(
    conn: &impl ConnectionTrait,
    id: &str,
    state: &str,
) -> Result<(), database::Error> {
    authorization::Entity::update_many()
        .col_expr(authorization::Column::State, Expr::value(state))
        .filter(authorization::Column::Id.eq(id))
        .exec(conn)
        .await?;
    Ok(())
}

/// Counts up from 89123; the row lock makes it one number a transaction.
async fn next_number(conn: &impl ConnectionTrait) -> Result<i64, database::Error> {
    let row = counter::Entity::find()
        .lock_exclusive()
        .one(conn)
        .await?
        .ok_or_else(|| sea_orm::DbErr::RecordNotFound("processor_counter".to_owned()))?;
    counter::Entity::update_many()
        .col_expr(counter::Column::Next, Expr::value(row.next + 1))
        .exec(conn)
        .await?;
    Ok(row.next)
}
