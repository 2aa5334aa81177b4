//! The service as its callers see it: over its socket, by gRPC.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::Path;

use outrigger_proto::google::r#type::Money;
use outrigger_proto::shop::payments::v1::payment::State;
use outrigger_proto::shop::payments::v1::payment_service_client::PaymentServiceClient;
use outrigger_proto::shop::payments::v1::{
    CancelPaymentRequest, CapturePaymentRequest, CreatePaymentRequest, GetWalletRequest,
    ListPaymentMethodsRequest, ListPaymentsRequest, Payment,
};
use shop_chassis::Environment;
use shop_chassis::client::Peer;
use shop_chassis::database::Database;
use shop_chassis::scratch::{Served, as_service, as_user, on_each_engine, sqlite_url};
use shop_chassis::status::reason;
use shop_payments::ledger::Account;
use shop_payments::store::books;
use shop_payments::store::migration::Migrator;
use tokio::task::JoinSet;
use tonic::{Code, Status};

const ALICE: u32 = 1;
const BOB: u32 = 2;

fn env(folder: &Path, database: &str) -> Environment {
    let key = folder.join("keys/page").display().to_string();
    Environment::of([
        ("SHOP_PAYMENTS_DATABASE_URL", database),
        ("SHOP_PAGE_TOKEN_KEY_FILE", &key),
        ("OUTRIGGER_INSTANCE", "payments-v1-0"),
    ])
}

async fn start() -> Served {
    Served::start(shop_payments::serve, |folder| {
        env(folder, &sqlite_url(folder))
    })
    .await
}

fn client(served: &Served) -> PaymentServiceClient<Peer> {
    PaymentServiceClient::new(served.peer())
}

fn charge(order: &str, payment_method: &str) -> CreatePaymentRequest {
    CreatePaymentRequest {
        order_id: order.to_owned(),
        user_id: ALICE,
        amount: Some(Money {
            currency_code: "USD".to_owned(),
            units: 24,
            nanos: 0,
        }),
        payment_method: payment_method.to_owned(),
        capture: false,
        idempotency_key: format!("saga/{order}/authorize/fwd"),
    }
}

async fn authorize(served: &Served, order: &str, method: &str) -> Result<Payment, Status> {
    let request = as_service("orders", charge(order, method));
    Ok(client(served).create_payment(request).await?.into_inner())
}

async fn capture(served: &Served, order: &str) -> Result<Payment, Status> {
    let order_id = order.to_owned();
    let request = as_service("orders", CapturePaymentRequest { order_id });
    Ok(client(served).capture_payment(request).await?.into_inner())
}

async fn cancel(served: &Served, order: &str) -> Result<Payment, Status> {
    let order_id = order.to_owned();
    let request = as_service("orders", CancelPaymentRequest { order_id });
    Ok(client(served).cancel_payment(request).await?.into_inner())
}

/// What was sold, what the processor owes us, what wallets hold, for an auditor with the database in hand.
async fn balances(url: &str) -> [i64; 3] {
    let database = Database::open::<Migrator>(url).await.unwrap();
    let mut balances = [0; 3];
    let accounts = [
        Account::Sales,
        Account::ProcessorReceivable,
        Account::WalletHolds,
    ];
    for (balance, account) in balances.iter_mut().zip(accounts) {
        *balance = books::balance(database.read(), &account).await.unwrap();
    }
    balances
}

/// The demo's top-up of Alice's wallet.
const RECEIVABLE: i64 = 10_000;

