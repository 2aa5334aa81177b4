//! Traffic of every kind for as long as one likes: no call fails, and nothing grows.

use std::time::Duration;

use bytes::Bytes;
use outrigger_tests::alone::alone;
use outrigger_tests::client::{Answer, Call};
use outrigger_tests::eventually::holds;
use outrigger_tests::figure::{quantile, spread, tell};
use outrigger_tests::footprint::{Footprint, growth};
use outrigger_tests::mesh::Service;
use outrigger_tests::{Client, Mesh, eventually, settings};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tonic::Code;

use crate::ECHO;

const MIB: f64 = (1 << 20) as f64;

fn of(path: &str) -> Call {
    Call::new("orders", path)
}

/// Calls of one program: most share a connection, some come on their own.
#[derive(Clone)]
struct Caller {
    shared: Client,
}

impl Caller {
    /// The n-th call, and why it was wrong.
    async fn run(self, number: u64) -> Result<(), String> {
        let client = match number % 64 {
            // Somebody who connects, calls once and is gone.
            63 => Client::new(self.shared.address().clone()),
            _ => self.shared.clone(),
        };
        if number % 1024 == 1000 {
            client.reconnect().await;
        }
        match number % 16 {
            8 => {
                let mut call = of("/test.Echo/Upload");
                call.messages = vec![Bytes::from(vec![1; 3000]); 5];
                expect(&client.call(call).await, Code::Ok, 1, "15000")
            }
            9 => {
                let answer = client
                    .call(of("/test.Echo/Download").message("70000"))
                    .await;
                expect(&answer, Code::Ok, 2, "")
            }
            10 => {
                let mut call = of("/test.Echo/Bidi");
                call.messages = vec![Bytes::from_static(b"there and back"); 10];
                expect(&client.call(call).await, Code::Ok, 10, "")
            }
            11 => cancelled(&client).await,
            12 => {
                let call = of("/test.Echo/Stall").header("grpc-timeout", "50m");
                expect(&client.call(call).await, Code::DeadlineExceeded, 0, "")
            }
            13 => {
                let call = of("/test.Echo/Fail")
                    .header("x-test-code", "5")
                    .header("x-test-shape", "trailers");
                expect(&client.call(call).await, Code::NotFound, 0, "")
            }
            14 => expect(
                &client.call(of(ECHO).message(vec![b'x'; 100_000])).await,
                Code::Ok,
                1,
                "",
            ),
            _ => expect(
                &client.call(of(ECHO).message("hello")).await,
                Code::Ok,
                1,
                "hello",
            ),
        }
    }
}

fn expect(answer: &Answer, code: Code, messages: usize, text: &str) -> Result<(), String> {
    let is_right = answer.code() == code
        && answer.messages.len() == messages
        && answer
            .messages
            .first()
            .is_none_or(|first| text.is_empty() || first == text);
    match is_right {
        true => Ok(()),
        false => Err(format!(
            "{} with {} messages",
            answer.summary(),
            answer.messages.len()
        )),
    }
}

/// A conversation that its caller leaves in the middle.
async fn cancelled(client: &Client) -> Result<(), String> {
    let mut stream = client.open(&of("/test.Echo/Bidi")).await?;
    stream.message(b"before").await;
    match stream.next().await {
        Some(message) if message == "before" => Ok(()),
        other => Err(format!("a conversation said {other:?}")),
    }
}

struct Report {
    calls: u64,
    failures: Vec<String>,
    /// From the moment each call was due.
    took: Vec<Duration>,
}

/// Open loop: calls begin by the clock. `each_second` looks on.
async fn drive(
    caller: &Caller,
    rate: u64,
    lasts: Duration,
    mut each_second: impl FnMut(),
) -> Report {
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
    let mut seconds = interval(Duration::from_secs(1));
    let mut running = JoinSet::new();
    let mut report = Report {
        calls: 0,
        failures: Vec::new(),
        took: Vec::new(),
    };
    let end = Instant::now() + lasts;
    while Instant::now() < end || !running.is_empty() {
        tokio::select! {
            due = ticks.tick(), if Instant::now() < end => {
                let (caller, number) = (caller.clone(), report.calls);
                report.calls += 1;
                running.spawn(async move { (number, due, caller.run(number).await) });
            }
            Some(done) = running.join_next() => {
                let (number, due, outcome) = done.unwrap();
                report.took.push(due.elapsed());
                if let Err(why) = outcome {
                    report.failures.push(format!("call {number} (kind {}): {why}", number % 16));
                }
            }
            _ = seconds.tick() => each_second(),
        }
    }
    report
}

/// K2. `OUTRIGGER_SOAK_RATE` calls a second for `OUTRIGGER_SOAK_SECONDS`; the gate runs 1,000 for 120 as well, a full run 600, both with a
/// release build of the sidecars in `OUTRIGGER_BIN`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_traffic_of_every_kind_fails_nowhere_and_leaves_nothing_behind() {
    let _alone = alone().await;
    let rate = settings::number("OUTRIGGER_SOAK_RATE", 60);
    let lasts = settings::seconds("SOAK", 10);
    Mesh::builder()
        .service(Service::new("orders").instances(2))
        .client("web")
        .run(async |mesh| {
            let sidecars: Vec<_> = mesh
                .instances
                .iter()
                .filter_map(|instance| instance.sidecar.as_ref())
                .chain([mesh.client_sidecar("web")])
                .map(|sidecar| (sidecar.instance.clone(), sidecar.pid()))
                .collect();
            let caller = Caller { shared: mesh.client("web") };
            // What the first calls make, all later ones use.
            let warm = drive(&caller, rate, lasts / 5, || ()).await;
            assert_eq!(warm.failures, Vec::<String>::new());
            let before: Vec<_> = sidecars.iter().map(|(_, pid)| Footprint::of(*pid)).collect();
            let mut seen = vec![Vec::new(); sidecars.len()];
            let report = drive(&caller, rate, lasts, || {
                for ((_, pid), seen) in sidecars.iter().zip(&mut seen) {
                    seen.push(Footprint::of(*pid));
                }
            })
            .await;
            tell(&format!("k2: {} calls at {rate}/s: {}", report.calls, spread(&report.took)));
            let failures = report.failures.len();
            assert!(
                failures == 0,
                "{failures} of {} calls failed; the first: {}",
                report.calls,
                report.failures[0]
            );
            assert!(report.calls >= rate * lasts.as_secs() * 9 / 10, "{} calls", report.calls);
            let slow = quantile(&report.took, 99);
            assert!(slow < Duration::from_secs(5), "p99 {slow:?}: more than it can carry");
            for ((name, pid), (before, seen)) in sidecars.iter().zip(before.iter().zip(&seen)) {
                let growth = growth(seen);
                let first = seen.first().unwrap_or(before).resident;
                tell(&format!(
                    "k2 {name}: {:.1} MiB at first, {:+.2} MiB from the first half to the second, {:+.2} MiB/min, descriptors {} to {}",
                    first as f64 / MIB,
                    growth.bytes / MIB,
                    growth.bytes_per_minute / MIB,
                    before.descriptors,
                    seen.last().unwrap_or(before).descriptors,
                ));
                // 5 %, and a page cache's worth of noise for short runs.
                let most = first as f64 * 0.05 + MIB;
                assert!(growth.bytes <= most, "{name} grew by {:.2} MiB", growth.bytes / MIB);
                eventually("its descriptors are back", async || {
                    let now = Footprint::of(*pid).descriptors;
                    holds(now <= before.descriptors + 2, format!("{} to {now}", before.descriptors))
                })
                .await;
            }
        })
        .await;
}
