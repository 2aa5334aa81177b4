//! What a request binds, and what is refused.

use http::Method;
use prost_reflect::DynamicMessage;

use super::bind;
use crate::config::Limits;
use crate::error::Refusal;
use crate::exposed::Exposed;
use crate::route::{Found, Path};

fn request(
    method: &Method,
    path: &str,
    query: Option<&str>,
    body: &str,
) -> Result<DynamicMessage, Refusal> {
    let exposed = Exposed::compile(outrigger_proto::pool()).unwrap();
    let path = Path::parse(path).unwrap();
    let Found::Route {
        template,
        path,
        value,
    } = exposed.routes.find(method, &path)
    else {
        panic!("no route");
    };
    bind(
        value,
        template,
        &path,
        query,
        body.as_bytes(),
        &Limits::default(),
    )
}

fn text(message: &DynamicMessage) -> String {
    serde_json::to_string(message).unwrap()
}

#[test]
fn the_briefs_order_is_read_as_written() {
    let body = r#"{"items": [{ "productId": "P-101", "quantity": 2, "price": 1200 }],
        "shippingAddressId": "ADDR-55", "paymentMethod": "card",
        "idempotencyKey": "uuid-client-generated-key"}"#;
    let message = request(&Method::POST, "/api/v1/orders", None, body).unwrap();
    assert_eq!(
        text(&message),
        r#"{"items":[{"productId":"P-101","quantity":2,"price":"1200"}],"shippingAddressId":"ADDR-55","paymentMethod":"card","idempotencyKey":"uuid-client-generated-key"}"#
    );
}

#[test]
fn paths_and_queries_fill_their_fields() {
    for (path, query, expected) in [
        ("/v1/products/P-101", None, r#"{"productId":"P-101"}"#),
        (
            "/v1/products",
            Some("pageSize=2&category=a+b%26"),
            r#"{"pageSize":2,"category":"a b&"}"#,
        ),
        (
            "/v1/products:batchGet",
            Some("product_ids=b&product_ids=a"),
            r#"{"productIds":["b","a"]}"#,
        ),
        (
            "/v1/orders/o1",
            Some("asOf=2026-01-31T12:00:00Z"),
            r#"{"orderId":"o1","asOf":"2026-01-31T12:00:00Z"}"#,
        ),
    ] {
        let message = request(&Method::GET, path, query, "").unwrap();
        assert_eq!(text(&message), expected, "{path}");
    }
}

#[test]
fn what_is_ambiguous_or_unknown_is_refused() {
    let post = |body: &str, query| request(&Method::POST, "/v1/orders", query, body);
    let get = |path: &str, query: &str, body: &str| request(&Method::GET, path, Some(query), body);
    for (answer, reason) in [
        (get("/v1/products", "prise=1", ""), "PARAMETER_UNKNOWN"),
        (
            get("/v1/products", "page_size=1&pageSize=2", ""),
            "PARAMETER_CONFLICT",
        ),
        (get("/v1/products", "page_size=x", ""), "FIELD_INVALID"),
        (get("/v1/products", "page_size=%2B1", ""), "FIELD_INVALID"),
        (
            get("/v1/products/a", "productId=b", ""),
            "PARAMETER_CONFLICT",
        ),
        (get("/v1/products", "", "{}"), "UNEXPECTED_BODY"),
        (post("{}", Some("a=b")), "PARAMETER_UNKNOWN"),
        (post("[]", None), "JSON_INVALID"),
        (post(r#"{"items":[{"prise":1}]}"#, None), "JSON_INVALID"),
    ] {
        assert_eq!(answer.unwrap_err().reason(), reason);
    }
}
