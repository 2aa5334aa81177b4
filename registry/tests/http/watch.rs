//! A hundred parked reads.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::Api;
use crate::embedded::Embedded;

const WATCHES: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_parked_reads_wake_soon_after_a_write() {
    let server = Embedded::start().await;
    let api = server.api.clone();
    api.register(json!({"ID": "busy-1", "Name": "busy", "Port": 1, "Check": {"CheckID": "busy", "TTL": "300s"}})).await;
    let path = "/v1/health/service/busy";
    let (mut medians, mut lasts) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let index = api.get(path).await.index();
        let mut reads = JoinSet::new();
        for _ in 0..WATCHES {
            // A client each: a sidecar's watch has a connection of its own.
            let watch = Api::new(&format!("http://{}", server.address), false);
            reads.spawn(async move {
                let answer = watch.get(&format!("{path}?index={index}&wait=60s")).await;
                (Instant::now(), answer.index())
            });
        }
        crate::api::eventually("every read is parked", || async {
            let metrics = api.get("/v1/agent/metrics?format=prometheus").await.body;
            let parked = format!(
                "outrigger_limit_usage{{scope=\"registry\",limit=\"watches_loopback\"}} {WATCHES}\n"
            );
            metrics.contains(&parked).then_some(())
        })
        .await;
        let report = if round % 2 == 0 { "pass" } else { "fail" };
        // From before the write is sent: its way here and its fsync count too, so no delay can be told too short.
        let sent = Instant::now();
        api.put_text(&format!("/v1/agent/check/{report}/busy"), "")
            .await
            .is(200, "");
        let mut delays = Vec::new();
        while let Some(woken) = reads.join_next().await {
            let (at, found) = woken.unwrap();
            assert!(found > index);
            delays.push(at.duration_since(sent));
        }
        delays.sort_unstable();
        eprintln!(
            "round {round}: median {:?}, last {:?}",
            delays[WATCHES / 2],
            delays[WATCHES - 1]
        );
        assert!(delays[0] > Duration::ZERO, "a read woke before the write");
        medians.push(delays[WATCHES / 2]);
        lasts.push(delays[WATCHES - 1]);
    }
    medians.sort_unstable();
    lasts.sort_unstable();
    // Debug build, beside other tests: the middle round is judged with slack, the figures themselves are printed.
    assert!(medians[2] < Duration::from_millis(250), "{medians:?}");
    assert!(lasts[2] < Duration::from_secs(1), "{lasts:?}");
    server.stop().await;
}