#[tokio::test]
async fn money_is_held_then_taken_and_the_first_transaction_is_the_briefs() {
    on_each_engine(async |url| {
        let served = Served::start(shop_payments::serve, |folder| env(folder, &url)).await;
        let held = authorize(&served, "order-1", "card").await.unwrap();
        assert_eq!(held.state(), State::Authorized);
        assert_eq!(
            [&held.brand, &held.last4, &held.transaction_id],
            ["visa", "4242", "TX89123"]
        );
        assert_eq!(
            balances(&url).await,
            [0, RECEIVABLE, 0],
            "holding moves nothing"
        );
        let taken = capture(&served, "order-1").await.unwrap();
        assert_eq!(taken.state(), State::Captured);
        assert_eq!(capture(&served, "order-1").await.unwrap(), taken);
        assert_eq!(balances(&url).await, [-2400, RECEIVABLE + 2400, 0]);
        let second = authorize(&served, "order-2", "card").await.unwrap();
        assert_eq!(second.transaction_id, "TX89124");
        served.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_cancellation_undoes_whatever_happened() {
    on_each_engine(async |url| {
        let served = Served::start(shop_payments::serve, |folder| env(folder, &url)).await;
        authorize(&served, "held", "card").await.unwrap();
        assert_eq!(
            cancel(&served, "held").await.unwrap().state(),
            State::Cancelled
        );
        authorize(&served, "taken", "card").await.unwrap();
        capture(&served, "taken").await.unwrap();
        let back = cancel(&served, "taken").await.unwrap();
        assert_eq!(back.state(), State::Refunded);
        assert_eq!(cancel(&served, "taken").await.unwrap(), back);
        let nothing = cancel(&served, "never").await.unwrap();
        assert_eq!(nothing.state(), State::Cancelled);
        for order in ["held", "taken", "never"] {
            let late = authorize(&served, order, "card").await.unwrap_err();
            assert_eq!(
                reason(&late).as_deref(),
                Some("OPERATION_REVOKED"),
                "{order}"
            );
            let late = capture(&served, order).await.unwrap_err();
            assert_eq!(
                reason(&late).as_deref(),
                Some("OPERATION_REVOKED"),
                "{order}"
            );
        }
        assert_eq!(balances(&url).await, [0, RECEIVABLE, 0]);
        served.stop().await;
    })
    .await;
}

#[tokio::test]
async fn each_no_has_its_reason_and_moves_nothing() {
    let served = start().await;
    for (method, code, expected) in [
        ("pm_declined", Code::FailedPrecondition, "CARD_DECLINED"),
        (
            "pm_insufficient_funds",
            Code::FailedPrecondition,
            "INSUFFICIENT_FUNDS",
        ),
        ("pm_expired", Code::FailedPrecondition, "CARD_EXPIRED"),
        (
            "pm_of_nobody",
            Code::FailedPrecondition,
            "PAYMENT_METHOD_UNKNOWN",
        ),
        ("cash", Code::FailedPrecondition, "PAYMENT_METHOD_UNKNOWN"),
    ] {
        for _ in 0..2 {
            let refused = authorize(&served, method, method).await.unwrap_err();
            assert_eq!(refused.code(), code, "{method}");
            assert_eq!(reason(&refused).as_deref(), Some(expected), "{method}");
        }
    }
    let unknown = capture(&served, "never").await.unwrap_err();
    assert_eq!(reason(&unknown).as_deref(), Some("PAYMENT_NOT_FOUND"));
    authorize(&served, "stuck", "pm_capture_fails")
        .await
        .unwrap();
    let refused = capture(&served, "stuck").await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("CAPTURE_FAILED"));
    assert_eq!(
        cancel(&served, "stuck").await.unwrap().state(),
        State::Cancelled
    );
    let url = sqlite_url(served.folder().path());
    assert_eq!(balances(&url).await, [0, RECEIVABLE, 0]);
    served.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_lost_is_found_by_the_same_request() {
    let served = start().await;
    for method in ["pm_lost_response", "pm_5xx_then_ok"] {
        let lost = authorize(&served, method, method).await.unwrap_err();
        assert_eq!(lost.code(), Code::Unavailable, "{method}");
        let found = authorize(&served, method, method).await.unwrap();
        assert_eq!(found.state(), State::Authorized, "{method}");
    }
    // Undone without anybody having heard whether it was done.
    authorize(&served, "undone", "pm_lost_response")
        .await
        .unwrap_err();
    assert_eq!(
        cancel(&served, "undone").await.unwrap().state(),
        State::Cancelled
    );
    let url = sqlite_url(served.folder().path());
    assert_eq!(balances(&url).await, [0, RECEIVABLE, 0]);
    served.stop().await;
}

#[tokio::test]
async fn a_refund_that_fails_is_asked_for_again() {
    let served = start().await;
    authorize(&served, "order", "pm_refund_fails_3x")
        .await
        .unwrap();
    capture(&served, "order").await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            cancel(&served, "order").await.unwrap_err().code(),
            Code::Unavailable
        );
    }
    assert_eq!(
        cancel(&served, "order").await.unwrap().state(),
        State::Refunded
    );
    let url = sqlite_url(served.folder().path());
    assert_eq!(balances(&url).await, [0, RECEIVABLE, 0]);
    served.stop().await;
}

#[tokio::test]
async fn a_wallet_pays_what_it_holds() {
    let served = start().await;
    let url = sqlite_url(served.folder().path());
    for order in ["a", "b", "c", "d"] {
        authorize(&served, order, "wallet").await.unwrap();
    }
    let refused = authorize(&served, "e", "wallet").await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("INSUFFICIENT_FUNDS"));
    capture(&served, "a").await.unwrap();
    capture(&served, "b").await.unwrap();
    cancel(&served, "b").await.unwrap();
    cancel(&served, "c").await.unwrap();
    // Sold: a. Held: d.
    assert_eq!(balances(&url).await, [-2400, RECEIVABLE, -2400]);
    let request = as_user(ALICE, &["wallet"], GetWalletRequest {});
    let wallet = client(&served)
        .get_wallet(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(wallet.balance.unwrap().units, 100 - 48);
    assert_eq!(wallet.held.unwrap().units, 24);
    served.stop().await;
}

#[tokio::test]
async fn fifty_at_once_are_one_charge() {
    on_each_engine(async |url| {
        let served = Served::start(shop_payments::serve, |folder| env(folder, &url)).await;
        let mut callers = JoinSet::new();
        for _ in 0..50 {
            let mut client = client(&served);
            callers.spawn(async move {
                let request = as_service("orders", charge("order", "card"));
                client.create_payment(request).await.unwrap().into_inner()
            });
        }
        let answers = callers.join_all().await;
        assert!(
            answers
                .iter()
                .all(|answer| answer.transaction_id == "TX89123"),
            "{answers:?}"
        );
        assert_eq!(
            authorize(&served, "next", "card")
                .await
                .unwrap()
                .transaction_id,
            "TX89124"
        );
        served.stop().await;
    })
    .await;
}

#[tokio::test]
async fn another_charge_for_the_same_order_is_refused() {
    let served = start().await;
    authorize(&served, "order", "card").await.unwrap();
    let refused = authorize(&served, "order", "wallet").await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    served.stop().await;
}

#[tokio::test]
async fn users_see_their_own_payments_page_by_page() {
    let served = start().await;
    for order in ["one", "two", "three"] {
        authorize(&served, order, "card").await.unwrap();
    }
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListPaymentsRequest {
            page_size: 2,
            page_token,
            order_id: String::new(),
        };
        let request = as_user(ALICE, &["payments:read"], request);
        let page = client(&served)
            .list_payments(request)
            .await
            .unwrap()
            .into_inner();
        seen.extend(page.payments.into_iter().map(|payment| payment.order_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["three", "two", "one"]);
    let request = as_user(BOB, &["payments:read"], ListPaymentsRequest::default());
    let of_bob = client(&served).list_payments(request).await.unwrap();
    assert!(of_bob.into_inner().payments.is_empty());
    let request = as_user(
        BOB,
        &["payments:read"],
        ListPaymentMethodsRequest::default(),
    );
    let cards = client(&served)
        .list_payment_methods(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(cards.payment_methods[0].display_name, "visa ending in 4242");
    served.stop().await;
}

#[tokio::test]
async fn only_orders_moves_an_orders_money() {
    let served = start().await;
    let request = as_service("catalog", charge("order", "card"));
    let refused = client(&served).create_payment(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(reason(&refused).as_deref(), Some("CALLER_NOT_ALLOWED"));
    served.stop().await;
}
