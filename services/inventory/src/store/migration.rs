//! The schema, in the SQL that both engines read.

use sea_orm_migration::prelude::*;

/// Every migration of this service, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(StockAndReservations),
            Box::new(shop_chassis::idempotency::Migration),
        ]
    }
}

#[derive(Debug)]
struct StockAndReservations;

impl MigrationName for StockAndReservations {
    fn name(&self) -> &'static str {
        "inventory_0001_stock_and_reservations"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait's own signature hides it"
)]
#[async_trait::async_trait]
impl MigrationTrait for StockAndReservations {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STOCK_AND_RESERVATIONS {
            manager
                .get_connection()
                .execute_unprepared(statement)
                .await?;
        }
        Ok(())
    }
}

/// The CHECK on `stock` is the second line of defence against overselling; the guarded update is the first.
const STOCK_AND_RESERVATIONS: [&str; 4] = [
    "CREATE TABLE stock (
        sku TEXT NOT NULL PRIMARY KEY,
        on_hand BIGINT NOT NULL,
        reserved BIGINT NOT NULL DEFAULT 0,
        version BIGINT NOT NULL DEFAULT 1,
        CHECK (reserved >= 0 AND on_hand >= reserved)
    )",
    "CREATE TABLE reservations (
        id TEXT NOT NULL PRIMARY KEY,
        order_id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL
            CHECK (state IN ('PENDING', 'CONFIRMED', 'COMMITTED', 'RELEASED', 'EXPIRED')),
        lines TEXT NOT NULL,
        expires_at BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    )",
    "CREATE INDEX reservations_by_expiry ON reservations (state, expires_at)",
    "CREATE TABLE stock_movements (
        id TEXT NOT NULL PRIMARY KEY,
        sku TEXT NOT NULL,
        kind TEXT NOT NULL,
        on_hand_delta BIGINT NOT NULL,
        reserved_delta BIGINT NOT NULL,
        order_id TEXT,
        at BIGINT NOT NULL
    )",
];
