//! Checks the registry runs itself, against listeners of the test's.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::api::eventually_holds;
use crate::embedded::Embedded;

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Registers a service with this check and waits until it says so.
async fn expect(
    server: &Embedded,
    name: &str,
    mut check: Value,
    status: &str,
    output: Option<&str>,
) {
    check["Interval"] = "1s".into();
    server
        .api
        .register(json!({"Name": name, "Port": 1, "Check": check}))
        .await;
    let expected = match output {
        Some(output) => json!([{"Status": status, "Output": output}]),
        None => json!([{"Status": status}]),
    };
    eventually_holds(&server.api, &format!("/v1/health/checks/{name}"), expected).await;
}

#[tokio::test]
async fn http_checks_go_by_the_status_and_follow_no_redirect() {
    let server = Embedded::start().await;
    let (socket, address) = listener().await;
    let app = Router::new()
        .route("/ok", get(|| async { "fine" }))
        .route("/busy", get(|| async { StatusCode::TOO_MANY_REQUESTS }))
        .route("/down", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .route(
            "/elsewhere",
            get(|| async { (StatusCode::FOUND, [("location", "/ok")]) }),
        );
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(socket, app).await });
    for (path, before, status) in [
        ("ok", "critical", "passing"),
        ("busy", "critical", "warning"),
        ("down", "passing", "critical"),
        ("elsewhere", "passing", "critical"),
    ] {
        let check = json!({"HTTP": format!("http://{address}/{path}"), "Status": before});
        expect(&server, path, check, status, None).await;
    }
    let ok = format!("HTTP GET http://{address}/ok: 200 OK Output: fine");
    eventually_holds(
        &server.api,
        "/v1/health/checks/ok",
        json!([{"Output": ok, "Type": "http", "Interval": "1s"}]),
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn tcp_checks_pass_while_somebody_listens() {
    let server = Embedded::start().await;
    let (socket, address) = listener().await;
    expect(&server, "tcp", json!({"TCP": address}), "passing", None).await;
    drop(socket);
    eventually_holds(
        &server.api,
        "/v1/health/checks/tcp",
        json!([{"Status": "critical", "Type": "tcp"}]),
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn grpc_checks_ask_the_health_service() {
    let server = Embedded::start().await;
    let (socket, address) = listener().await;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("shop.Orders", tonic_health::ServingStatus::Serving)
        .await;
    reporter
        .set_service_status("shop.Closed", tonic_health::ServingStatus::NotServing)
        .await;
    let app = tonic::service::Routes::new(health).into_axum_router();
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(socket, app).await });
    let target = format!("{address}/shop.Orders");
    let success = format!("gRPC check {target}: success");
    expect(&server, "whole", json!({"GRPC": address}), "passing", None).await;
    expect(
        &server,
        "open",
        json!({"GRPC": target}),
        "passing",
        Some(&success),
    )
    .await;
    let closed = json!({"GRPC": format!("{address}/shop.Closed"), "Status": "passing"});
    expect(&server, "closed", closed, "critical", None).await;
    server.stop().await;
}

#[tokio::test]
async fn a_ttl_check_nobody_reports_expires() {
    let server = Embedded::start().await;
    let check = json!({"CheckID": "c", "TTL": "300ms"});
    server
        .api
        .register(json!({"Name": "ttl", "Port": 1, "Check": check}))
        .await;
    server
        .api
        .put_text("/v1/agent/check/pass/c?note=hello", "")
        .await
        .is(200, "");
    let path = "/v1/health/checks/ttl";
    eventually_holds(&server.api, path, json!([{"Status": "passing"}])).await;
    let expired = "TTL expired (last output before timeout follows): hello";
    eventually_holds(
        &server.api,
        path,
        json!([{"Status": "critical", "Output": expired}]),
    )
    .await;
    server
        .api
        .put_text("/v1/agent/check/pass/c", "")
        .await
        .is(200, "");
    eventually_holds(&server.api, path, json!([{"Status": "passing"}])).await;
    server.stop().await;
}

#[tokio::test]
async fn a_service_that_stays_critical_is_removed() {
    let server = Embedded::with(|config| {
        config.limits.deregister_min = std::time::Duration::from_millis(100);
        config.limits.check_reap = std::time::Duration::from_millis(50);
    })
    .await;
    let check = json!({"TTL": "300s", "DeregisterCriticalServiceAfter": "1ms"});
    server
        .api
        .register(json!({"ID": "gone-1", "Name": "gone", "Port": 1, "Check": check}))
        .await;
    let stays =
        json!({"TTL": "300s", "DeregisterCriticalServiceAfter": "1ms", "Status": "passing"});
    server
        .api
        .register(json!({"ID": "stays-1", "Name": "stays", "Port": 1, "Check": stays}))
        .await;
    eventually_holds(&server.api, "/v1/health/service/gone", json!([])).await;
    server
        .api
        .get("/v1/health/service/stays")
        .await
        .holds(json!([{"Service": {"ID": "stays-1"}}]));
    server.stop().await;
}
