use sea_orm::{ConnectionTrait as _, Statement};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use tempfile::TempDir;

use super::*;

struct Migrations;

#[async_trait]
impl MigratorTrait for Migrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(crate::idempotency::Migration)]
    }
}

async fn open() -> (TempDir, Database) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/db.sqlite?mode=rwc", dir.path().display());
    let database = Database::open::<Migrations>(&url).await.unwrap();
    (dir, database)
}

async fn count(database: &Database) -> i64 {
    let query = "SELECT COUNT(*) AS n FROM idempotency_keys";
    let query = Statement::from_string(sea_orm::DbBackend::Sqlite, query);
    let row = database.read().query_one_raw(query).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

const INSERT: &str = "INSERT INTO idempotency_keys
    (principal, method, \"key\", fingerprint, state, locked_until, created_at, expires_at)
    VALUES ('a', 'b', 'c', x'00', 'RUNNING', 0, 0, 0)";

#[tokio::test]
async fn what_failed_left_nothing_and_what_worked_stays() {
    let (_dir, database) = open().await;
    let failed = database
        .write(|tx| async move {
            tx.execute_unprepared(INSERT).await.map_err(Error::from)?;
            Err::<(), Error>(sea_orm::DbErr::Custom("no".to_owned()).into())
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(count(&database).await, 0);
    database
        .write(|tx| async move {
            tx.execute_unprepared(INSERT).await.map_err(Error::from)?;
            Ok::<(), Error>(())
        })
        .await
        .unwrap();
    assert_eq!(count(&database).await, 1);
}

#[tokio::test]
async fn a_database_whose_file_is_gone_is_not_healthy() {
    let (dir, database) = open().await;
    assert!(database.check().await.is_ok());
    drop(dir);
    assert!(database.check().await.is_err());
}
