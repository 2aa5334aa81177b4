//! What holds for every endpoint: methods, parameters, headers, unknown paths.

use crate::api::Api;

pub(crate) async fn a_path_tells_the_methods_it_serves(api: &Api) {
    for (path, methods) in [
        ("/v1/status/leader", "OPTIONS,GET"),
        ("/v1/kv/x", "OPTIONS,GET,PUT,DELETE"),
        ("/v1/config", "OPTIONS,PUT"),
        ("/v1/config/service-defaults/x", "OPTIONS,GET,DELETE"),
        ("/v1/discovery-chain/x", "OPTIONS,GET,POST"),
        ("/v1/connect/intentions/exact", "OPTIONS,GET,PUT,DELETE"),
        ("/v1/agent/service/register", "OPTIONS,PUT"),
        ("/v1/agent/check/pass/x", "OPTIONS,PUT"),
    ] {
        let options = api.send("OPTIONS", path, &[], "").await;
        options.is(200, "");
        assert_eq!(options.header("allow"), Some(methods), "{path}");
        let wrong = api.send("PATCH", path, &[], "").await;
        wrong.is(405, "method PATCH not allowed");
        assert_eq!(wrong.header("allow"), Some(methods), "{path}");
    }
    assert_eq!(
        api.send("HEAD", "/v1/status/leader", &[], "").await.status,
        405
    );
}

pub(crate) async fn parameters_are_checked_in_consuls_words(api: &Api) {
    let path = "/v1/health/service/none";
    for (query, status, text) in [
        ("wait=10", 400, "Invalid wait time"),
        ("index=x", 400, "Invalid index"),
        ("max_stale=x", 400, "Invalid max_stale value \"x\""),
        (
            "stale&consistent",
            400,
            "Cannot specify ?stale with ?consistent, conflicting semantics.",
        ),
        (
            "cached&consistent",
            400,
            "Cannot specify ?cached with ?consistent, conflicting semantics.",
        ),
        ("dc=dc9", 500, "No path to datacenter"),
        ("passing=x", 400, "Invalid value for ?passing"),
        (
            "ns=a",
            400,
            "Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature",
        ),
        (
            "partition=a",
            400,
            "Invalid query parameter: \"partition\" - Partitions are a Consul Enterprise feature",
        ),
    ] {
        api.get(&format!("{path}?{query}")).await.is(status, text);
    }
    for (header, text) in [
        (
            "X-Consul-Namespace",
            "Invalid header: \"X-Consul-Namespace\" - Namespaces are a Consul Enterprise feature",
        ),
        (
            "X-Consul-Partition",
            "Invalid header: \"X-Consul-Partition\" - Partitions are a Consul Enterprise feature",
        ),
    ] {
        api.send("GET", path, &[(header, "x")], "")
            .await
            .is(400, text);
    }
    for path in [
        "/v1/health/service/",
        "/v1/health/connect/",
        "/v1/catalog/service/",
    ] {
        api.get(path).await.is(400, "Missing service name");
    }
    api.get("/v1/discovery-chain/")
        .await
        .is(400, "Missing chain name");
    api.put_text("/v1/kv/", "x")
        .await
        .is(400, "Missing key name");
    api.put_text("/v1/agent/service/maintenance/?enable=true", "")
        .await
        .is(400, "Missing service ID");
}

pub(crate) async fn reads_carry_index_and_consistency(api: &Api) {
    for path in [
        "/v1/catalog/services",
        "/v1/catalog/nodes",
        "/v1/catalog/service/none",
        "/v1/health/service/none",
        "/v1/health/connect/none",
        "/v1/health/checks/none",
        "/v1/health/state/any",
        "/v1/config/service-defaults",
        "/v1/config/service-defaults/none",
        "/v1/discovery-chain/none",
        "/v1/connect/ca/roots",
        "/v1/agent/connect/ca/roots",
        "/v1/connect/intentions",
        "/v1/connect/intentions/match?by=destination&name=none",
        "/v1/kv/none",
        "/v1/kv/?keys",
    ] {
        let answer = api.get(path).await;
        assert!(answer.index() >= 1, "{path}");
        assert_eq!(
            answer.header("x-consul-knownleader"),
            Some("true"),
            "{path}"
        );
        assert!(answer.header("x-consul-lastcontact").is_some(), "{path}");
        assert_eq!(
            answer.header("x-consul-default-acl-policy"),
            Some("allow"),
            "{path}"
        );
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{path}");
    }
    for (query, consistency) in [
        ("", "leader"),
        ("?stale", "stale"),
        ("?consistent", "consistent"),
    ] {
        let answer = api.get(&format!("/v1/health/service/none{query}")).await;
        let told = answer.header("x-consul-effective-consistency");
        assert_eq!(told, Some(consistency));
    }
    for path in ["/v1/agent/self", "/v1/status/leader", "/v1/agent/services"] {
        assert_eq!(api.get(path).await.header("x-consul-index"), None, "{path}");
    }
    let leader = api.get("/v1/status/leader").await.json();
    assert!(
        leader.as_str().unwrap().starts_with("127.0.0.1:"),
        "{leader}"
    );
    api.get("/v1/status/peers").await.says(vec![leader]);
    let own = api.get("/v1/agent/self").await.json();
    assert_eq!(own["Config"]["NodeName"], "test");
    assert_eq!(own["Config"]["Datacenter"], "dc1");
    assert_eq!(own["Config"]["Server"], true);
    api.get("/v1/catalog/datacenters").await.says(vec!["dc1"]);
}

pub(crate) async fn pretty_indents_by_four(api: &Api) {
    let answer = api.get("/v1/catalog/datacenters?pretty").await;
    answer.is(200, "[\n    \"dc1\"\n]\n");
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

pub(crate) async fn unknown_paths_are_404(api: &Api) {
    let text = "Invalid URL path: not a recognized HTTP API endpoint\n";
    api.get("/v1/bogus").await.is(404, text);
    api.get("/bogus")
        .await
        .tells(404, "ensure the path starts with '/v1/'");
}
