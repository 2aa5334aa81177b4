//! Who may do what.

use std::collections::BTreeMap;

use outrigger_registry::{Policy, Tokens};
use serde_json::{Value, json};

use crate::api::Api;
use crate::embedded::Embedded;

async fn guarded() -> Embedded {
    Embedded::with(|config| {
        config.default_policy = Policy::Deny;
        config.tokens = Some(Tokens::new(
            &["boss".to_owned()],
            BTreeMap::from([
                ("web".to_owned(), vec!["w1".to_owned(), "w2".to_owned()]),
                ("pay".to_owned(), vec!["p".to_owned()]),
            ]),
        ));
    })
    .await
}

fn instance(id: &str, name: &str) -> Value {
    json!({"ID": id, "Name": name, "Port": 1, "Check": {"CheckID": format!("{id}-check"), "TTL": "300s"}})
}

async fn denied(api: &Api, method: &str, path: &str, body: Value) {
    api.send(method, path, &[], body.to_string())
        .await
        .is(403, "Permission denied");
}

#[tokio::test]
async fn every_place_of_a_token_is_read_and_a_wrong_one_is_denied() {
    let server = guarded().await;
    let api = &server.api;
    let path = "/v1/catalog/services";
    for headers in [
        vec![],
        vec![("x-consul-token", "nope")],
        vec![("authorization", "Bearer nope")],
        vec![("authorization", "Basic w1")],
    ] {
        let answer = api.send("GET", path, &headers, "").await;
        answer.is(403, "Permission denied");
        assert_eq!(answer.header("x-consul-default-acl-policy"), Some("deny"));
    }
    api.get(&format!("{path}?token=nope"))
        .await
        .is(403, "Permission denied");
    for headers in [
        [("x-consul-token", "w1")],
        [("authorization", "Bearer w2")],
        [("authorization", "bearer p")],
    ] {
        assert_eq!(api.send("GET", path, &headers, "").await.status, 200);
    }
    assert_eq!(api.get(&format!("{path}?token=w1")).await.status, 200);
    // The query's wins.
    api.send(
        "GET",
        &format!("{path}?token=nope"),
        &[("x-consul-token", "w1")],
        "",
    )
    .await
    .is(403, "Permission denied");
    // Somebody who waits for the registry to start has none yet.
    assert_eq!(api.get("/v1/status/leader").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_service_token_acts_for_its_service_only() {
    let server = guarded().await;
    let (boss, web, pay) = (
        server.api.with_token("boss"),
        server.api.with_token("w1"),
        server.api.with_token("p"),
    );
    let register = "/v1/agent/service/register";
    pay.register(instance("pay-1", "pay")).await;
    web.register(instance("web-1", "web")).await;
    web.register(json!({
        "ID": "web-1-sidecar-proxy", "Name": "web-sidecar-proxy", "Kind": "connect-proxy", "Port": 2,
        "Proxy": {"DestinationServiceName": "web"}, "Check": {"AliasService": "web-1"},
    }))
    .await;
    web.put_text("/v1/agent/check/pass/web-1-check", "")
        .await
        .is(200, "");
    web.put(
        "/v1/agent/check/register",
        json!({"Name": "more", "TTL": "300s", "ServiceID": "web-1"}),
    )
    .await
    .is(200, "");
    for body in [
        instance("x", "pay"),
        // Another's instance, under one's own name.
        instance("pay-1", "web"),
        // Another's check, with one's own instance.
        json!({"ID": "web-2", "Name": "web", "Port": 1, "Check": {"CheckID": "pay-1-check", "TTL": "300s"}}),
        json!({"ID": "web-2", "Name": "web", "Port": 1, "Check": {"CheckID": "serfHealth", "TTL": "300s"}}),
        // A proxy that would receive another's calls.
        json!({"ID": "p", "Name": "web-sidecar-proxy", "Kind": "connect-proxy", "Port": 1, "Proxy": {"DestinationServiceName": "pay"}}),
        json!({"ID": "web-3", "Name": "web", "Port": 1, "Connect": {"SidecarService": {"Name": "pay"}}}),
    ] {
        denied(&web, "PUT", register, body).await;
    }
    for (method, path, body) in [
        ("PUT", "/v1/agent/service/deregister/pay-1", json!({})),
        (
            "PUT",
            "/v1/agent/service/maintenance/pay-1?enable=true",
            json!({}),
        ),
        ("PUT", "/v1/agent/maintenance?enable=true", json!({})),
        ("PUT", "/v1/agent/check/pass/pay-1-check", json!({})),
        (
            "PUT",
            "/v1/agent/check/update/pay-1-check",
            json!({"Status": "critical"}),
        ),
        ("PUT", "/v1/agent/check/deregister/pay-1-check", json!({})),
        ("PUT", "/v1/agent/check/deregister/serfHealth", json!({})),
        (
            "PUT",
            "/v1/agent/check/register",
            json!({"Name": "n", "TTL": "1s", "ServiceID": "pay-1"}),
        ),
        (
            "PUT",
            "/v1/agent/check/register",
            json!({"Name": "n", "TTL": "1s"}),
        ),
        (
            "PUT",
            "/v1/agent/check/register",
            json!({"Name": "n", "CheckID": "pay-1-check", "TTL": "1s", "ServiceID": "web-1"}),
        ),
        (
            "PUT",
            "/v1/config",
            json!({"Kind": "service-defaults", "Name": "web", "Protocol": "http"}),
        ),
        ("DELETE", "/v1/config/service-defaults/web", json!({})),
        (
            "PUT",
            "/v1/connect/intentions/exact?source=web&destination=pay",
            json!({"Action": "allow"}),
        ),
        (
            "DELETE",
            "/v1/connect/intentions/exact?source=web&destination=pay",
            json!({}),
        ),
        ("PUT", "/v1/kv/x", json!("x")),
        ("DELETE", "/v1/kv/x", json!({})),
        ("GET", "/v1/agent/connect/ca/leaf/pay", json!({})),
        (
            "GET",
            "/v1/agent/connect/ca/leaf/web-sidecar-proxy",
            json!({}),
        ),
    ] {
        denied(&web, method, path, body).await;
    }
    assert_eq!(
        web.get("/v1/agent/connect/ca/leaf/web").await.json()["Service"],
        "web"
    );
    for path in [
        "/v1/health/service/pay",
        "/v1/config/service-defaults",
        "/v1/kv/?keys",
        "/v1/connect/intentions",
        "/v1/discovery-chain/pay",
        "/v1/agent/connect/ca/roots",
    ] {
        assert_eq!(web.get(path).await.status, 200, "{path}");
    }
    // Nothing of it happened.
    boss.get("/v1/health/service/pay").await.holds(json!([{
        "Service": {"ID": "pay-1", "Service": "pay"},
        "Checks": [{"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": "pay-1-check", "Status": "critical", "ServiceName": "pay"}],
    }]));
    boss.get("/v1/agent/services")
        .await
        .holds(json!({"web-2": null, "web-3": null, "p": null, "x": null}));
    boss.write(json!({"Kind": "service-defaults", "Name": "web", "Protocol": "http"}))
        .await;
    assert_eq!(boss.get("/v1/agent/connect/ca/leaf/pay").await.status, 200);
    web.put_text("/v1/agent/service/deregister/web-1-sidecar-proxy", "")
        .await
        .is(200, "");
    web.put_text("/v1/agent/service/deregister/web-1", "")
        .await
        .is(200, "");
    boss.put_text("/v1/agent/service/deregister/pay-1", "")
        .await
        .is(200, "");
    server.stop().await;
}
