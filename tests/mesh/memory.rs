//! A sidecar that is short of memory gives up calls, not itself.

use std::time::Duration;

use outrigger_tests::cgroup::Cgroup;
use outrigger_tests::client::Call;
use outrigger_tests::load::{Load, Report};
use outrigger_tests::mesh::Service;
use outrigger_tests::{Client, Mesh, eventually, settings};
use tokio::time::interval;

const MIB: usize = 1 << 20;
/// How long the application leaves a body of a MiB unread: the sidecar holds it.
const LINGER: Duration = Duration::from_secs(3);

/// Windows so wide that a call is held whole.
const WIDE: &str = "[limits.mesh]
stream_window = 1048576
known_stream_window = 1048576
connection_window = 209715200
connection_buffered = 134217728
[limits.process]
header_memory = 4194304
buffered_bytes = 100663296
";

fn held() -> Call {
    Call::new("orders", "/test.Echo/Linger")
        .header("x-test-code", &LINGER.as_millis().to_string())
        .message(vec![7; MIB])
}

async fn loaded(client: &Client, rate: u64, duration: Duration) -> Report {
    let client = client.clone();
    let load = Load::start(rate, move |_| (client.clone(), held()));
    let mut ticks = interval(duration);
    ticks.tick().await;
    ticks.tick().await;
    load.stop().await
}

/// F21. With 128 MiB, at the load it carries and at twice that. Rate and seconds: `OUTRIGGER_MEMORY_RATE`,
/// `OUTRIGGER_MEMORY_SECONDS`.
#[tokio::test(flavor = "multi_thread")]
async fn f21_at_twice_the_load_it_can_carry_it_refuses_calls_and_lives() {
    let Some(group) = Cgroup::memory(128 << 20) else {
        return;
    };
    let rate = settings::number("OUTRIGGER_MEMORY_RATE", 22);
    let duration = settings::seconds("MEMORY", 5);
    Mesh::builder()
        .service(Service::new("orders").after(&group.joining()))
        .client("web")
        .settings(WIDE)
        .run(async |mesh| {
            let client = mesh.client("web");
            let normal = loaded(&client, rate, duration).await;
            normal.expect_no_failures();
            let twice = loaded(&client, 2 * rate, duration).await;

            let orders = mesh.sidecar("orders");
            let served = twice.calls - twice.failures.len() as u64;
            let shed = twice.failures.iter();
            let shed = shed.filter(|(_, how)| how.starts_with("ResourceExhausted overloaded"));
            let shed = shed.count();
            println!(
                "{} of {} calls at the load it carries; {served} of {} at twice, {shed} overloaded; most used {} MiB",
                normal.calls,
                normal.calls,
                twice.calls,
                group.peak() >> 20
            );
            assert_eq!(group.killed(), 0);
            assert!(shed > 0, "nothing was shed: {:?}", twice.failures);
            assert!(served * 10 >= normal.calls * 7, "{served} of {} were served", normal.calls);
            let labels = ["scope=\"process\"", "limit=\"memory_guard\""];
            let hits = orders.metric("outrigger_limit_hits_total", &labels).await;
            assert!(hits.is_some_and(|hits| hits >= shed as f64), "{hits:?}");
            // It has what it needs again, and serves as before.
            eventually("it serves again", async || {
                let answer = client.unary("orders", crate::ECHO, "again").await;
                match answer.reason() {
                    "" => Ok(()),
                    reason => Err(reason.to_owned()),
                }
            })
            .await;
        })
        .await;
    group.remove().await;
}
