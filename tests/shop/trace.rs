//! One trace from the edge to the last service, by its edges.

use std::collections::BTreeMap;

use outrigger_tests::receiver::{Receiver, Span};
use outrigger_tests::shop::order;
use outrigger_tests::{Shop, eventually};

/// The services of a span's ancestors, nearest first, each named once in a row.
fn ancestry<'a>(span: &'a Span, spans: &BTreeMap<&str, &'a Span>) -> Vec<&'a str> {
    let mut path = vec![span.service.as_str()];
    let mut parent = span.parent.as_str();
    while let Some(span) = spans.get(parent) {
        if path.last() != Some(&span.service.as_str()) {
            path.push(&span.service);
        }
        parent = &span.parent;
    }
    path
}

#[tokio::test]
async fn it_runs_from_the_gateway_through_the_sidecars_to_payments() {
    let receiver = Receiver::start().await;
    let mut shop = Shop::builder()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint())
        .variable("OTEL_BSP_SCHEDULE_DELAY", "200")
        .start()
        .await;
    let alice = shop.token("alice").await;
    shop.order(&alice, &order("traced")).await.expect(201);

    let path = eventually("the trace is complete", async || {
        let received = receiver.spans();
        let capture = received
            .iter()
            .rev()
            .find(|span| {
                span.service == "payments" && span.kind == 2 && span.name.contains("CapturePayment")
            })
            .ok_or("no span of CapturePayment in payments")?;
        let spans: BTreeMap<&str, &Span> = received
            .iter()
            .filter(|span| span.trace == capture.trace)
            .map(|span| (span.id.as_str(), span))
            .collect();
        let path = ancestry(capture, &spans);
        if path.iter().any(|service| service.contains("gateway")) {
            Ok(path.join(" < "))
        } else {
            Err("the trace ends before the gateway")
        }
    })
    .await;
    let expected = [
        "payments",
        "payments-sidecar",
        "orders-sidecar",
        "orders",
        "orders-sidecar",
        "gateway-sidecar",
        "gateway",
        "gateway-sidecar",
    ];
    assert_eq!(path, expected.join(" < "));
    shop.stop().await;
}
