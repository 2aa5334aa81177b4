//! Registering instances, and the views they show in.

use serde_json::json;

use crate::api::{Api, eventually_holds};

const REGISTER: &str = "/v1/agent/service/register";

pub(crate) async fn a_registration_shows_in_every_view(api: &Api) {
    api.register(json!({
        "ID": "view-1", "Name": "view", "Tags": ["v2", "a"], "Port": 8080, "Address": "10.0.0.5",
        "Meta": {"version": "v2"}, "Weights": {"Passing": 10, "Warning": 2}, "Check": {"TTL": "300s", "Status": "passing"},
    }))
    .await;
    let service = json!({
        "ID": "view-1", "Service": "view", "Tags": ["v2", "a"], "Port": 8080, "Address": "10.0.0.5",
        "Meta": {"version": "v2"}, "Weights": {"Passing": 10, "Warning": 2},
        "TaggedAddresses": {"lan_ipv4": {"Address": "10.0.0.5", "Port": 8080}, "wan_ipv4": {"Address": "10.0.0.5", "Port": 8080}},
    });
    let check = json!({
        "Node": "test", "CheckID": "service:view-1", "Name": "Service 'view' check", "Status": "passing",
        "ServiceID": "view-1", "ServiceName": "view", "ServiceTags": ["v2", "a"], "Type": "ttl",
    });
    let serf = json!({"CheckID": "serfHealth", "Status": "passing", "Output": "Agent alive and reachable"});
    let node = json!({"Node": "test", "Address": "127.0.0.1", "Datacenter": "dc1"});
    let entry = json!([{"Node": node, "Service": service, "Checks": [serf, check]}]);
    api.get("/v1/health/service/view")
        .await
        .holds(entry.clone());
    api.get("/v1/health/service/view?passing&tag=v2&tag=a")
        .await
        .holds(entry);
    api.get("/v1/health/service/view?tag=gone")
        .await
        .says(json!([]));
    api.get("/v1/health/service/view?node-meta=gone:x")
        .await
        .says(json!([]));
    api.get("/v1/health/checks/view")
        .await
        .holds(json!([check]));
    api.get("/v1/agent/services")
        .await
        .holds(json!({"view-1": service}));
    api.get("/v1/agent/checks")
        .await
        .holds(json!({"service:view-1": check}));
    api.get("/v1/catalog/service/view").await.holds(json!([{
        "Node": "test", "Address": "127.0.0.1", "Datacenter": "dc1", "ServiceID": "view-1", "ServiceName": "view",
        "ServiceTags": ["v2", "a"], "ServiceAddress": "10.0.0.5", "ServicePort": 8080, "ServiceMeta": {"version": "v2"},
        "ServiceWeights": {"Passing": 10, "Warning": 2},
    }]));
    let services = api.get("/v1/catalog/services").await.json();
    let mut tags = services["view"].as_array().unwrap().clone();
    tags.sort_by_key(ToString::to_string);
    assert_eq!(tags, ["a", "v2"]);
    api.put_text("/v1/agent/service/deregister/view-1", "")
        .await
        .is(200, "");
    api.get("/v1/health/service/view").await.says(json!([]));
    api.put_text("/v1/agent/service/deregister/view-1", "").await.is(
        404,
        "Unknown service ID \"view-1\". Ensure that the service ID is passed, not the service name.",
    );
    api.get("/v1/agent/service/view-1")
        .await
        .is(404, "unknown service ID: view-1");
}

