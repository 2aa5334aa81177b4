//! The service's own database: SQLite locally and in tests, PostgreSQL by URL.
//! The code above is the same: `Database::read` for reading,
//! `Database::write` for what belongs together.
//!
//! On SQLite all writes share one connection and begin IMMEDIATE: a transaction
//! that reads first and upgrades later fails with SQLITE_BUSY whatever the
//! timeout. On PostgreSQL a transaction that lost a conflict (40001, 40P01) is
//! run again as a whole, at most five times. A full disk, a lock that is not
//! released, a database that is gone: `Unavailable`, nothing partial, and the
//! next transaction tries anew.

mod error;
mod postgres;
mod sqlite;

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, SqliteTransactionMode,
    TransactionOptions, TransactionTrait as _,
};
use sea_orm_migration::MigratorTrait;

pub use error::{Error, WriteError};

use crate::health::Dependency;

/// What runs inside of [`Database::write`].
pub type Transaction = DatabaseTransaction;

/// A transaction that lost a conflict is run this often again.
const CONFLICT_RETRIES: u32 = 5;

/// Cheap to clone; all clones share the connections.
#[derive(Clone, Debug)]
pub struct Database {
    reader: DatabaseConnection,
    writer: DatabaseConnection,
    /// The file behind a SQLite database.
    file: Option<sqlite::File>,
}

impl Database {
    /// Connects, checks a SQLite file's integrity, runs the migrations that are
    /// still missing. Replicas that start together do so one after another.
    pub async fn open<M: MigratorTrait>(url: &str) -> Result<Self, Error> {
        let database = if url.starts_with("sqlite:") {
            sqlite::open(url).await?
        } else {
            postgres::open(url).await?
        };
        let tx = database.begin().await?;
        if database.file.is_none() {
            postgres::lock_migrations(&tx).await?;
        }
        M::up(&tx, None).await?;
        tx.commit().await?;
        Ok(database)
    }

    /// For reading outside of a transaction.
    pub fn read(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// Runs `work` in one write transaction: committed when it is `Ok`, else
    /// nothing happened. `work` may run more than once, so its effects belong
    /// into the transaction. Dropping the call rolls back.
    ///
    /// Read through the transaction inside, never through [`Database::read`].
    pub async fn write<T, E, F, R>(&self, work: F) -> Result<T, E>
    where
        E: WriteError,
        F: Fn(Arc<Transaction>) -> R,
        R: Future<Output = Result<T, E>>,
    {
        let mut retries = 0;
        loop {
            let result = self.write_once(&work).await;
            match result {
                Err(error) if error.is_conflict() && retries < CONFLICT_RETRIES => retries += 1,
                result => return result,
            }
        }
    }

    async fn write_once<T, E, F, R>(&self, work: &F) -> Result<T, E>
    where
        E: WriteError,
        F: Fn(Arc<Transaction>) -> R,
        R: Future<Output = Result<T, E>>,
    {
        let tx = Arc::new(self.begin().await?);
        let result = work(Arc::clone(&tx)).await;
        let tx = Arc::into_inner(tx).expect("the work's handle went with its future");
        match result {
            Ok(value) => {
                tx.commit().await.map_err(Error::from)?;
                Ok(value)
            }
            Err(error) => {
                if let Err(rollback) = tx.rollback().await {
                    // The connection is given up with its transaction.
                    tracing::warn!(error = %rollback, "rollback failed");
                }
                Err(error)
            }
        }
    }

    /// A write transaction to be committed by hand.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        if let Some(file) = &self.file {
            file.check()?;
        }
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        Ok(self.writer.begin_with_options(options).await?)
    }

    /// Is it there, and does it answer?
    pub async fn ping(&self) -> Result<(), Error> {
        if let Some(file) = &self.file {
            file.check()?;
        }
        self.reader.execute_unprepared("SELECT 1").await?;
        Ok(())
    }
}

#[async_trait]
impl Dependency for Database {
    fn name(&self) -> &str {
        "database"
    }

    async fn check(&self) -> Result<(), String> {
        self.ping().await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
