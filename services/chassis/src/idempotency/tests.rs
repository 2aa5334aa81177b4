use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::join_all;
use jiff::Timestamp;
use prost_reflect::{DescriptorPool, DynamicMessage};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use tempfile::TempDir;

use super::*;
use crate::Caller;
use crate::clock::{ManualClock, SystemClock};
use crate::method::{KeyPolicy, Method};
use crate::scratch::{on_each_engine, sqlite_url};
use crate::validate::Decoded;

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
        let url = sqlite_url(dir.path());
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

/// A call as it stands behind the server's checks.
fn request(key: &'static str, text: &str) -> Request<String> {
    let kind = DescriptorPool::global()
        .get_message_by_name("google.protobuf.StringValue")
        .unwrap();
    let message = DynamicMessage::decode(kind.clone(), text.to_owned().encode_to_vec().as_slice());
    let method = Method {
        name: "test.Service/Method".to_owned(),
        input: kind,
        client_streaming: false,
        scope: String::new(),
        callers: BTreeSet::new(),
        key: KeyPolicy::Required,
        key_field: String::new(),
    };
    let caller = Caller {
        peer: "orders".to_owned(),
        principal: None,
    };
    let mut request = Request::new(text.to_owned());
    request
        .metadata_mut()
        .insert("idempotency-key", key.parse().unwrap());
    request.extensions_mut().insert(Arc::new(caller));
    request.extensions_mut().insert(Arc::new(method));
    request
        .extensions_mut()
        .insert(Decoded(Arc::new(message.unwrap())));
    request
}

fn keys() -> Idempotency {
    Idempotency::new(Arc::new(SystemClock), SignedDuration::from_hours(24))
}

fn is_replayed<T>(response: &Response<T>) -> bool {
    response
        .metadata()
        .get("idempotent-replayed")
        .is_some_and(|value| value == "true")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_calls_at_once_have_one_effect_and_one_answer() {
    on_each_engine(async |url| {
        let database = Database::open::<Migrations>(&url).await.unwrap();
        let (keys, effects) = (keys(), AtomicU32::new(0));
        let call = async || {
            let work = |_| async {
                let number = effects.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Failure>(format!("effect {number}"))
            };
            keys.once(&database, &request("k", "body"), work)
                .await
                .unwrap()
        };
        let answers = join_all((0..50).map(|_| call())).await;
        assert_eq!(effects.load(Ordering::SeqCst), 1);
        assert!(answers.iter().all(|answer| answer.get_ref() == "effect 0"));
        assert_eq!(
            answers.iter().filter(|answer| is_replayed(answer)).count(),
            49
        );
        let work = |_| async { Ok::<_, Failure>(String::new()) };
        let reused = keys.once(&database, &request("k", "other"), work).await;
        let status = reused.unwrap_err();
        assert_eq!(
            crate::status::reason(&status).as_deref(),
            Some("IDEMPOTENCY_KEY_REUSED")
        );
    })
    .await;
}

#[tokio::test]
async fn a_refusal_is_kept_without_its_effect_and_a_fault_is_not() {
    on_each_engine(async |url| {
        let database = Database::open::<Migrations>(&url).await.unwrap();
        let keys = keys();
        for (key, code, kept) in [
            ("refused", Code::FailedPrecondition, true),
            ("away", Code::Unavailable, false),
            ("wrong", Code::InvalidArgument, false),
        ] {
            let fail = |tx: Arc<Transaction>| async move {
                // An effect that must not stay.
                table::insert(&tx, &Call::for_test("effect", key, ""), now(), now(), now()).await?;
                Err::<String, _>(Failure::new(code, "NO", "no").with("why", "because"))
            };
            let first = keys
                .once(&database, &request(key, "body"), fail)
                .await
                .unwrap_err();
            assert_eq!(first.code(), code);
            let tx = database.begin().await.unwrap();
            let effect = table::find(&tx, &Call::for_test("effect", key, ""))
                .await
                .unwrap();
            assert!(effect.is_none(), "{key}");
            tx.rollback().await.unwrap();
            let work = |_| async { Ok::<_, Failure>("done".to_owned()) };
            let second = keys.once(&database, &request(key, "body"), work).await;
            match second {
                Err(status) if kept => {
                    assert_eq!((status.code(), status.message()), (code, "no"));
                    assert_eq!(status.details(), first.details());
                    assert!(status.metadata().contains_key("idempotent-replayed"));
                }
                Ok(response) if !kept => assert!(!is_replayed(&response)),
                other => panic!("{key}: {other:?}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_whose_first_still_runs_is_told_to_come_back() {
    let bench = Bench::new().await;
    let request = request("k", "body");
    let call = Call::of(&request).unwrap().unwrap();
    assert_eq!(bench.begin(&call).await, Ok(Begin::First));
    let since = Instant::now();
    let work = |_| async { Ok::<_, Failure>(String::new()) };
    let status = bench
        .keys
        .once(&bench.database, &request, work)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(
        crate::status::reason(&status).as_deref(),
        Some("IDEMPOTENCY_IN_PROGRESS")
    );
    assert!(since.elapsed() < Duration::from_secs(2));
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1_000_000)
}