pub(crate) async fn wrong_registrations_are_refused_in_consuls_words(api: &Api) {
    let proxy = |proxy: serde_json::Value| json!({"Name": "x", "Kind": "connect-proxy", "Port": 1, "Proxy": proxy});
    let upstreams = |upstreams: serde_json::Value| {
        proxy(json!({"DestinationServiceName": "y", "Upstreams": upstreams}))
    };
    let one = |text: &str| format!("Validation failed: 1 error occurred:\n\t* {text}\n\n");
    let rows = [
        (json!({}), "Missing service name".to_owned()),
        (json!({"Name": "x", "Bogus": 1}), "Request decode failed: json: unknown field \"Bogus\"".to_owned()),
        (json!({"Name": "x", "Address": "0.0.0.0"}), "Invalid service address".to_owned()),
        (json!({"Name": "x", "Address": "::"}), "Invalid service address".to_owned()),
        (json!({"Name": "x", "Weights": {"Passing": 0}}), "Invalid Weights: Passing must be greater than 0".to_owned()),
        (json!({"Name": "x", "Weights": {"Passing": 1, "Warning": -1}}), "Invalid Weights: Warning must be greater or equal than 0".to_owned()),
        (json!({"Name": "x", "Weights": {"Passing": 65536, "Warning": 1}}), "Invalid Weights: DNS Weight must be between 0 and 65535".to_owned()),
        (json!({"Name": "x", "Meta": {"a b": "c"}}), "Invalid Service Meta: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters".to_owned()),
        (json!({"Name": "x", "Meta": {"consul-x": "c"}}), "Invalid Service Meta: Couldn't load metadata pair ('consul-x', 'c'): Key prefix 'consul-' is reserved for internal use".to_owned()),
        (json!({"Name": "x", "Check": {"TTL": "1s", "Status": "bogus"}}), "Status for checks must 'passing', 'warning', 'critical'".to_owned()),
        (json!({"Name": "x", "Check": {"HTTP": "http://127.0.0.1:1"}}), "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks".to_owned()),
        (json!({"Name": "x", "Check": {"HTTP": "http://127.0.0.1:1", "Interval": "1s", "TTL": "1s"}}), "Invalid check: Interval and TTL cannot both be specified".to_owned()),
        (json!({"Name": "x", "Port": 1, "Connect": {"SidecarService": {"Checks": [{"Interval": "1s"}]}}}), "Invalid check in sidecar_service: TTL must be > 0 for TTL checks".to_owned()),
        (json!({"Name": "x", "Port": 1, "Connect": {"SidecarService": {"ID": "q"}}}), one("A SidecarService cannot specify an ID as this is managed by the agent")),
        (json!({"Name": "x", "Port": 1, "Connect": {"SidecarService": {"Connect": {"SidecarService": {}}}}}), one("A SidecarService cannot have a nested SidecarService")),
        (proxy(json!({})), one("Proxy.DestinationServiceName must be non-empty for Connect proxy services")),
        (proxy(json!({"DestinationServiceName": "*"})), one("Proxy.DestinationServiceName must not be a wildcard for Connect proxy services")),
        (json!({"Name": "x", "Kind": "connect-proxy"}), "Validation failed: 2 errors occurred:\n\t* Port or SocketPath must be set for a connect-proxy\n\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n\n".to_owned()),
        (upstreams(json!([{"DestinationName": ""}])), one("upstream destination name cannot be empty")),
        (upstreams(json!([{"DestinationName": "a"}])), one("upstream local bind port or local socket path must be defined and nonzero")),
        (upstreams(json!([{"DestinationName": "a", "LocalBindPort": 1}, {"DestinationName": "a", "LocalBindPort": 2}])),
         one("upstreams cannot contain duplicates of [type=\"service\", name=\"a\", partition=\"\", namespace=\"\", peer=\"\", datacenter=\"\"]")),
        (upstreams(json!([{"DestinationName": "a", "LocalBindPort": 1}, {"DestinationName": "b", "LocalBindPort": 1}])),
         one("upstreams cannot contain duplicates by local bind address and port or unix path; \"127.0.0.1:1\" is specified twice")),
    ];
    for (body, text) in rows {
        api.put(REGISTER, body).await.is(400, &text);
    }
    api.put_text(REGISTER, "{")
        .await
        .is(400, "Request decode failed: unexpected EOF");
    api.get("/v1/agent/service/x")
        .await
        .is(404, "unknown service ID: x");
}

