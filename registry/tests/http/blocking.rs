//! Blocking reads: what wakes them, what does not, and what they answer at the end of the wait.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::api::{Answer, Api, eventually};

/// Nothing that wakes at all takes this long.
const PATIENCE: Duration = Duration::from_secs(10);

const PARKED: &str = "outrigger_limit_usage{scope=\"registry\",limit=\"watches_loopback\"} 1\n";

/// Reads until nothing is pending any more, then parks a read while `write` runs; answers the parked read and the index
/// it waited on.
async fn parked(api: &Api, path: &str, write: impl AsyncFnOnce()) -> (u64, Answer) {
    let join = if path.contains('?') { '&' } else { '?' };
    let index = api.get(path).await.index();
    let url = format!("{path}{join}index={index}&wait=60s");
    let read = api.get(&url);
    let write = async {
        if !api.real {
            // Otherwise the write could come first, and the read would answer at once. Consul does not tell.
            eventually("the read is parked", || async {
                let metrics = api.get("/v1/agent/metrics?format=prometheus").await.body;
                metrics.contains(PARKED).then_some(())
            })
            .await;
        }
        write().await;
    };
    let (answer, ()) = tokio::join!(timeout(PATIENCE, read), write);
    let answer = answer.unwrap_or_else(|_| panic!("{url} did not wake"));
    (index, answer)
}

pub(crate) async fn a_parked_read_wakes_on_its_service_only(api: &Api) {
    api.register(json!({"ID": "wake-1", "Name": "wake", "Port": 1, "Check": {"CheckID": "wake", "TTL": "300s"}})).await;
    let path = "/v1/health/service/wake";
    let (before, answer) = parked(api, path, async || {
        // Another service's registration must not end the wait; a check of this one does.
        api.register(json!({"ID": "other-1", "Name": "other", "Port": 1}))
            .await;
        api.put_text("/v1/agent/check/pass/wake", "")
            .await
            .is(200, "");
    })
    .await;
    assert!(answer.index() > before);
    answer.holds(
        json!([{"Checks": [{"CheckID": "serfHealth"}, {"CheckID": "wake", "Status": "passing"}]}]),
    );
    let (before, answer) = parked(api, "/v1/health/connect/wake", async || {
        api.register(json!({
            "ID": "wake-proxy", "Name": "wake-sidecar-proxy", "Kind": "connect-proxy", "Port": 21999,
            "Proxy": {"DestinationServiceName": "wake"},
        }))
        .await;
    })
    .await;
    assert!(answer.index() > before);
    answer.holds(json!([{"Service": {"ID": "wake-proxy"}}]));
    // The last instance's leaving is seen too.
    let (_, answer) = parked(api, "/v1/health/connect/wake", async || {
        api.put_text("/v1/agent/service/deregister/wake-proxy", "")
            .await
            .is(200, "");
    })
    .await;
    answer.says(json!([]));
    for id in ["wake-1", "other-1"] {
        api.put_text(&format!("/v1/agent/service/deregister/{id}"), "")
            .await
            .is(200, "");
    }
}

pub(crate) async fn a_parked_read_ends_with_its_wait(api: &Api) {
    api.register(json!({"Name": "still", "Port": 1})).await;
    for path in [
        "/v1/health/service/still",
        "/v1/catalog/services",
        "/v1/connect/ca/roots",
        "/v1/kv/still",
    ] {
        let first = api.get(path).await;
        let start = Instant::now();
        let again = api
            .get(&format!("{path}?index={}&wait=100ms", first.index()))
            .await;
        let took = start.elapsed();
        assert_eq!(
            (again.status, again.index()),
            (first.status, first.index()),
            "{path}"
        );
        assert!(took >= Duration::from_millis(100), "{path}: {took:?}");
    }
    api.put_text("/v1/agent/service/deregister/still", "")
        .await
        .is(200, "");
}

