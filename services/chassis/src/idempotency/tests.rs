use jiff::Timestamp;
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use tempfile::TempDir;

use super::*;
use crate::clock::ManualClock;

struct Migrations;

#[async_trait::async_trait]
impl MigratorTrait for Migrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Migration)]
    }
}

struct Bench {
    _dir: TempDir,
    database: Database,
    clock: ManualClock,
    keys: Idempotency,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/db.sqlite?mode=rwc", dir.path().display());
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        Self {
            database: Database::open::<Migrations>(&url).await.unwrap(),
            _dir: dir,
            keys: Idempotency::new(Arc::new(clock.clone()), SignedDuration::from_hours(24)),
            clock,
        }
    }

    async fn begin(&self, call: &Call) -> Result<Begin, &'static str> {
        let tx = self.database.begin().await.unwrap();
        let begun = self.keys.begin(&tx, call).await;
        tx.commit().await.unwrap();
        begun.map_err(|failure| failure.reason())
    }

    async fn finish(&self, call: &Call, outcome: &Outcome) {
        let tx = self.database.begin().await.unwrap();
        self.keys.finish(&tx, call, outcome).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn the_second_call_waits_and_then_hears_what_the_first_heard() {
    let bench = Bench::new().await;
    let call = Call::for_test("user/1", "k", "request");
    assert_eq!(bench.begin(&call).await, Ok(Begin::First));
    assert_eq!(bench.begin(&call).await, Ok(Begin::Running));
    let outcome = Outcome::of(&"answer".to_owned());
    bench.finish(&call, &outcome).await;
    assert_eq!(bench.begin(&call).await, Ok(Begin::Done(outcome)));
}

#[tokio::test]
async fn a_key_is_its_owners_and_for_one_request() {
    let bench = Bench::new().await;
    let call = Call::for_test("user/1", "k", "request");
    assert_eq!(bench.begin(&call).await, Ok(Begin::First));
    let other = Call::for_test("user/1", "k", "another request");
    assert_eq!(bench.begin(&other).await, Err("IDEMPOTENCY_KEY_REUSED"));
    let foreign = Call::for_test("user/2", "k", "another request");
    assert_eq!(bench.begin(&foreign).await, Ok(Begin::First));
}

#[tokio::test]
async fn a_dead_owner_loses_the_key_after_its_lease_and_everybody_after_the_retention() {
    let bench = Bench::new().await;
    let call = Call::for_test("user/1", "k", "request");
    assert_eq!(bench.begin(&call).await, Ok(Begin::First));
    bench.clock.advance(LEASE);
    assert_eq!(bench.begin(&call).await, Ok(Begin::First));
    bench.finish(&call, &Outcome::of(&String::new())).await;
    bench.clock.advance(SignedDuration::from_hours(25));
    assert_eq!(bench.begin(&call).await, Ok(Begin::First));
}

#[tokio::test]
async fn a_bound_key_names_its_resource_until_it_is_given_back() {
    let bench = Bench::new().await;
    let call = Call::for_test("user/1", "k", "request");
    assert_eq!(bench.begin(&call).await, Ok(Begin::First));
    let tx = bench.database.begin().await.unwrap();
    bench.keys.bind(&tx, &call, "order-1").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        bench.begin(&call).await,
        Ok(Begin::Bound("order-1".to_owned()))
    );
    let tx = bench.database.begin().await.unwrap();
    bench.keys.release(&tx, &call).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(bench.begin(&call).await, Ok(Begin::First));
}
