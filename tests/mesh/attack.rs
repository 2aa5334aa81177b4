//! Floods, one family after the other, beside calls that must not notice.

/// Floods of a client, family by family.
mod family;

/// The other way round: floods of whoever is called.
mod callee;

use std::time::Duration;

use outrigger_tests::alone::alone;
use outrigger_tests::attacker::{self, Attack, Sink, Tally};
use outrigger_tests::client::Call;
use outrigger_tests::eventually::holds;
use outrigger_tests::figure::{quantile, spread, tell};
use outrigger_tests::footprint::Footprint;
use outrigger_tests::good::{Calls, Good};
use outrigger_tests::mesh::Service;
use outrigger_tests::sidecar::Sidecar;
use outrigger_tests::{Client, Mesh, eventually, settings};
use tokio::time::interval;

use crate::ECHO;
use family::Outcome;

const MIB: u64 = 1 << 20;
/// Whoever is cut off is cut off by then.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What these send comes to the application, which is kept busy in the process of those who make the good calls: how long they take then
/// says little of the sidecars between them.
const FOR_THE_APPLICATION: [&str; 3] = ["data dribble", "answers nobody reads", "tiny data frames"];

/// How much of it: a full run is `OUTRIGGER_ATTACKERS=50 OUTRIGGER_ATTACK_MILLIS=10000`, on quiet cores with a release build of the sidecars in
/// `OUTRIGGER_BIN` and `OUTRIGGER_ATTACK_SLACK=1`.
#[derive(Clone, Copy)]
struct Size {
    attackers: u32,
    lasts: Duration,
    /// By how much a busy machine with an unoptimised build may be slower.
    slack: u32,
}

impl Size {
    fn of_this_run() -> Self {
        let number = |name, default| settings::number(name, default);
        let small = |name, default| u32::try_from(number(name, default)).unwrap();
        Self {
            attackers: small("OUTRIGGER_ATTACKERS", 4),
            lasts: Duration::from_millis(number("OUTRIGGER_ATTACK_MILLIS", 100)),
            slack: small("OUTRIGGER_ATTACK_SLACK", 10),
        }
    }
}

/// `OUTRIGGER_ATTACK=ping` looks at families with that in their name alone.
fn wanted(attack: &Attack) -> bool {
    settings::variable("OUTRIGGER_ATTACK").is_none_or(|part| attack.name.contains(&part))
}

/// The highest resident memory while something goes on.
async fn peak_of<T>(pid: u32, work: impl Future<Output = T>) -> (u64, T) {
    let mut work = std::pin::pin!(work);
    let mut peak = 0;
    let mut looks = interval(Duration::from_millis(50));
    loop {
        tokio::select! {
            done = &mut work => return (peak, done),
            _ = looks.tick() => peak = peak.max(Footprint::of(pid).resident),
        }
    }
}

struct Listener<'a> {
    name: &'static str,
    address: String,
    sidecar: &'a Sidecar,
}

