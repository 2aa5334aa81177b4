//! The schema, in the SQL that both engines read.

use sea_orm_migration::prelude::*;

/// Every migration of this service, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Products)]
    }
}

#[derive(Debug)]
struct Products;

impl MigrationName for Products {
    fn name(&self) -> &'static str {
        "catalog_0001_products"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait's own signature hides it"
)]
#[async_trait::async_trait]
impl MigrationTrait for Products {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in PRODUCTS {
            manager
                .get_connection()
                .execute_unprepared(statement)
                .await?;
        }
        Ok(())
    }
}

const PRODUCTS: [&str; 3] = [
    "CREATE TABLE products (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        category TEXT NOT NULL,
        attributes TEXT NOT NULL,
        price_minor BIGINT NOT NULL CHECK (price_minor >= 0),
        currency TEXT NOT NULL,
        active BOOLEAN NOT NULL,
        version BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    )",
    "CREATE INDEX products_by_category ON products (category, id)",
    "CREATE TABLE price_history (
        product_id TEXT NOT NULL REFERENCES products (id),
        version BIGINT NOT NULL,
        price_minor BIGINT NOT NULL,
        currency TEXT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (product_id, version)
    )",
];
