//! A service's SQLite file, opened beside the service to see what it has really kept.

use std::path::Path;

use sea_orm::{ConnectionTrait as _, DatabaseBackend, DatabaseConnection, Statement};

/// An open database.
#[derive(Debug)]
pub struct Database(DatabaseConnection);

impl Database {
    pub(crate) async fn open(path: &Path) -> Self {
        let url = format!("sqlite://{}?mode=rw", path.display());
        Self(sea_orm::Database::connect(url).await.unwrap())
    }

    /// The single integer a query answers; no row is an error, NULL is 0.
    pub async fn number(&self, sql: &str) -> i64 {
        let statement = Statement::from_string(DatabaseBackend::Sqlite, sql);
        let row = self.0.query_one_raw(statement).await.unwrap().expect(sql);
        row.try_get_by_index::<Option<i64>>(0).unwrap().unwrap_or(0)
    }
}

/// What may not change when an order is refused: stock and money.
#[derive(Debug, PartialEq, Eq)]
pub struct Books {
    /// Units reserved over all products.
    pub reserved: i64,
    /// Units on hand over all products.
    pub on_hand: i64,
    /// Captured payments.
    pub captured: i64,
    /// Their amount in minor units.
    pub amount: i64,
    /// Rows of the ledger.
    pub entries: i64,
    /// Their sum, always 0.
    pub balance: i64,
}

impl Books {
    /// Reads both services' books.
    pub async fn read(inventory: &Database, payments: &Database) -> Self {
        Self {
            reserved: inventory.number("SELECT SUM(reserved) FROM stock").await,
            on_hand: inventory.number("SELECT SUM(on_hand) FROM stock").await,
            captured: payments
                .number("SELECT COUNT(*) FROM payments WHERE state = 'CAPTURED'")
                .await,
            amount: payments
                .number("SELECT SUM(amount_minor - refunded_minor) FROM payments WHERE state = 'CAPTURED'")
                .await,
            entries: payments.number("SELECT COUNT(*) FROM ledger_entries").await,
            balance: payments
                .number("SELECT SUM(amount_minor) FROM ledger_entries")
                .await,
        }
    }
}
