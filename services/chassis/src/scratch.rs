//! What the tests of services share. `Served` runs a whole service in the
//! test's process. Databases for the tests of stores: a SQLite file each time, and a database
//! of its own on the PostgreSQL of `OUTRIGGER_TEST_POSTGRES_URL` where there is
//! one. Without it the test says so on stderr, and fails when
//! `OUTRIGGER_REQUIRE` names `postgres`.

mod served;

use std::io::Write as _;

use sea_orm::ConnectionTrait as _;

pub use served::{Served, as_service, as_user};

/// Runs `test` with the URL of a fresh, empty database, once an engine.
pub async fn on_each_engine(test: impl AsyncFn(String)) {
    let folder = tempfile::tempdir().expect("a folder for the test's database");
    test(sqlite_url(folder.path())).await;
    on_postgres(test).await;
}

/// Runs `test` with a fresh PostgreSQL database, if there is a PostgreSQL.
pub async fn on_postgres(test: impl AsyncFn(String)) {
    let Some(server) = postgres() else {
        return;
    };
    let name = format!("outrigger_test_{}", uuid::Uuid::now_v7().simple());
    let admin = sea_orm::Database::connect(&server)
        .await
        .expect("the PostgreSQL of the tests");
    let run = |sql: String| {
        let admin = &admin;
        async move {
            admin
                .execute_unprepared(&sql)
                .await
                .expect("a database of the test's own")
        }
    };
    run(format!("CREATE DATABASE {name}")).await;
    let (base, _) = server.rsplit_once('/').expect("a URL with a database");
    test(format!("{base}/{name}")).await;
    run(format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

/// A file of a test's own folder.
pub fn sqlite_url(folder: &std::path::Path) -> String {
    format!("sqlite://{}/db.sqlite?mode=rwc", folder.display())
}

fn postgres() -> Option<String> {
    let found = variable("OUTRIGGER_TEST_POSTGRES_URL");
    if found.is_none() {
        let required = variable("OUTRIGGER_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|name| name == "postgres"),
            "postgres is required here, but OUTRIGGER_TEST_POSTGRES_URL is not set"
        );
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        // Past libtest's capture. A closed stderr is nobody's failure.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {test} on PostgreSQL: OUTRIGGER_TEST_POSTGRES_URL is not set"
        );
    }
    found
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no main that reads settings"
)]
fn variable(key: &str) -> Option<String> {
    std::env::var(key).ok().filter(|value| !value.is_empty())
}
