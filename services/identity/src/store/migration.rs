//! The schema, in the SQL that both engines read.

use sea_orm_migration::prelude::*;

/// Every migration of this service, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(UsersAndSessions)]
    }
}

#[derive(Debug)]
struct UsersAndSessions;

impl MigrationName for UsersAndSessions {
    fn name(&self) -> &'static str {
        "identity_0001_users_and_sessions"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait's own signature hides it"
)]
#[async_trait::async_trait]
impl MigrationTrait for UsersAndSessions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in USERS_AND_SESSIONS {
            manager
                .get_connection()
                .execute_unprepared(statement)
                .await?;
        }
        Ok(())
    }
}

const USERS_AND_SESSIONS: [&str; 5] = [
    "CREATE TABLE users (
        id BIGINT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        email TEXT NOT NULL,
        email_ci TEXT NOT NULL UNIQUE,
        password_phc TEXT,
        visibility TEXT NOT NULL CHECK (visibility IN ('PRIVATE', 'PUBLIC')),
        version BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    )",
    "CREATE TABLE addresses (
        id TEXT NOT NULL PRIMARY KEY,
        user_id BIGINT NOT NULL REFERENCES users (id),
        recipient TEXT NOT NULL,
        line TEXT NOT NULL,
        city TEXT NOT NULL,
        postal_code TEXT NOT NULL,
        region TEXT NOT NULL,
        country_code TEXT NOT NULL,
        is_default BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL
    )",
    "CREATE TABLE sessions (
        id TEXT NOT NULL PRIMARY KEY,
        user_id BIGINT NOT NULL REFERENCES users (id),
        family_id TEXT NOT NULL,
        refresh_hash TEXT NOT NULL UNIQUE,
        prev_hash TEXT,
        rotated_at BIGINT,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        revoked_at BIGINT,
        user_agent TEXT NOT NULL
    )",
    "CREATE INDEX sessions_by_user ON sessions (user_id)",
    "CREATE TABLE signing_keys (
        kid TEXT NOT NULL PRIMARY KEY,
        alg TEXT NOT NULL,
        public_point TEXT NOT NULL,
        private_sealed TEXT NOT NULL,
        not_before BIGINT NOT NULL,
        retire_at BIGINT
    )",
];
