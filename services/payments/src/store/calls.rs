//! Calls to the processor, on record before they leave: whatever happens to this process, the key under which
//! something may have been done is known.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, TryInsertResult,
};

use super::Stamp;
use super::entity::psp_call as calls;
use crate::error::Error;
use crate::processor;

/// A call that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The key the processor knows it by.
    pub key: String,
    /// The order.
    pub order_id: String,
    /// `authorize`, `capture` or `cancel`.
    pub operation: &'static str,
    /// What is sent, as JSON.
    pub request: String,
}

impl Call {
    /// The key is the order and the operation: a repeat, from wherever, is the same call.
    pub fn new(order_id: &str, operation: &'static str, request: String) -> Self {
        Self {
            key: key(order_id, operation),
            order_id: order_id.to_owned(),
            operation,
            request,
        }
    }
}

/// The key of an order's operation.
pub fn key(order_id: &str, operation: &str) -> String {
    format!("{order_id}/{operation}")
}

/// Records the call; a repeat counts one more attempt of the same row.
pub async fn about_to_send(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    call: &Call,
) -> Result<(), Error> {
    let now = stamp.now.as_microsecond();
    let inserted = calls::Entity::insert(calls::ActiveModel {
        key: Set(call.key.clone()),
        order_id: Set(call.order_id.clone()),
        operation: Set(call.operation.to_owned()),
        request: Set(call.request.clone()),
        response: Set(String::new()),
        outcome: Set("SENT".to_owned()),
        attempts: Set(1),
        sent_at: Set(now),
        answered_at: Set(None),
    })
    .on_conflict_do_nothing()
    .exec_without_returning(conn)
    .await?;
    if !matches!(inserted, TryInsertResult::Inserted(1)) {
        calls::Entity::update_many()
            .col_expr(
                calls::Column::Attempts,
                Expr::col(calls::Column::Attempts).add(1),
            )
            .filter(calls::Column::Key.eq(&call.key))
            .exec(conn)
            .await?;
    }
    Ok(())
}

/// Records how the call ended.
pub async fn answered(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    call: &Call,
    answer: &Result<String, processor::Error>,
) -> Result<(), Error> {
    let (outcome, response) = match answer {
        Ok(response) => ("DONE", response.clone()),
        Err(processor::Error::Declined(decline)) => ("DECLINED", decline.code().to_owned()),
        Err(processor::Error::Unknown(reason)) => ("UNKNOWN", reason.clone()),
    };
    calls::Entity::update_many()
        .col_expr(calls::Column::Outcome, Expr::value(outcome))
        .col_expr(calls::Column::Response, Expr::value(response))
        .col_expr(
            calls::Column::AnsweredAt,
            Expr::value(stamp.now.as_microsecond()),
        )
        .filter(calls::Column::Key.eq(&call.key))
        .exec(conn)
        .await?;
    Ok(())
}
