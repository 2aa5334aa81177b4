//! Intentions: match, exact and check.

use serde_json::json;

use crate::api::Api;

const EXACT: &str = "/v1/connect/intentions/exact";

pub(crate) async fn match_answers_by_precedence(api: &Api) {
    api.write(json!({"Kind": "service-defaults", "Name": "shut", "Protocol": "http"}))
        .await;
    api.write(json!({"Kind": "service-intentions", "Name": "shut", "Sources": [
        {"Name": "*", "Action": "deny"},
        {"Name": "a", "Action": "allow", "Description": "d"},
        {"Name": "b", "Permissions": [{"Action": "allow", "HTTP": {"PathPrefix": "/", "Methods": ["get"]}}]},
    ]}))
    .await;
    api.write(json!({"Kind": "service-intentions", "Name": "*", "Sources": [{"Name": "c", "Action": "allow"}]})).await;
    let a = json!({"SourceNS": "default", "SourceName": "a", "DestinationNS": "default", "DestinationName": "shut", "SourceType": "consul", "Action": "allow", "Precedence": 9, "Description": "d"});
    let b = json!({"SourceName": "b", "Action": null, "Precedence": 9, "Permissions": [{"Action": "allow", "HTTP": {"PathPrefix": "/", "Methods": ["GET"]}}]});
    let any =
        json!({"SourceName": "*", "DestinationName": "shut", "Action": "deny", "Precedence": 8});
    let wild =
        json!({"SourceName": "c", "DestinationName": "*", "Action": "allow", "Precedence": 6});
    let found = api
        .get("/v1/connect/intentions/match?by=destination&name=shut&name=elsewhere")
        .await;
    found.holds(json!({"shut": [a, b, any, wild], "elsewhere": [wild]}));
    api.get("/v1/connect/intentions/match?by=source&name=c").await.holds(json!({"c": [
        {"SourceName": "*", "DestinationName": "shut", "Precedence": 8}, {"SourceName": "c", "DestinationName": "*", "Precedence": 6},
    ]}));
    for (source, destination, allowed) in [
        ("a", "shut", true),
        // Permissions are not decided at L4.
        ("b", "shut", false),
        ("x", "shut", false),
        // Precedence: what names the destination wins.
        ("c", "shut", false),
        ("c", "elsewhere", true),
        // No match: the default policy, here allow.
        ("x", "elsewhere", true),
    ] {
        let path =
            format!("/v1/connect/intentions/check?source={source}&destination={destination}");
        api.get(&path).await.says(json!({"Allowed": allowed}));
    }
    api.get("/v1/connect/intentions")
        .await
        .holds(json!([a, b, any, wild]));
    for name in ["shut", "*"] {
        api.delete(&format!("/v1/config/service-intentions/{name}"))
            .await
            .says(json!({}));
    }
    api.delete("/v1/config/service-defaults/shut")
        .await
        .says(json!({}));
}

pub(crate) async fn exact_puts_and_deletes_one_source(api: &Api) {
    let path = |source: &str| format!("{EXACT}?source={source}&destination=exact");
    api.get(&path("a")).await.is(404, "Intention not found");
    api.put(&path("a"), json!({"Action": "allow", "Description": "x"}))
        .await
        .says(true);
    api.put(&path("b"), json!({"Action": "deny"}))
        .await
        .says(true);
    api.get(&path("a")).await.holds(json!({"SourceName": "a", "DestinationName": "exact", "Action": "allow", "Description": "x", "Precedence": 9}));
    api.put(&path("a"), json!({"Action": "deny"}))
        .await
        .says(true);
    api.get("/v1/config/service-intentions/exact").await.holds(json!({"Sources": [
        {"Name": "a", "Action": "deny", "Type": "consul", "Precedence": 9}, {"Name": "b", "Action": "deny", "Precedence": 9},
    ]}));
    api.put(&path("a"), json!({"Action": "allow", "Meta": {"a": "b"}}))
        .await
        .tells(500, "Meta must not be specified");
    for source in ["a", "a", "b"] {
        api.delete(&path(source)).await.says(true);
    }
    api.get("/v1/config/service-intentions/exact")
        .await
        .tells(404, "Config entry not found");
}

pub(crate) async fn wrong_questions_are_refused_in_consuls_words(api: &Api) {
    for (path, status, text) in [
        ("match", 500, "required query parameter 'by' not set"),
        (
            "match?by=x&name=y",
            500,
            "'by' parameter must be one of 'source' or 'destination'",
        ),
        (
            "match?by=source",
            500,
            "required query parameter 'name' not set",
        ),
        (
            "exact?destination=a",
            500,
            "required query parameter 'source' not set",
        ),
        (
            "exact?source=a",
            500,
            "required query parameter 'destination' not set",
        ),
        (
            "check?destination=a",
            500,
            "required query parameter 'source' not set",
        ),
        (
            "check?source=a",
            500,
            "required query parameter 'destination' not set",
        ),
    ] {
        api.get(&format!("/v1/connect/intentions/{path}"))
            .await
            .is(status, text);
    }
    api.get("/v1/connect/intentions/match?by=destination&name=a/b/c/d")
        .await
        .tells(500, "input can contain at most two '/'");
    let path = format!("{EXACT}?source=a&destination=wrong");
    api.put(&path, json!({"Action": "allow", "Bogus": 1}))
        .await
        .is(400, "Request decode failed: json: unknown field \"Bogus\"");
    api.put_text(&path, "{")
        .await
        .is(400, "Request decode failed: unexpected EOF");
    assert_eq!(api.put(&path, json!({"Action": "bogus"})).await.status, 500);
    api.get(&path).await.is(404, "Intention not found");
}