pub(crate) async fn an_update_keeps_the_status_of_its_checks(api: &Api) {
    let registration = json!({"ID": "kept-1", "Name": "kept", "Port": 1, "Checks": [
        {"CheckID": "kept-a", "TTL": "300s"}, {"CheckID": "kept-b", "TTL": "300s", "Status": "passing"}]});
    api.register(registration.clone()).await;
    api.put_text("/v1/agent/check/warn/kept-a?note=busy", "")
        .await
        .is(200, "");
    api.register(registration).await;
    let both =
        json!({"kept-a": {"Status": "warning", "Output": "busy"}, "kept-b": {"Status": "passing"}});
    api.get("/v1/agent/checks").await.holds(both.clone());
    let one = json!({"ID": "kept-1", "Name": "kept", "Port": 2, "Check": {"CheckID": "kept-a", "TTL": "300s"}});
    api.register(one.clone()).await;
    api.get("/v1/agent/checks").await.holds(both);
    api.put(&format!("{REGISTER}?replace-existing-checks"), one)
        .await
        .is(200, "");
    let checks = api.get("/v1/agent/checks").await.json();
    assert_eq!(checks["kept-a"]["Status"], "warning");
    assert!(checks.get("kept-b").is_none(), "{checks}");
    api.put_text("/v1/agent/service/deregister/kept-1", "")
        .await
        .is(200, "");
}

pub(crate) async fn a_nested_sidecar_comes_and_goes_with_its_service(api: &Api) {
    api.register(json!({
        "ID": "nest-1", "Name": "nest", "Port": 9090, "Meta": {"m": "1"}, "Tags": ["t"],
        "Connect": {"SidecarService": {"Proxy": {"Upstreams": [{"DestinationName": "web", "LocalBindPort": 9191}]}}},
    }))
    .await;
    api.get("/v1/health/connect/nest").await.holds(json!([{
        "Service": {
            "Kind": "connect-proxy", "ID": "nest-1-sidecar-proxy", "Service": "nest-sidecar-proxy", "Meta": {"m": "1"}, "Tags": ["t"],
            "Proxy": {
                "DestinationServiceName": "nest", "DestinationServiceID": "nest-1", "LocalServiceAddress": "127.0.0.1",
                "LocalServicePort": 9090,
                "Upstreams": [{"DestinationType": "service", "DestinationName": "web", "LocalBindPort": 9191}],
            },
        },
        "Checks": [
            {"CheckID": "serfHealth"},
            {"Name": "Connect Sidecar Listening", "Type": "tcp", "Interval": "10s"},
            {"Name": "Connect Sidecar Aliasing nest-1", "Type": "alias"},
        ],
    }]));
    let found = api.get("/v1/health/connect/nest").await.json();
    let port = found[0]["Service"]["Port"].as_u64().unwrap();
    assert!((21000..=21255).contains(&port), "{port}");
    api.get("/v1/catalog/connect/nest")
        .await
        .holds(json!([{"ServiceID": "nest-1-sidecar-proxy", "ServiceKind": "connect-proxy"}]));
    api.put_text("/v1/agent/service/deregister/nest-1", "")
        .await
        .is(200, "");
    api.get("/v1/health/connect/nest").await.says(json!([]));
}

