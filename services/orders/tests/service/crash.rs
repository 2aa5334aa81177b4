//! `orders` dies at each point of an order and is started again: the order comes to an end, nothing is half done, and
//! the same request finds it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outrigger_proto::shop::orders::v1::order_service_client::OrderServiceClient;
use shop_chassis::Address;
use shop_chassis::client::{Outbound, Peer};
use shop_chassis::scratch::sqlite_url;
use shop_chassis::status::reason;
use tonic::Status;

use crate::neighbours::{Act, Neighbours};
use crate::{order as the_order, place};

/// A process on the folder's database; it dies at the point if there is one.
fn spawn(folder: &Path, neighbours: &Neighbours, point: Option<&str>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop-orders"));
    command
        .env_clear()
        .env(
            "SHOP_ORDERS_LISTEN",
            format!("unix:{}/app.sock", folder.display()),
        )
        .env("SHOP_ORDERS_DATABASE_URL", sqlite_url(folder))
        .env("SHOP_PAGE_TOKEN_KEY_FILE", folder.join("page.key"))
        .env("OUTRIGGER_OUTBOUND_ADDR", neighbours.address())
        .env("OUTRIGGER_INSTANCE", "orders-v1-0")
        .env("SHOP_ORDERS_STEP_TIMEOUT", "400ms")
        .env("SHOP_ORDERS_RECOVERY_INTERVAL", "50ms")
        .env("SHOP_LOG", "off")
        .stderr(Stdio::null());
    if let Some(point) = point {
        command.env("OUTRIGGER_CRASH_AT", point);
    }
    command.spawn().unwrap()
}

fn client(folder: &Path) -> OrderServiceClient<Peer> {
    let address = Address::Unix(folder.join("app.sock"));
    OrderServiceClient::new(Outbound::new(address).peer("orders").unwrap())
}

/// Asks until the process serves and the order has come to an end: confirmed, or the reason it was rejected for.
async fn outcome(folder: &Path) -> Result<(), String> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        match place(client(folder), the_order("key")).await {
            Ok(order)
                if order.get_ref().rejection.is_none() && order.get_ref().payment.is_some() =>
            {
                return Ok(());
            }
            Err(status) if is_final(&status) => return Err(reason(&status).unwrap_or_default()),
            other => assert!(
                tokio::time::Instant::now() < deadline,
                "no outcome: {other:?}"
            ),
        }
    }
}

fn is_final(status: &Status) -> bool {
    let reason = reason(status).unwrap_or_default();
    reason.ends_with("_UNAVAILABLE") && reason != "DATABASE_UNAVAILABLE"
        || reason == "CAPTURE_FAILED"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_it_dies_the_order_comes_to_an_end() {
    let confirmed = Ok(());
    let rejected = |reason: &str| Err(reason.to_owned());
    for (point, refused, expected) in [
        // Nothing was written: the same request places the order.
        ("orders.submit.before", false, confirmed.clone()),
        (
            "orders.submit.after",
            false,
            rejected("CATALOG_UNAVAILABLE"),
        ),
        ("orders.reserve.a", false, rejected("INVENTORY_UNAVAILABLE")),
        ("orders.reserve.c", false, rejected("INVENTORY_UNAVAILABLE")),
        (
            "orders.authorize.a",
            false,
            rejected("PAYMENTS_UNAVAILABLE"),
        ),
        (
            "orders.authorize.c",
            false,
            rejected("PAYMENTS_UNAVAILABLE"),
        ),
        ("orders.secure.a", false, rejected("INVENTORY_UNAVAILABLE")),
        ("orders.secure.c", false, rejected("INVENTORY_UNAVAILABLE")),
        ("orders.capture.a", false, rejected("PAYMENTS_UNAVAILABLE")),
        ("orders.capture.c", false, rejected("PAYMENTS_UNAVAILABLE")),
        (
            "orders.confirm.before",
            false,
            rejected("PAYMENTS_UNAVAILABLE"),
        ),
        ("orders.confirm.after", false, confirmed.clone()),
        ("orders.authorize.undo.a", true, rejected("CAPTURE_FAILED")),
        ("orders.authorize.undo.c", true, rejected("CAPTURE_FAILED")),
        ("orders.reserve.undo.a", true, rejected("CAPTURE_FAILED")),
        ("orders.reserve.undo.c", true, rejected("CAPTURE_FAILED")),
        ("orders.reject.before", true, rejected("CAPTURE_FAILED")),
        ("orders.reject.after", true, rejected("CAPTURE_FAILED")),
    ] {
        let neighbours = Neighbours::start();
        if refused {
            neighbours.act("capture", Act::Refuse("CAPTURE_FAILED"), 1);
        }
        let folder = tempfile::tempdir().unwrap();
        let mut dying = spawn(folder.path(), &neighbours, Some(point));
        // Asked until it died: the socket may not be there yet, and the answer never comes.
        let asking = async {
            loop {
                if place(client(folder.path()), the_order("key")).await.is_ok() {
                    break;
                }
            }
        };
        let died = tokio::task::spawn_blocking(move || dying.wait().unwrap());
        tokio::select! {
            status = died => assert!(!status.unwrap().success(), "{point}"),
            () = asking => panic!("{point} was never reached"),
        }
        let mut living = spawn(folder.path(), &neighbours, None);
        assert_eq!(outcome(folder.path()).await, expected, "{point}");
        let held = usize::from(expected.is_ok());
        assert_eq!(neighbours.held(), (held, held), "{point}");
        living.kill().unwrap();
        living.wait().unwrap();
    }
}
