//! The schema, in the SQL that both engines read; the ledger's triggers once for each.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::processor::embedded_schema;

/// Every migration of this service, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Payments), Box::new(EmbeddedProcessor)]
    }
}

#[derive(Debug)]
struct Payments;

impl MigrationName for Payments {
    fn name(&self) -> &'static str {
        "payments_0001_payments_and_ledger"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait's own signature hides it"
)]
#[async_trait::async_trait]
impl MigrationTrait for Payments {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let triggers = match manager.get_database_backend() {
            DbBackend::Postgres => LEDGER_RULES_POSTGRES,
            _ => LEDGER_RULES_SQLITE,
        };
        for statement in TABLES.iter().chain(triggers) {
            manager
                .get_connection()
                .execute_unprepared(statement)
                .await?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct EmbeddedProcessor;

impl MigrationName for EmbeddedProcessor {
    fn name(&self) -> &'static str {
        "payments_0002_embedded_processor"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait's own signature hides it"
)]
#[async_trait::async_trait]
impl MigrationTrait for EmbeddedProcessor {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in embedded_schema() {
            manager
                .get_connection()
                .execute_unprepared(statement)
                .await?;
        }
        Ok(())
    }
}

/// An entry names its transaction before that row exists; the foreign key, checked at commit, makes sure that it
/// will, and the triggers below that it balances.
const TABLES: &[&str] = &[
    "CREATE TABLE payments (
        id TEXT NOT NULL PRIMARY KEY,
        order_id TEXT NOT NULL UNIQUE,
        user_id BIGINT NOT NULL,
        amount_minor BIGINT NOT NULL CHECK (amount_minor >= 0),
        currency TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN
            ('PENDING', 'AUTHORIZED', 'CAPTURED', 'DECLINED', 'CANCELLING', 'CANCELLED')),
        payment_method TEXT NOT NULL,
        token TEXT NOT NULL,
        brand TEXT NOT NULL,
        last4 TEXT NOT NULL,
        transaction_id TEXT NOT NULL,
        captured BOOLEAN NOT NULL,
        refunded_minor BIGINT NOT NULL
            CHECK (refunded_minor >= 0 AND refunded_minor <= amount_minor),
        decline_reason TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    )",
    "CREATE INDEX payments_by_user ON payments (user_id, created_at, id)",
    "CREATE TABLE payment_methods (
        user_id BIGINT NOT NULL,
        token TEXT NOT NULL,
        brand TEXT NOT NULL,
        last4 TEXT NOT NULL,
        is_default BOOLEAN NOT NULL,
        PRIMARY KEY (user_id, token)
    )",
    "CREATE TABLE psp_calls (
        key TEXT NOT NULL PRIMARY KEY,
        order_id TEXT NOT NULL,
        operation TEXT NOT NULL,
        request TEXT NOT NULL,
        response TEXT NOT NULL,
        outcome TEXT NOT NULL CHECK (outcome IN ('SENT', 'DONE', 'DECLINED', 'UNKNOWN')),
        attempts BIGINT NOT NULL,
        sent_at BIGINT NOT NULL,
        answered_at BIGINT
    )",
    "CREATE TABLE ledger_accounts (name TEXT NOT NULL PRIMARY KEY)",
    "CREATE TABLE ledger_transactions (
        id TEXT NOT NULL PRIMARY KEY,
        kind TEXT NOT NULL,
        order_id TEXT NOT NULL,
        currency TEXT NOT NULL,
        at BIGINT NOT NULL
    )",
    "CREATE TABLE ledger_entries (
        id TEXT NOT NULL PRIMARY KEY,
        transaction_id TEXT NOT NULL
            REFERENCES ledger_transactions (id) DEFERRABLE INITIALLY DEFERRED,
        account TEXT NOT NULL REFERENCES ledger_accounts (name),
        amount_minor BIGINT NOT NULL CHECK (amount_minor <> 0)
    )",
    "CREATE INDEX ledger_entries_by_transaction ON ledger_entries (transaction_id)",
    "CREATE INDEX ledger_entries_by_account ON ledger_entries (account)",
    "CREATE INDEX ledger_transactions_by_order ON ledger_transactions (order_id)",
];

const LEDGER_RULES_SQLITE: &[&str] = &[
    "CREATE TRIGGER ledger_transaction_balances BEFORE INSERT ON ledger_transactions
     WHEN (SELECT COUNT(*) FROM ledger_entries WHERE transaction_id = NEW.id) < 2
       OR (SELECT SUM(amount_minor) FROM ledger_entries WHERE transaction_id = NEW.id) <> 0
     BEGIN SELECT RAISE(ABORT, 'ledger transaction does not sum to zero'); END",
    "CREATE TRIGGER ledger_transaction_is_closed BEFORE INSERT ON ledger_entries
     WHEN EXISTS (SELECT 1 FROM ledger_transactions WHERE id = NEW.transaction_id)
     BEGIN SELECT RAISE(ABORT, 'ledger transaction is closed'); END",
    "CREATE TRIGGER ledger_entries_stay BEFORE UPDATE ON ledger_entries
     BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END",
    "CREATE TRIGGER ledger_entries_remain BEFORE DELETE ON ledger_entries
     BEGIN SELECT RAISE(ABORT, 'ledger entries are never deleted'); END",
];

const LEDGER_RULES_POSTGRES: &[&str] = &[
    "CREATE FUNCTION ledger_transaction_balances() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN
        IF (SELECT COUNT(*) FROM ledger_entries WHERE transaction_id = NEW.id) < 2
           OR (SELECT SUM(amount_minor) FROM ledger_entries WHERE transaction_id = NEW.id) <> 0
        THEN RAISE EXCEPTION 'ledger transaction does not sum to zero';
        END IF;
        RETURN NEW;
     END $$",
    "CREATE TRIGGER ledger_transaction_balances BEFORE INSERT ON ledger_transactions
     FOR EACH ROW EXECUTE FUNCTION ledger_transaction_balances()",
    "CREATE FUNCTION ledger_transaction_is_closed() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN
        IF EXISTS (SELECT 1 FROM ledger_transactions WHERE id = NEW.transaction_id)
        THEN RAISE EXCEPTION 'ledger transaction is closed';
        END IF;
        RETURN NEW;
     END $$",
    "CREATE TRIGGER ledger_transaction_is_closed BEFORE INSERT ON ledger_entries
     FOR EACH ROW EXECUTE FUNCTION ledger_transaction_is_closed()",
    "CREATE FUNCTION ledger_entries_stay() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN RAISE EXCEPTION 'ledger entries are never changed or deleted'; END $$",
    "CREATE TRIGGER ledger_entries_stay BEFORE UPDATE OR DELETE ON ledger_entries
     FOR EACH ROW EXECUTE FUNCTION ledger_entries_stay()",
];