pub(crate) async fn maintenance_is_a_critical_check(api: &Api) {
    api.register(json!({"ID": "rest-1", "Name": "rest", "Port": 1}))
        .await;
    let path = "/v1/agent/service/maintenance/rest-1";
    api.put_text(&format!("{path}?enable=true&reason=why"), "")
        .await
        .is(200, "");
    let check = json!({"CheckID": "_service_maintenance:rest-1", "Name": "Service Maintenance Mode", "Notes": "why", "Status": "critical"});
    api.get("/v1/agent/checks")
        .await
        .holds(json!({"_service_maintenance:rest-1": check}));
    api.get("/v1/health/service/rest?passing")
        .await
        .says(json!([]));
    api.put_text(&format!("{path}?enable=false"), "")
        .await
        .is(200, "");
    eventually_holds(
        api,
        "/v1/health/service/rest?passing",
        json!([{"Service": {"ID": "rest-1"}}]),
    )
    .await;
    api.put_text(path, "")
        .await
        .is(400, "Missing value for enable");
    api.put_text(&format!("{path}?enable=x"), "")
        .await
        .is(400, "Invalid value for enable: \"x\"");
    let unknown = api
        .put_text("/v1/agent/service/maintenance/none?enable=true", "")
        .await;
    unknown.tells(
        404,
        if api.real {
            "Unknown service ID"
        } else {
            "No service registered with ID \"none\""
        },
    );
    api.put_text("/v1/agent/maintenance?enable=true&reason=node", "")
        .await
        .is(200, "");
    api.get("/v1/agent/checks")
        .await
        .holds(json!({"_node_maintenance": {"Status": "critical", "Notes": "node"}}));
    api.get("/v1/health/service/rest?passing")
        .await
        .says(json!([]));
    api.put_text("/v1/agent/maintenance?enable=false", "")
        .await
        .is(200, "");
    api.put_text("/v1/agent/maintenance", "")
        .await
        .is(400, "Missing value for enable");
    api.put_text("/v1/agent/service/deregister/rest-1", "")
        .await
        .is(200, "");
}

pub(crate) async fn the_status_code_of_agent_health_is_the_health(api: &Api) {
    api.register(json!({"ID": "ill-1", "Name": "ill", "Port": 1, "Check": {"CheckID": "ill", "TTL": "300s"}})).await;
    for (report, status, word) in [
        ("pass", 200, "passing"),
        ("warn", 429, "warning"),
        ("fail", 503, "critical"),
    ] {
        api.put_text(&format!("/v1/agent/check/{report}/ill"), "")
            .await
            .is(200, "");
        let by_id = api.get("/v1/agent/health/service/id/ill-1").await;
        assert_eq!(
            (by_id.status, by_id.header("x-consul-reason")),
            (status, Some(word))
        );
        let body = by_id.json();
        assert_eq!(body["AggregatedStatus"], word);
        assert_eq!(body["Service"]["ID"], "ill-1");
        assert_eq!(body["Checks"][0]["CheckID"], "ill");
        let by_name = api.get("/v1/agent/health/service/name/ill").await;
        assert_eq!(
            (by_name.status, &by_name.json()[0]["AggregatedStatus"]),
            (status, &word.into())
        );
        api.get("/v1/agent/health/service/id/ill-1?format=text")
            .await
            .is(status, word);
    }
    api.get("/v1/agent/health/service/id/none?format=text")
        .await
        .is(404, "ServiceId none not found");
    api.get("/v1/agent/health/service/name/none?format=text")
        .await
        .is(404, "ServiceName none Not Found");
    let none = api.get("/v1/agent/health/service/name/none").await;
    assert_eq!((none.status, none.json()), (404, json!([])));
    api.put_text("/v1/agent/service/deregister/ill-1", "")
        .await
        .is(200, "");
}

pub(crate) async fn empty_lists_are_never_null(api: &Api) {
    for path in [
        "/v1/health/service/none",
        "/v1/health/connect/none",
        "/v1/health/checks/none",
        "/v1/health/node/none",
        "/v1/health/state/nonsense",
        "/v1/catalog/service/none",
        "/v1/catalog/connect/none",
        "/v1/config/service-router",
        "/v1/kv/?keys",
    ] {
        api.get(path).await.says(json!([]));
    }
    api.get("/v1/connect/intentions/match?by=destination&name=none")
        .await
        .says(json!({"none": null}));
    api.register(json!({"Name": "bare", "Port": 1})).await;
    let bare = api.get("/v1/health/service/bare").await.json();
    assert_eq!(bare[0]["Service"]["Tags"], json!([]));
    assert_eq!(bare[0]["Checks"][0]["ServiceTags"], json!([]));
    api.put_text("/v1/agent/service/deregister/bare", "")
        .await
        .is(200, "");
}
