//! What is left out answers so, and never with a made-up body.

use crate::embedded::Embedded;

#[tokio::test]
async fn what_is_not_served_says_so() {
    let server = Embedded::start().await;
    let api = &server.api;
    for path in ["/v1/acl/tokens", "/v1/acl/bootstrap"] {
        api.get(path).await.is(401, "ACL support disabled");
    }
    for (method, path) in [
        ("GET", "/v1/peerings"),
        ("GET", "/v1/query"),
        ("GET", "/v1/event/list"),
        ("GET", "/v1/operator/raft/configuration"),
        ("GET", "/v1/snapshot"),
        ("GET", "/v1/coordinate/nodes"),
        ("GET", "/v1/internal/ui/services"),
        ("GET", "/v1/session/list"),
        ("PUT", "/v1/session/create"),
        ("PUT", "/v1/txn"),
        ("PUT", "/v1/catalog/register"),
        ("GET", "/v1/catalog/node/test"),
        ("GET", "/v1/connect/ca/configuration"),
        ("POST", "/v1/agent/connect/authorize"),
    ] {
        let answer = api.send(method, path, &[], "").await;
        answer.is(404, &format!("Outrigger's registry does not serve {path}"));
    }
    // A lock nobody holds would be worse than none.
    for query in ["acquire", "release"] {
        let path = format!("/v1/kv/lock?{query}=6f9e3b0a-1111-2222-3333-444444444444");
        api.put_text(&path, "x")
            .await
            .is(404, "Outrigger's registry does not serve locks");
    }
    api.get("/v1/kv/lock").await.is(404, "");
    let kinds = [
        "ingress-gateway",
        "terminating-gateway",
        "api-gateway",
        "exported-services",
        "sameness-group",
    ];
    for kind in kinds {
        let entry = serde_json::json!({"Kind": kind, "Name": "default"});
        let text = format!("Request decoding failed: invalid config entry kind: {kind}");
        api.put("/v1/config", entry).await.is(400, &text);
    }
    for check in [
        serde_json::json!({"Name": "c", "Args": ["true"], "Interval": "1s"}),
        serde_json::json!({"Name": "c", "DockerContainerID": "x", "Shell": "sh", "Args": ["true"], "Interval": "1s"}),
        serde_json::json!({"Name": "c", "OSService": "x", "Interval": "1s"}),
    ] {
        api.put("/v1/agent/check/register", check)
            .await
            .tells(400, "Invalid check: ");
    }
    let cached = api.get("/v1/health/service/none?cached").await;
    assert_eq!(cached.header("x-cache"), Some("MISS"));
    api.get("/v1/health/service/consul?near=_agent")
        .await
        .tells(200, "serfHealth");
    api.get("/").await.tells(200, "/v1/");
    server.stop().await;
}