pub(crate) async fn an_absent_entry_can_be_waited_for(api: &Api) {
    let path = "/v1/config/service-defaults/awaited";
    api.get(path).await.is(
        404,
        "Config entry not found for \"service-defaults\" / \"awaited\"",
    );
    let (_, answer) = parked(api, path, async || {
        // An unrelated entry moves the table's index and must not end the wait.
        api.write(json!({"Kind": "service-defaults", "Name": "unrelated", "Protocol": "http"}))
            .await;
        api.write(json!({"Kind": "service-defaults", "Name": "awaited", "Protocol": "grpc"}))
            .await;
    })
    .await;
    // On Consul the unrelated write may have come before the wait began; the entry is then one read away.
    if api.real && answer.status == 404 {
        api.get(path).await.holds(json!({"Protocol": "grpc"}));
    } else {
        answer.holds(json!({"Protocol": "grpc"}));
    }
    for name in ["awaited", "unrelated"] {
        api.delete(&format!("/v1/config/service-defaults/{name}"))
            .await
            .says(json!({}));
    }
}

pub(crate) async fn an_index_in_the_future_waits_and_then_tells_the_true_one(api: &Api) {
    let path = "/v1/catalog/nodes";
    let index = api.get(path).await.index();
    let answer = api
        .get(&format!("{path}?index={}&wait=100ms", index + 1_000_000))
        .await;
    assert_eq!(answer.status, 200);
    assert!(answer.index() < index + 1_000_000);
}

pub(crate) async fn deleting_a_key_resets_its_index(api: &Api) {
    api.put_text("/v1/kv/reset/a", "1").await.says(true);
    let path = "/v1/kv/reset/a";
    let created = api.get(path).await.index();
    let (before, changed) = parked(api, path, async || {
        api.put_text("/v1/kv/reset/b", "1").await.says(true);
        api.put_text(path, "2").await.says(true);
    })
    .await;
    assert_eq!(before, created);
    assert!(changed.index() > created);
    changed.holds(json!([{"Value": "Mg==", "ModifyIndex": changed.index()}]));
    let (_, gone) = parked(api, path, async || {
        api.delete(path).await.says(true);
    })
    .await;
    gone.is(404, "");
    assert!(gone.index() >= 1);
    let (_, tree) = parked(api, "/v1/kv/reset/?recurse", async || {
        api.delete("/v1/kv/reset/?recurse").await.says(true);
    })
    .await;
    tree.is(404, "");
}

pub(crate) async fn a_chain_wakes_on_an_entry_it_consults(api: &Api) {
    api.write(json!({"Kind": "service-defaults", "Name": "chained", "Protocol": "http"}))
        .await;
    let (before, answer) = parked(api, "/v1/discovery-chain/chained", async || {
        api.write(json!({"Kind": "service-resolver", "Name": "chained", "ConnectTimeout": "9s"}))
            .await;
    })
    .await;
    assert!(answer.index() > before);
    let id = "chained.default.default.dc1";
    answer.holds(json!({"Chain": {"Targets": {id: {"ConnectTimeout": "9s"}}}}));
    api.delete("/v1/config/service-resolver/chained")
        .await
        .says(json!({}));
    api.delete("/v1/config/service-defaults/chained")
        .await
        .says(json!({}));
}

pub(crate) async fn intentions_wake_on_their_kind(api: &Api) {
    let (before, answer) = parked(api, "/v1/connect/intentions/match?by=destination&name=guarded", async || {
        api.write(json!({"Kind": "service-intentions", "Name": "guarded", "Sources": [{"Name": "a", "Action": "allow"}]})).await;
    })
    .await;
    assert!(answer.index() > before);
    answer.holds(json!({"guarded": [{"SourceName": "a", "DestinationName": "guarded", "Action": "allow", "Precedence": 9}]}));
    api.delete("/v1/config/service-intentions/guarded")
        .await
        .says(json!({}));
}
