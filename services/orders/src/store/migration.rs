//! The schema, in the SQL that both engines read; only bytes are spelt differently.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// Every migration of this service, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(OrdersAndSagas),
            Box::new(shop_chassis::idempotency::Migration),
        ]
    }
}

#[derive(Debug)]
struct OrdersAndSagas;

impl MigrationName for OrdersAndSagas {
    fn name(&self) -> &'static str {
        "orders_0001_orders_and_sagas"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait's own signature hides it"
)]
#[async_trait::async_trait]
impl MigrationTrait for OrdersAndSagas {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let bytes = match manager.get_database_backend() {
            DbBackend::Postgres => "BYTEA",
            _ => "BLOB",
        };
        for statement in TABLES {
            let statement = statement.replace("BYTES", bytes);
            manager
                .get_connection()
                .execute_unprepared(&statement)
                .await?;
        }
        Ok(())
    }
}

const TABLES: &[&str] = &[
    "CREATE TABLE order_events (
        order_id TEXT NOT NULL,
        version BIGINT NOT NULL CHECK (version >= 1),
        type TEXT NOT NULL,
        payload BYTES NOT NULL,
        meta TEXT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (order_id, version)
    )",
    "CREATE TABLE order_numbers (
        id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
        next BIGINT NOT NULL
    )",
    "INSERT INTO order_numbers (id, next) VALUES (1, 1)",
    "CREATE TABLE order_views (
        order_id TEXT NOT NULL PRIMARY KEY,
        order_number BIGINT NOT NULL UNIQUE,
        user_id BIGINT NOT NULL,
        state TEXT NOT NULL,
        version BIGINT NOT NULL,
        content BYTES NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    )",
    "CREATE INDEX order_views_by_user ON order_views (user_id, order_number)",
    "CREATE TABLE sagas (
        saga_id TEXT NOT NULL PRIMARY KEY,
        type TEXT NOT NULL,
        def_version BIGINT NOT NULL,
        state TEXT NOT NULL,
        step TEXT NOT NULL,
        deadline_at BIGINT NOT NULL,
        next_run_at BIGINT NOT NULL,
        lease_owner TEXT NOT NULL,
        lease_epoch BIGINT NOT NULL,
        lease_until BIGINT NOT NULL,
        attempts BIGINT NOT NULL,
        last_error TEXT NOT NULL,
        ctx BYTES NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    )",
    "CREATE INDEX sagas_by_state ON sagas (state, next_run_at)",
    "CREATE TABLE saga_steps (
        saga_id TEXT NOT NULL REFERENCES sagas (saga_id),
        step TEXT NOT NULL,
        direction TEXT NOT NULL CHECK (direction IN ('fwd', 'undo')),
        state TEXT NOT NULL
            CHECK (state IN ('INTENT', 'DONE', 'REFUSED', 'UNKNOWN', 'UNDONE')),
        idem_key TEXT NOT NULL,
        request BYTES NOT NULL,
        response BYTES NOT NULL,
        error TEXT NOT NULL,
        attempts BIGINT NOT NULL,
        started_at BIGINT NOT NULL,
        finished_at BIGINT,
        PRIMARY KEY (saga_id, step, direction)
    )",
];
