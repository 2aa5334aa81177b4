//! PostgreSQL: a pool of ten, limits on statements, locks and idle transactions.

use std::str::FromStr as _;
use std::time::Duration;

use sea_orm::{ConnectionTrait as _, SqlxPostgresConnector};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::{Database, Error, Transaction};

const POOL: u32 = 10;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
const SETTINGS: [(&str, &str); 4] = [
    ("synchronous_commit", "on"),
    ("statement_timeout", "5s"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "10s"),
];
/// Any number, as long as every replica takes the same.
const MIGRATION_LOCK: i64 = 0x6f75_7472_6967;

pub(super) async fn open(url: &str) -> Result<Database, Error> {
    // The error of a URL that cannot be read may quote its password.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| {
            Error::Unavailable("the database URL is neither sqlite: nor postgres:".to_owned())
        })?
        .options(SETTINGS);
    let pool = PgPoolOptions::new()
        .max_connections(POOL)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
        .map_err(|error| Error::Unavailable(error.to_string()))?;
    let connection = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
    Ok(Database {
        reader: connection.clone(),
        writer: connection,
        file: None,
    })
}

/// Held until the transaction ends; a slow migration of another replica is
/// worth waiting for.
pub(super) async fn lock_migrations(tx: &Transaction) -> Result<(), Error> {
    tx.execute_unprepared("SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = '60s'")
        .await?;
    tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        .await?;
    Ok(())
}
