//! The real grpcurl, with no proto file: it learns everything by reflection.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

use crate::gateway::Gateway;
use crate::token::alice;

/// On PATH or among the tools of the tests; without it the test says so, and fails where it is required.
fn grpcurl() -> Option<PathBuf> {
    let tools = variable("OUTRIGGER_TOOLS").map_or_else(
        || PathBuf::from(variable("HOME").unwrap_or_default()).join(".cache/outrigger-tools"),
        PathBuf::from,
    );
    let path = variable("PATH").unwrap_or_default();
    let found = std::iter::once(tools.join("bin"))
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join("grpcurl"))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        let required = variable("OUTRIGGER_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|name| name == "grpcurl"),
            "grpcurl is required here: run `tests/tools grpcurl`"
        );
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        // Past libtest's capture. A closed stderr is nobody's failure.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: grpcurl not found");
    }
    found
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no main that reads settings"
)]
fn variable(key: &str) -> Option<String> {
    std::env::var(key).ok().filter(|value| !value.is_empty())
}

/// What it prints, and whether it was content.
async fn run(
    program: &Path,
    gateway: &Gateway,
    before: &[&str],
    behind: &[&str],
) -> (bool, String) {
    let socket = gateway.socket();
    let output = Command::new(program)
        .args(["-plaintext", "-unix"])
        .args(before)
        .arg(&socket)
        .args(behind)
        .output()
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn it_lists_and_describes_what_is_exposed_and_nothing_else() {
    let Some(program) = grpcurl() else { return };
    let gateway = Gateway::start().await;
    let (_, services) = run(&program, &gateway, &[], &["list"]).await;
    let services: Vec<_> = services.lines().collect();
    assert_eq!(
        services,
        [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "shop.catalog.v1.ProductService",
            "shop.identity.v1.SessionService",
            "shop.identity.v1.UserService",
            "shop.inventory.v1.StockService",
            "shop.orders.v1.OrderService",
            "shop.payments.v1.PaymentService",
        ]
    );
    let orders = "shop.orders.v1.OrderService";
    let (_, text) = run(&program, &gateway, &[], &["describe", orders]).await;
    assert!(text.contains("rpc PlaceOrder"), "{text}");
    assert!(text.contains("post: \"/v1/orders\""), "{text}");
    assert!(!text.contains("WatchOrder"), "{text}");
    let payments = "shop.payments.v1.PaymentService";
    let (_, text) = run(&program, &gateway, &[], &["list", payments]).await;
    assert!(text.contains("PaymentService.ListPayments\n"), "{text}");
    assert!(!text.contains("CreatePayment"), "{text}");
    let inner = "shop.inventory.v1.ReservationService";
    let (found, text) = run(&program, &gateway, &[], &["describe", inner]).await;
    assert!(!found, "{text}");
    let message = "shop.orders.v1.PlaceOrderRequest";
    let (_, text) = run(&program, &gateway, &[], &["describe", message]).await;
    assert!(text.contains("string shipping_address_id = 2"), "{text}");
    gateway.stop().await;
}

#[tokio::test]
async fn it_calls_with_json_and_a_token() {
    let Some(program) = grpcurl() else { return };
    let gateway = Gateway::start().await;
    let authorization = format!("authorization: Bearer {}", alice("orders:read"));
    let method = "shop.orders.v1.OrderService/GetOrder";
    let data = ["-d", r#"{"orderId": "the one"}"#];
    let with_token = [data.as_slice(), &["-H", &authorization]].concat();
    let (called, text) = run(&program, &gateway, &with_token, &[method]).await;
    assert!(called, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["orderId"], "the one");

    let (called, text) = run(&program, &gateway, &data, &[method]).await;
    assert!(!called && text.contains("Unauthenticated"), "{text}");
    assert!(text.contains("TOKEN_MISSING"), "{text}");
    gateway.stop().await;
}