impl Listener<'_> {
    /// One family on this listener; what the good calls came to. What an application resets through its sidecar is its identity's doing in
    /// the mesh: its callee takes a share of its calls then, and for some time after.
    async fn meets(&self, attack: Attack, outcome: Outcome, size: Size, good: &Client) -> Calls {
        let what = format!("{} on {}", attack.name, self.name);
        let before = Footprint::of(self.sidecar.pid());
        let calls = Good::start(good);
        let must_end = match outcome {
            Outcome::Ended(_) => true,
            Outcome::EndedAtEdge(_) => self.name == "edge",
            Outcome::Harmless(_) => false,
        };
        let flood = attacker::attack(attack, &self.address, size.attackers, size.lasts, must_end);
        let (peak, tally) = peak_of(self.sidecar.pid(), flood).await;
        let calls = calls.stop_throttled(&what).await;
        let after = Footprint::of(self.sidecar.pid());
        let busy = (after.busy - before.busy).as_secs_f64() * 1e6 / tally.frames.max(1) as f64;
        tell(&format!(
            "b1 {what}: {} frames on {} connections, {:.1} µs of processor a frame, {:+} KiB at most, ended {:?} after {:?} at most, good calls {}, {} put off",
            tally.frames,
            tally.connections,
            busy,
            peak.saturating_sub(before.resident) / 1024,
            tally.ended,
            tally.longest,
            spread(&calls.took),
            calls.put_off
        ));
        assert!(busy.is_finite() && tally.frames > 0, "{what}: {tally:?}");
        assert!(
            peak < before.resident + 64 * MIB,
            "{what}: {} MiB",
            peak / MIB
        );
        self.check(&what, outcome, must_end, size, &tally);
        eventually(&format!("memory is back after {what}"), async || {
            let now = Footprint::of(self.sidecar.pid()).resident;
            let most = before.resident + before.resident / 10 + 16 * MIB;
            holds(
                now <= most,
                format!("{} KiB to {} KiB", before.resident / 1024, now / 1024),
            )
        })
        .await;
        calls
    }

    fn check(&self, what: &str, outcome: Outcome, must_end: bool, size: Size, tally: &Tally) {
        let (Outcome::Ended(allowed) | Outcome::EndedAtEdge(allowed) | Outcome::Harmless(allowed)) =
            outcome;
        if must_end {
            assert_eq!(tally.tolerated, 0, "{what} is not ended: {tally:?}");
            assert!(
                tally.longest <= AT_ONCE * size.slack,
                "{what} goes on too long: {tally:?}"
            );
        }
        for how in tally.ended.keys() {
            // A peer that is still writing may be reset before it reads why.
            assert!(
                how == "(closed)" || allowed.contains(&&**how),
                "{what}: {how:?} of {allowed:?}"
            );
        }
    }
}

/// B1, and B2's variants: each family from one connection at a time and from many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_each_family_is_cut_off_or_harmless_beside_good_calls() {
    let _alone = alone().await;
    let size = Size::of_this_run();
    Mesh::builder()
        .service(Service::new("orders").edge())
        .client("web")
        .run(async |mesh| {
            let (orders, web) = (mesh.sidecar("orders"), mesh.client_sidecar("web"));
            let good = mesh.client("web");
            let listeners = [
                Listener {
                    name: "edge",
                    address: orders.addresses.edge.clone().unwrap(),
                    sidecar: orders,
                },
                Listener {
                    name: "outbound",
                    address: web.addresses.upstreams["orders"].clone(),
                    sidecar: web,
                },
            ];
            let sink = Sink::start().await;
            for attackers in [1, size.attackers] {
                let size = Size { attackers, ..size };
                let (mut beside, mut alone) = (Calls::default(), Calls::default());
                let families = family::all()
                    .into_iter()
                    .filter(|(attack, _)| wanted(attack));
                for (number, (attack, outcome)) in families.enumerate() {
                    // To a sink one flood is like another.
                    if number % 5 == 0 {
                        let calls = Good::start(&good);
                        let lasts = size.lasts;
                        attacker::attack(attack, &sink.address, attackers, lasts, false).await;
                        alone.add(calls.stop_throttled("the sink").await);
                    }
                    for listener in &listeners {
                        let calls = listener.meets(attack, outcome, size, &good).await;
                        if !FOR_THE_APPLICATION.contains(&attack.name) {
                            beside.add(calls);
                        }
                    }
                }
                for (what, calls) in [("", &beside), (" of a sink", &alone)] {
                    let (took, put_off) = (spread(&calls.took), calls.put_off);
                    tell(&format!(
                        "b1 {attackers} attackers{what}: good calls {took}, {put_off} put off"
                    ));
                }
                let [beside, alone] = [beside, alone].map(|calls| quantile(&calls.took, 99));
                // A build without optimisation that shares its cores with other tests says nothing about latency.
                if size.slack == 1 {
                    assert!(
                        beside <= 3 * alone,
                        "{attackers} attackers: {beside:?}, with a sink {alone:?}"
                    );
                }
            }
            eventually("whoever was throttled is served again", async || {
                let answer = good.call(Call::new("orders", ECHO)).await;
                holds(answer.code() == tonic::Code::Ok, answer.summary())
            })
            .await;
        })
        .await;
}
