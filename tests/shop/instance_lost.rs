//! Two instances of inventory under load; one loses its application, then the other pair its sidecar.

use std::fmt::Write as _;
use std::time::Duration;

use outrigger_proto::shop::inventory::v1::{
    CreateReservationRequest, GetStockRequest, reservation,
};
use outrigger_tests::client::Call;
use outrigger_tests::eventually::{holds, reached};
use outrigger_tests::load::{Load, Report};
use outrigger_tests::sidecar::Sidecar;
use outrigger_tests::upstream::Address;
use outrigger_tests::{Client, Shop, binary, eventually, process, settings};
use prost::Message as _;
use rustix::process::Signal;
use tokio::time::Instant;

const RATE: u64 = 200;
const GRACE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_killed_application_costs_nothing_after_a_second() {
    lose(|_, processes| processes["inventory-v1-0"]).await;
}

#[tokio::test]
async fn a_killed_sidecar_costs_nothing_after_a_second() {
    lose(|shop, _| u32::try_from(shop.sidecar("inventory-v1-1")["pid"].as_u64().unwrap()).unwrap())
        .await;
}

/// The built-in mesh file with two instances of inventory.
async fn two_inventories(folder: &std::path::Path) -> std::path::PathBuf {
    let printed = tokio::process::Command::new(binary::outrigger())
        .args(["up", "--print-mesh"])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(printed.stdout).unwrap();
    let start = text.find("\n  inventory:\n").expect(&text) + 1;
    let (before, rest) = text.split_at(start);
    let (name, section) = rest.split_once('\n').unwrap();
    let path = folder.join("mesh.yaml");
    let changed = format!("{before}{name}\n    versions: {{v1: {{replicas: 2}}}}\n{section}");
    std::fs::write(&path, changed).unwrap();
    path
}

async fn lose(victim: impl FnOnce(&Shop, &std::collections::BTreeMap<String, u32>) -> u32) {
    let folder = tempfile::tempdir().unwrap();
    let file = two_inventories(folder.path()).await;
    let mut shop = Shop::builder()
        .argument("-f")
        .argument(file.display().to_string())
        .argument("--no-restart")
        .start()
        .await;
    let (sidecar, client) = beside_orders(&shop, folder.path()).await;
    let load = Load::start(RATE, move |n| (client.clone(), call(n)));
    eventually("both instances are called", async || {
        let mut seen = Vec::new();
        for instance in ["inventory-v1-0", "inventory-v1-1"] {
            let health = shop.sidecar(instance)["health"]
                .as_str()
                .unwrap()
                .to_owned();
            let text = reqwest::get(format!("http://{health}/metrics"))
                .await
                .map_err(|error| error.to_string())?;
            let text = text.text().await.map_err(|error| error.to_string())?;
            let calls =
                outrigger_tests::sidecar::metric(&text, "grpc_server_call_started_total", &[]);
            seen.push(calls.unwrap_or_default());
        }
        holds(seen.iter().all(|calls| *calls > 20.0), format!("{seen:?}"))
    })
    .await;
    let processes = shop.processes().await;
    let lost = Instant::now();
    process::signal(victim(&shop, &processes), Signal::KILL);
    reached(lost + settings::seconds("INSTANCE_LOST", 5)).await;
    let report: Report = load.stop().await;
    assert!(report.calls > RATE * 3, "{} calls", report.calls);
    report.expect_no_failures_after(lost + GRACE);
    sidecar.stop().await;
    shop.stop().await;
}

/// Stock is read, and now and then reserved: as orders, the only caller that may.
fn call(n: u64) -> Call {
    if !n.is_multiple_of(10) {
        let request = GetStockRequest {
            sku: "P-101".to_owned(),
        };
        return Call::new("inventory", "/shop.inventory.v1.StockService/GetStock")
            .message(request.encode_to_vec());
    }
    let request = CreateReservationRequest {
        order_id: uuid::Uuid::new_v4().to_string(),
        lines: vec![reservation::Line {
            sku: "P-101".to_owned(),
            quantity: 1,
        }],
        ttl: None,
    };
    Call::new(
        "inventory",
        "/shop.inventory.v1.ReservationService/CreateReservation",
    )
    .message(request.encode_to_vec())
}

/// One more sidecar with the identity of orders.
async fn beside_orders(shop: &Shop, folder: &std::path::Path) -> (Sidecar, Client) {
    let contract = shop.data.join("contracts/inventory.binpb");
    let mut config = String::from("service = \"orders\"\ninstance = \"orders-load\"\n");
    writeln!(config, "[registry]\naddress = {:?}", shop.registry()).unwrap();
    writeln!(
        config,
        "token_file = {:?}",
        shop.data.join("tokens/management").display().to_string()
    )
    .unwrap();
    writeln!(
        config,
        "[outbound]\nbind = \"unix:{}\"",
        folder.join("outbound.sock").display()
    )
    .unwrap();
    config.push_str("[health]\nbind = \"127.0.0.1:0\"\n[intentions]\ndefault = \"deny\"\n");
    writeln!(
        config,
        "[[upstream]]\nname = \"inventory\"\ncontract = {:?}",
        contract.display().to_string()
    )
    .unwrap();
    let sidecar = Sidecar::start("orders-load", &config, folder).await;
    sidecar.becomes("/ready/outbound").await;
    let address = Address::parse(sidecar.addresses.outbound.as_ref().unwrap());
    (sidecar, Client::new(address))
}
