use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::join_all;
use sea_orm::{ConnectionTrait as _, Statement};
use sea_orm_migration::prelude::{DbErr, MigrationName, SchemaManager};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use tempfile::TempDir;
use tokio::sync::Barrier;

use super::*;
use crate::scratch::{on_each_engine, on_postgres, sqlite_url};

struct Migrations;

#[async_trait]
impl MigratorTrait for Migrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Counters)]
    }
}

struct Counters;

impl MigrationName for Counters {
    fn name(&self) -> &'static str {
        "0001_counters"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait's own signature hides it"
)]
#[async_trait]
impl MigrationTrait for Counters {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for sql in [
            "CREATE TABLE counters (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL, note TEXT)",
            "INSERT INTO counters (id, n) VALUES (1, 0), (2, 0)",
        ] {
            manager.get_connection().execute_unprepared(sql).await?;
        }
        Ok(())
    }
}

async fn open(url: &str) -> Database {
    Database::open::<Migrations>(url).await.unwrap()
}

async fn scratch() -> (TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&sqlite_url(folder.path())).await;
    (folder, database)
}

async fn increment(tx: &Transaction, id: i64) -> Result<(), Error> {
    tx.execute_unprepared(&format!("UPDATE counters SET n = n + 1 WHERE id = {id}"))
        .await?;
    Ok(())
}

async fn sum(database: &Database) -> i64 {
    let connection = database.read();
    let query = Statement::from_string(
        connection.get_database_backend(),
        "SELECT CAST(SUM(n) AS BIGINT) FROM counters",
    );
    let row = connection.query_one_raw(query).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

async fn note(database: &Database, bytes: usize) -> Result<(), Error> {
    let sql = format!(
        "UPDATE counters SET note = '{}' WHERE id = 1",
        "x".repeat(bytes)
    );
    database
        .write(|tx| {
            let sql = &sql;
            async move {
                tx.execute_unprepared(sql).await?;
                Ok(())
            }
        })
        .await
}

#[tokio::test]
async fn what_failed_left_nothing_and_what_worked_stays() {
    on_each_engine(async |url| {
        let database = open(&url).await;
        let failed = database
            .write(|tx| async move {
                increment(&tx, 1).await?;
                Err::<(), Error>(DbErr::Custom("no".to_owned()).into())
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(sum(&database).await, 0);
        database
            .write(|tx| async move { increment(&tx, 1).await })
            .await
            .unwrap();
        assert_eq!(sum(&database).await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_once_lose_nothing() {
    on_each_engine(async |url| {
        // Two handles, as two replicas on one file are.
        let databases = [open(&url).await, open(&url).await];
        let writes = (0..40)
            .map(|turn| databases[turn % 2].write(|tx| async move { increment(&tx, 1).await }));
        for written in join_all(writes).await {
            written.unwrap();
        }
        assert_eq!(sum(&databases[0]).await, 40);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_migrate_once() {
    on_each_engine(async |url| {
        let databases = join_all((0..4).map(|_| open(&url))).await;
        assert_eq!(sum(&databases[3]).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlocks_victim_runs_again() {
    on_postgres(async |url| {
        let database = open(&url).await;
        let (both_hold_one, runs) = (Barrier::new(2), AtomicU32::new(0));
        let crossing = |first: i64, second: i64| {
            let (both_hold_one, runs) = (&both_hold_one, &runs);
            database.write(move |tx| async move {
                increment(&tx, first).await?;
                if runs.fetch_add(1, Ordering::SeqCst) < 2 {
                    both_hold_one.wait().await;
                }
                increment(&tx, second).await
            })
        };
        let (one, other) = tokio::join!(crossing(1, 2), crossing(2, 1));
        one.unwrap();
        other.unwrap();
        assert_eq!(sum(&database).await, 4);
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    })
    .await;
}

#[tokio::test]
async fn readers_cannot_write() {
    let (_folder, database) = scratch().await;
    let written = database
        .read()
        .execute_unprepared("DELETE FROM counters")
        .await;
    assert!(written.is_err());
}

#[tokio::test]
async fn a_database_whose_file_is_gone_is_not_healthy_and_takes_no_writes() {
    let (folder, database) = scratch().await;
    assert!(database.check().await.is_ok());
    drop(folder);
    assert!(database.check().await.is_err());
    let written = note(&database, 1).await;
    assert!(matches!(written, Err(Error::Unavailable(_))), "{written:?}");
}

#[tokio::test]
async fn a_full_disk_is_told_and_recovered_from_without_restart() {
    let (_folder, database) = scratch().await;
    let limit = |pages: u32| {
        let writer = database.writer.clone();
        async move {
            let sql = format!("PRAGMA max_page_count = {pages}");
            writer.execute_unprepared(&sql).await.unwrap();
        }
    };
    limit(20).await;
    let written = note(&database, 1_000_000).await;
    assert!(matches!(written, Err(Error::Unavailable(_))), "{written:?}");
    assert_eq!(sum(&database).await, 0);
    limit(100_000).await;
    note(&database, 1_000_000).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("db.sqlite"), "x".repeat(8192)).unwrap();
    let opened = Database::open::<Migrations>(&sqlite_url(folder.path())).await;
    assert!(matches!(opened, Err(Error::Unavailable(_))), "{opened:?}");
}
