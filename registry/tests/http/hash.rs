//! The merged definition of a proxy, and waiting for its content to change.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::api::Api;

pub(crate) async fn the_merged_definition_blocks_on_its_hash(api: &Api) {
    api.register(json!({"ID": "merge-1", "Name": "merge", "Port": 9090}))
        .await;
    api.register(json!({
        "ID": "merge-p", "Name": "merge-sidecar-proxy", "Kind": "connect-proxy", "Port": 21998,
        "Proxy": {
            "DestinationServiceName": "merge", "DestinationServiceID": "merge-1", "LocalServicePort": 9090,
            "Upstreams": [
                {"DestinationName": "one", "LocalBindPort": 9192},
                {"DestinationName": "two", "LocalBindPort": 9193, "Config": {"protocol": "grpc"}},
            ],
        },
    }))
    .await;
    let path = "/v1/agent/service/merge-p";
    let first = api.get(path).await;
    first.holds(json!({"ID": "merge-p", "Service": "merge-sidecar-proxy", "Datacenter": "dc1", "Port": 21998}));
    assert_eq!(first.header("x-consul-index"), None);
    let hash = first.json()["ContentHash"].as_str().unwrap().to_owned();
    assert_eq!(first.header("x-consul-contenthash"), Some(hash.as_str()));

    let start = Instant::now();
    let again = api.get(&format!("{path}?hash={hash}&wait=100ms")).await;
    assert_eq!(again.json()["ContentHash"], hash.as_str());
    assert!(start.elapsed() >= Duration::from_millis(100));

    let url = format!("{path}?hash={hash}&wait=60s");
    let write = api.write(json!({
        "Kind": "service-defaults", "Name": "merge", "Protocol": "http", "MaxInboundConnections": 5,
        "UpstreamConfig": {"Defaults": {"ConnectTimeoutMs": 100}, "Overrides": [{"Name": "one", "Limits": {"MaxConnections": 4}}]},
    }));
    let (changed, ()) = tokio::join!(timeout(Duration::from_secs(10), api.get(&url)), write);
    let changed = changed.unwrap();
    changed.holds(json!({"Proxy": {
        "Config": {"protocol": "http", "max_inbound_connections": 5},
        "Upstreams": [
            {"DestinationName": "one", "Config": {"connect_timeout_ms": 100, "limits": {"MaxConnections": 4}}},
            {"DestinationName": "two", "Config": {"connect_timeout_ms": 100, "protocol": "grpc"}},
        ],
    }}));
    assert_ne!(changed.json()["ContentHash"], hash.as_str());
    api.get("/v1/health/connect/merge?merge-central-config")
        .await
        .holds(json!([{
            "Service": {"Proxy": {"Config": {"protocol": "http", "max_inbound_connections": 5}}},
        }]));
    for id in ["merge-p", "merge-1"] {
        api.put_text(&format!("/v1/agent/service/deregister/{id}"), "")
            .await
            .is(200, "");
    }
    api.delete("/v1/config/service-defaults/merge")
        .await
        .says(json!({}));
}
