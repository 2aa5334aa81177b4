//! Checks whose state is told or follows from others; probes are in `probe`.

use serde_json::json;

use crate::api::{Api, eventually_holds};

pub(crate) async fn a_ttl_check_follows_its_reports(api: &Api) {
    api.register(json!({"ID": "told-1", "Name": "told", "Port": 1, "Check": {"TTL": "300s"}}))
        .await;
    let path = "/v1/health/checks/told";
    api.get(path)
        .await
        .holds(json!([{"Status": "critical", "Output": ""}]));
    for (report, status) in [
        ("pass", "passing"),
        ("warn", "warning"),
        ("fail", "critical"),
    ] {
        api.put_text(
            &format!("/v1/agent/check/{report}/service:told-1?note=n-{report}"),
            "",
        )
        .await
        .is(200, "");
        eventually_holds(
            api,
            path,
            json!([{"Status": status, "Output": format!("n-{report}")}]),
        )
        .await;
    }
    let update = "/v1/agent/check/update/service:told-1";
    api.put(update, json!({"Status": "passing", "Output": "fine"}))
        .await
        .is(200, "");
    eventually_holds(api, path, json!([{"Status": "passing", "Output": "fine"}])).await;
    api.put(update, json!({"Status": "bogus"}))
        .await
        .is(400, "Invalid check status: 'bogus'");
    api.put_text(update, "{")
        .await
        .is(400, "Request decode failed: unexpected EOF");
    api.put_text("/v1/agent/check/pass/none", "").await.is(
        404,
        "Unknown check ID \"none\". Ensure that the check ID is passed, not the check name.",
    );
    api.put_text("/v1/agent/service/deregister/told-1", "")
        .await
        .is(200, "");
    // A check goes with its service.
    api.put_text("/v1/agent/check/pass/service:told-1", "")
        .await
        .tells(404, "Unknown check ID");
}

pub(crate) async fn wrong_checks_are_refused_in_consuls_words(api: &Api) {
    let register = "/v1/agent/check/register";
    for (body, status, text) in [
        (json!({"TTL": "1s"}), 400, "Missing check name"),
        (
            json!({"Name": "x", "TTL": "1s", "Status": "bogus"}),
            400,
            "Bad check status",
        ),
        (
            json!({"Name": "x", "TTL": "1s", "ServiceID": "none"}),
            404,
            "ServiceID \"none\" does not exist",
        ),
        (
            json!({"Name": "x"}),
            400,
            "Invalid check: TTL must be > 0 for TTL checks",
        ),
        (
            json!({"Name": "x", "Bogus": "1s"}),
            400,
            "Request decode failed: json: unknown field \"Bogus\"",
        ),
    ] {
        api.put(register, body).await.is(status, text);
    }
    api.put(
        register,
        json!({"Name": "probed", "HTTP": "http://127.0.0.1:1/x", "Interval": "300s"}),
    )
    .await
    .is(200, "");
    api.put_text("/v1/agent/check/pass/probed", "")
        .await
        .is(500, "CheckID \"probed\" does not have associated TTL");
    api.put_text("/v1/agent/check/deregister/probed", "")
        .await
        .is(200, "");
    api.put_text("/v1/agent/check/deregister/probed", "")
        .await
        .tells(404, "Unknown check ID \"probed\"");
}

pub(crate) async fn a_check_can_be_registered_alone(api: &Api) {
    api.register(json!({"ID": "alone-1", "Name": "alone", "Port": 1}))
        .await;
    let register = "/v1/agent/check/register";
    api.put(register, json!({"ID": "alone-c", "Name": "named", "TTL": "300s", "ServiceID": "alone-1", "Status": "passing"}))
        .await
        .is(200, "");
    api.put(
        register,
        json!({"Name": "of-the-node", "TTL": "300s", "Status": "warning", "Notes": "n"}),
    )
    .await
    .is(200, "");
    eventually_holds(
        api,
        "/v1/health/service/alone",
        json!([{"Checks": [
            {"CheckID": "of-the-node", "Status": "warning", "Notes": "n", "ServiceID": ""},
            {"CheckID": "serfHealth"},
            {"CheckID": "alone-c", "Name": "named", "Status": "passing", "ServiceID": "alone-1"},
        ]}]),
    )
    .await;
    // Passing drops a warning.
    api.get("/v1/health/service/alone?passing")
        .await
        .says(json!([]));
    for id in ["alone-c", "of-the-node"] {
        api.put_text(&format!("/v1/agent/check/deregister/{id}"), "")
            .await
            .is(200, "");
    }
    eventually_holds(
        api,
        "/v1/health/service/alone?passing",
        json!([{"Checks": [{"CheckID": "serfHealth"}]}]),
    )
    .await;
    api.put_text("/v1/agent/service/deregister/alone-1", "")
        .await
        .is(200, "");
}

pub(crate) async fn an_alias_follows_its_service(api: &Api) {
    api.register(json!({"ID": "lead-1", "Name": "lead", "Port": 1, "Check": {"CheckID": "lead", "TTL": "300s"}})).await;
    api.register(json!({"ID": "follow-1", "Name": "follow", "Port": 1, "Check": {"CheckID": "follow", "AliasService": "lead-1"}})).await;
    let path = "/v1/health/checks/follow";
    for (report, status) in [
        ("pass", "passing"),
        ("fail", "critical"),
        ("warn", "warning"),
        ("pass", "passing"),
    ] {
        api.put_text(&format!("/v1/agent/check/{report}/lead"), "")
            .await
            .is(200, "");
        eventually_holds(api, path, json!([{"Status": status, "Type": "alias"}])).await;
    }
    api.put_text("/v1/agent/service/deregister/follow-1", "")
        .await
        .is(200, "");
    api.put_text("/v1/agent/service/deregister/lead-1", "")
        .await
        .is(200, "");
}
