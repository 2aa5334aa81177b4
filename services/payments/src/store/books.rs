//! The ledger's rows. Entries are written first and the transaction's row last: it closes them, and the database
//! refuses it unless they sum to zero.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};

use super::Stamp;
use super::entity::{ledger_account, ledger_entry, ledger_transaction};
use crate::error::Error;
use crate::ledger::{Account, Posting};

/// Writes a posting.
pub async fn post(
    conn: &impl ConnectionTrait,
    stamp: Stamp<'_>,
    order_id: &str,
    currency: &str,
    posting: &Posting,
) -> Result<(), Error> {
    let transaction_id = stamp.ids.uuid().to_string();
    for (account, amount) in posting.entries() {
        open_account(conn, &account).await?;
        ledger_entry::Entity::insert(ledger_entry::ActiveModel {
            id: Set(stamp.ids.uuid().to_string()),
            transaction_id: Set(transaction_id.clone()),
            account: Set(account),
            amount_minor: Set(amount),
        })
        .exec_without_returning(conn)
        .await?;
    }
    ledger_transaction::Entity::insert(ledger_transaction::ActiveModel {
        id: Set(transaction_id),
        kind: Set(posting.kind.to_owned()),
        order_id: Set(order_id.to_owned()),
        currency: Set(currency.to_owned()),
        at: Set(stamp.now.as_microsecond()),
    })
    .exec_without_returning(conn)
    .await?;
    Ok(())
}

/// What an account holds: debits less credits. A wallet's is what the user may spend, with its sign turned.
pub async fn balance(conn: &impl ConnectionTrait, account: &Account) -> Result<i64, Error> {
    let entries = ledger_entry::Entity::find()
        .filter(ledger_entry::Column::Account.eq(account.name()))
        .all(conn)
        .await?;
    Ok(entries.iter().map(|entry| entry.amount_minor).sum())
}

/// Keeps others from deciding on this account's balance until the transaction ends.
pub async fn lock_account(conn: &impl ConnectionTrait, account: &Account) -> Result<(), Error> {
    let name = account.name();
    open_account(conn, &name).await?;
    ledger_account::Entity::find_by_id(name)
        .lock_exclusive()
        .one(conn)
        .await?;
    Ok(())
}

/// What was posted for an order, oldest first: kind and entries (account, amount).
pub async fn postings(
    conn: &impl ConnectionTrait,
    order_id: &str,
) -> Result<Vec<(String, Vec<(String, i64)>)>, Error> {
    let transactions = ledger_transaction::Entity::find()
        .filter(ledger_transaction::Column::OrderId.eq(order_id))
        .order_by_asc(ledger_transaction::Column::At)
        .order_by_asc(ledger_transaction::Column::Id)
        .all(conn)
        .await?;
    let mut postings = Vec::with_capacity(transactions.len());
    for transaction in transactions {
        let entries = ledger_entry::Entity::find()
            .filter(ledger_entry::Column::TransactionId.eq(&transaction.id))
            .order_by_asc(ledger_entry::Column::Id)
            .all(conn)
            .await?;
        let entries = entries
            .into_iter()
            .map(|entry| (entry.account, entry.amount_minor))
            .collect();
        postings.push((transaction.kind, entries));
    }
    Ok(postings)
}

async fn open_account(conn: &impl ConnectionTrait, name: &str) -> Result<(), Error> {
    ledger_account::Entity::insert(ledger_account::ActiveModel {
        name: Set(name.to_owned()),
    })
    .on_conflict_do_nothing()
    .exec_without_returning(conn)
    .await?;
    Ok(())
}
