//! grpcurl against the gateway, with no proto file at hand.

use std::path::Path;

use outrigger_tests::shop::order;
use outrigger_tests::{Shop, external};
use serde_json::{Value, json};
use tokio::process::Command;

async fn grpcurl(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

#[tokio::test]
async fn it_lists_describes_and_calls_exposed_methods_only() {
    let Some(program) = external("grpcurl") else {
        return;
    };
    let mut shop = Shop::start().await;
    let edge = shop.edge();
    let alice = shop.token("alice").await;
    let placed = shop.order(&alice, &order("by hand")).await.expect(201);
    let id = placed.body["orderId"].as_str().unwrap();

    let services = grpcurl(&program, &["-plaintext", &edge, "list"])
        .await
        .unwrap();
    assert!(
        services
            .lines()
            .any(|line| line == "shop.orders.v1.OrderService"),
        "{services}"
    );
    assert!(!services.contains("ReservationService"), "{services}");

    let described = grpcurl(
        &program,
        &[
            "-plaintext",
            &edge,
            "describe",
            "shop.orders.v1.OrderService",
        ],
    )
    .await
    .unwrap();
    assert!(described.contains("rpc GetOrder"), "{described}");

    let authorization = format!("authorization: Bearer {alice}");
    let request = json!({"order_id": id}).to_string();
    let get = [
        "-plaintext",
        "-H",
        &authorization,
        "-d",
        &request,
        &edge,
        "shop.orders.v1.OrderService/GetOrder",
    ];
    let answer: Value = serde_json::from_str(&grpcurl(&program, &get).await.unwrap()).unwrap();
    assert_eq!(answer["orderId"], id);
    assert_eq!(answer["state"], "CONFIRMED");

    let anonymous = [
        "-plaintext",
        "-d",
        &request,
        &edge,
        "shop.orders.v1.OrderService/GetOrder",
    ];
    let refused = grpcurl(&program, &anonymous).await.unwrap_err();
    assert!(refused.contains("Unauthenticated"), "{refused}");

    let proto = outrigger_tests::settings::root().join("proto");
    let proto = proto.display().to_string();
    let hidden = [
        "-plaintext",
        "-H",
        &authorization,
        "-import-path",
        &proto,
        "-proto",
        "shop/inventory/v1/reservation.proto",
        "-d",
        r#"{"order_id": "x", "lines": [{"sku": "P-101", "quantity": 1}]}"#,
        &edge,
        "shop.inventory.v1.ReservationService/CreateReservation",
    ];
    let refused = grpcurl(&program, &hidden).await.unwrap_err();
    assert!(
        refused.contains("Unimplemented") || refused.contains("PermissionDenied"),
        "{refused}"
    );
    shop.stop().await;
}
