//! `?filter=` as Consul's expressions evaluate.

use serde_json::json;

use crate::api::Api;

pub(crate) async fn instances_are_filtered_by_type_and_text(api: &Api) {
    api.register(json!({"ID": "f-1", "Name": "f", "Port": 8080, "Tags": ["v1", "blue"], "Meta": {"version": "v1"}, "Check": {"TTL": "300s", "Status": "passing"}})).await;
    api.register(json!({"ID": "f-2", "Name": "f", "Port": 8081, "Meta": {"version": "v2"}, "Check": {"TTL": "300s", "Status": "warning"}})).await;
    for (filter, ids) in [
        ("Service.Meta.version == v1", vec!["f-1"]),
        ("Service.Meta.version != v1", vec!["f-2"]),
        ("Service.Meta[\"version\"] == `v2`", vec!["f-2"]),
        ("Service.Meta.gone == v1", vec![]),
        ("Service.Meta.gone != v1", vec!["f-1", "f-2"]),
        ("Service.Meta contains version", vec!["f-1", "f-2"]),
        ("Service.Meta is empty", vec![]),
        ("blue in Service.Tags", vec!["f-1"]),
        ("Service.Tags not contains blue", vec!["f-2"]),
        ("Service.Tags is empty", vec!["f-2"]),
        ("Service.Port == 8081", vec!["f-2"]),
        (
            "Service.Port == 8080 or Service.Port == 8081",
            vec!["f-1", "f-2"],
        ),
        ("Checks.Status == warning", vec!["f-2"]),
        ("not (Checks.Status == warning)", vec!["f-1"]),
        ("Service.ID matches `^f-[2-9]$`", vec!["f-2"]),
        ("Service.ID not matches `1`", vec!["f-2"]),
        ("Service.Connect.Native == false", vec!["f-1", "f-2"]),
        (
            "Service.EnableTagOverride == false and Service.Meta.version == v1",
            vec!["f-1"],
        ),
        ("Service.Proxy.DestinationServiceName == x", vec![]),
        ("Node.Node == test", vec!["f-1", "f-2"]),
    ] {
        let found = api.filtered("/v1/health/service/f", filter).await.json();
        let found = found
            .as_array()
            .unwrap_or_else(|| panic!("{filter}: {found}"));
        let found = found
            .iter()
            .map(|entry| entry["Service"]["ID"].as_str().unwrap());
        assert_eq!(found.collect::<Vec<_>>(), ids, "{filter}");
    }
    api.filtered("/v1/catalog/service/f", "ServiceMeta.version == v2")
        .await
        .holds(json!([{"ServiceID": "f-2"}]));
    api.filtered("/v1/agent/services", "Service == f and Port == 8080")
        .await
        .holds(json!({"f-1": {}}));
    api.filtered("/v1/agent/checks", "ServiceID == `f-2`")
        .await
        .holds(json!({"service:f-2": {}}));
    for id in ["f-1", "f-2"] {
        api.put_text(&format!("/v1/agent/service/deregister/{id}"), "")
            .await
            .is(200, "");
    }
}

pub(crate) async fn wrong_filters_are_errors(api: &Api) {
    api.register(json!({"Name": "wrong", "Port": 1})).await;
    let start = "Failed to create boolean expression evaluator: ";
    for (filter, text) in [
        (
            "Service.Gone == 1",
            "Selector \"Service.Gone\" is not valid",
        ),
        (
            "Service.Port == abc",
            "Failed to coerce value \"abc\" for selector \"Service.Port\": strconv.ParseInt: parsing \"abc\": invalid syntax",
        ),
        (
            "Service.Tags == a",
            "Invalid match operator \"Equal\" for selector \"Service.Tags\"",
        ),
        (
            "Service.ID is empty",
            "Invalid match operator \"Is Empty\" for selector \"Service.ID\"",
        ),
        (
            "Service.Port contains 1",
            "Invalid match operator \"In\" for selector \"Service.Port\"",
        ),
        (
            "Service.Tags matches `a`",
            "Invalid match operator \"Matches\" for selector \"Service.Tags\"",
        ),
        (
            "Service == x",
            "Invalid match operator \"Equal\" for selector \"Service\"",
        ),
    ] {
        api.filtered("/v1/health/service/wrong", filter)
            .await
            .is(500, &format!("{start}{text}"));
    }
    for filter in [
        "Service.ID ==",
        "Service.ID == web-1",
        "(Service.ID == x",
        "Service.ID matches `(`",
    ] {
        api.filtered("/v1/health/service/wrong", filter)
            .await
            .tells(500, start);
    }
    api.put_text("/v1/agent/service/deregister/wrong", "")
        .await
        .is(200, "");
}
