//! The processor's tables.

/// The statements that make them.
pub(crate) fn schema() -> [&'static str; 4] {
    [
        "CREATE TABLE processor_calls (
            key TEXT NOT NULL PRIMARY KEY,
            result TEXT NOT NULL,
            failures BIGINT NOT NULL,
            cancelled BOOLEAN NOT NULL
        )",
        "CREATE TABLE processor_authorizations (
            id TEXT NOT NULL PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            amount_minor BIGINT NOT NULL,
            currency TEXT NOT NULL,
            token TEXT NOT NULL,
            reference TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('AUTHORIZED', 'CAPTURED', 'VOIDED', 'REFUNDED'))
        )",
        "CREATE TABLE processor_counter (id BIGINT NOT NULL PRIMARY KEY, next BIGINT NOT NULL)",
        "INSERT INTO processor_counter (id, next) VALUES (1, 89123)",
    ]
}
