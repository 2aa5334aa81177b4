//! Between "never executed" and "perhaps executed" there is a line, and only what is on the right side of it is repeated.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use outrigger_tests::client::Call;
use outrigger_tests::mesh::Service;
use outrigger_tests::raw::{frame, kind};
use outrigger_tests::scripted::{Caller, Scripted};
use outrigger_tests::seed::Random;
use outrigger_tests::{Mesh, figure, settings};
use tokio::task::JoinSet;
use tonic::Code;

use crate::ECHO;

const REFUSED_STREAM: u32 = 7;
const INTERNAL_ERROR: u32 = 2;
/// A call that finds no healthy instance waits for one by itself for some seconds.
const PATIENCE: u32 = 10;

/// What the application knows of the calls, by their message.
#[derive(Debug, Default)]
struct Ledger {
    executed: HashMap<Vec<u8>, u32>,
    /// Turned away once; the next time they are served.
    refused: HashSet<Vec<u8>>,
    /// Executed and then not answered.
    unanswered: HashSet<Vec<u8>>,
    /// Calls to be served before the next is turned away: what a farewell left out is refused without our knowing which it was.
    calm: u32,
    refusals: u32,
    farewells: u32,
    deaths: u32,
}

/// What is done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Serve,
    Refuse,
    /// GOAWAY that names the stream before it as the last one.
    Leave,
    ExecuteAndReset,
    ExecuteAndDie,
}

fn fate(random: &mut Random, may_refuse: bool) -> Fate {
    match random.below(1000) {
        0..80 if may_refuse => Fate::Refuse,
        80..120 if may_refuse => Fate::Leave,
        120..140 => Fate::ExecuteAndReset,
        140..144 => Fate::ExecuteAndDie,
        _ => Fate::Serve,
    }
}

/// Serves one connection until it leaves or dies.
async fn script(mut caller: Caller, mut random: Random, ledger: Arc<Mutex<Ledger>>) {
    let mut highest = 0;
    while let Some((stream, message)) = caller.request().await {
        if message.is_empty() {
            caller.answer(stream, &message).await;
            continue;
        }
        let fate = {
            let mut ledger = ledger.lock().unwrap();
            let may_refuse = ledger.calm == 0 && !ledger.refused.contains(&message);
            // Nothing above the last stream that GOAWAY names may have been executed.
            let fate = match fate(&mut random, may_refuse) {
                Fate::Leave if stream < highest => Fate::Serve,
                fate => fate,
            };
            ledger.note(fate, &message);
            fate
        };
        highest = highest.max(stream);
        let goes_on = match fate {
            Fate::Serve => caller.answer(stream, &message).await,
            Fate::Refuse => caller.send(&reset(stream, REFUSED_STREAM)).await,
            Fate::ExecuteAndReset => caller.send(&reset(stream, INTERNAL_ERROR)).await,
            Fate::Leave => {
                let last = stream.saturating_sub(2).to_be_bytes();
                let farewell = [&last[..], &[0; 4]].concat();
                caller.send(&frame(kind::GOAWAY, 0, 0, &farewell)).await;
                return drained(caller, stream, &ledger).await;
            }
            Fate::ExecuteAndDie => false,
        };
        if !goes_on {
            return;
        }
    }
}

/// Calls that were there before GOAWAY are served; later ones are above its last stream and not looked at.
async fn drained(mut caller: Caller, first_untaken: u32, ledger: &Mutex<Ledger>) {
    while let Some((stream, message)) = caller.request().await {
        if stream < first_untaken {
            ledger.lock().unwrap().note(Fate::Serve, &message);
            caller.answer(stream, &message).await;
        }
    }
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
}

impl Ledger {
    fn note(&mut self, fate: Fate, message: &[u8]) {
        match fate {
            Fate::Refuse | Fate::Leave => {
                self.refused.insert(message.to_vec());
                self.refusals += u32::from(fate == Fate::Refuse);
                if fate == Fate::Leave {
                    self.farewells += 1;
                    self.calm = 30;
                }
                return;
            }
            Fate::ExecuteAndReset | Fate::ExecuteAndDie => {
                self.unanswered.insert(message.to_vec());
                self.deaths += u32::from(fate == Fate::ExecuteAndDie);
            }
            Fate::Serve => self.calm = self.calm.saturating_sub(1),
        }
        *self.executed.entry(message.to_vec()).or_default() += 1;
    }
}

/// D1, D2: `OUTRIGGER_REFUSED_CALLS` calls of a method that no contract knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_what_was_refused_is_repeated_and_what_was_executed_never() {
    // A death takes all of them, and seven failures in a row open a breaker: three more must not follow by chance.
    const CALLERS: u64 = 4;
    let calls = settings::number("OUTRIGGER_REFUSED_CALLS", 1_500);
    let mut random = Random::seeded("d1");
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (seeds, written) = (Mutex::new(random.fork()), ledger.clone());
    let application = Scripted::start(move |caller| {
        let random = seeds.lock().unwrap().fork();
        script(caller, random, written.clone())
    })
    .await;
    Mesh::builder()
        .service(Service::new("orders").instances(0))
        .client("web")
        .run(async |mesh| {
            let sidecar = application.sidecar(mesh, "orders").await;
            let mut callers = JoinSet::new();
            for caller in 0..CALLERS {
                let web = mesh.client("web");
                callers.spawn(async move {
                    let mut failures = Vec::new();
                    for number in (caller..calls).step_by(CALLERS as usize) {
                        let message = number.to_string().into_bytes();
                        let call = Call::new("orders", ECHO).message(message.clone());
                        let mut answer = web.call(call.clone()).await;
                        // A busy machine is late for the health check: nobody was asked.
                        for _ in 0..PATIENCE {
                            if answer.reason() != "no_endpoint" {
                                break;
                            }
                            answer = web.call(call.clone()).await;
                        }
                        match answer.code() {
                            Code::Ok => assert_eq!(answer.messages, [message]),
                            _ => failures.push((message, answer)),
                        }
                    }
                    failures
                });
            }
            let failures = callers.join_all().await.concat();
            let ledger = std::mem::take(&mut *ledger.lock().unwrap());
            figure::tell(&format!(
                "d1: {calls} calls, {} refused, {} farewells, {} unanswered, {} deaths, {} failures",
                ledger.refusals,
                ledger.farewells,
                ledger.unanswered.len(),
                ledger.deaths,
                failures.len()
            ));
            assert!(ledger.refusals > 0 && ledger.farewells > 0 && ledger.deaths > 0);
            let twice: Vec<_> = ledger.executed.iter().filter(|(_, count)| **count > 1).collect();
            assert!(twice.is_empty(), "executed more than once: {twice:?}");
            let mut beside_a_death = 0;
            for (message, answer) in &failures {
                if !ledger.unanswered.contains(message) {
                    // Its connection died under it: nobody can know, so it is told and not repeated.
                    assert_eq!(answer.reason(), "connection_lost", "{}", answer.summary());
                    beside_a_death += 1;
                    continue;
                }
                let reason = answer.reason();
                assert!(["reset", "connection_lost"].contains(&reason), "{}", answer.summary());
                assert_eq!(ledger.executed[message], 1);
            }
            assert!(beside_a_death <= ledger.deaths * 5, "{beside_a_death} lost beside deaths");
            let answered = calls - failures.len() as u64;
            let executed = ledger.executed.len() as u64;
            assert!(executed >= answered, "{executed} were executed, {answered} answered");
            sidecar.stop().await;
        })
        .await;
}
