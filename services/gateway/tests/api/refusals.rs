//! What is refused, each with its documented error.

use http::HeaderMap;
use outrigger_proto::google::rpc;
use prost::Message as _;
use serde_json::Value;
use shop_chassis::Failure;
use tonic::{Code, Status};

use crate::answers::BRIEF;
use crate::client::Reply;
use crate::gateway::Gateway;
use crate::mesh::{Act, GET_ORDER, GET_PRODUCT, PLACE_ORDER};
use crate::token::alice;

const WRITE: &str = "orders:read orders:write";

fn json_headers(kind: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let token = format!("Bearer {}", alice(WRITE));
    headers.insert("authorization", token.parse().unwrap());
    if !kind.is_empty() {
        headers.insert("content-type", kind.parse().unwrap());
    }
    headers
}

/// Every error has the one form, its status in the body too, and the request's id.
#[track_caller]
fn expect(reply: &Reply, status: u16, word: &str, reason: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("content-type"), "application/json");
    let json = reply.json();
    assert_eq!(json["error"]["code"], status, "{reply:?}");
    assert_eq!(json["error"]["status"], word, "{reply:?}");
    assert_eq!(reply.reason(), reason, "{reply:?}");
    let id = &reply.detail("RequestInfo")["requestId"];
    assert_eq!(id, reply.header("x-request-id"), "{reply:?}");
}

/// What the body says, the reason, and what the error names.
const BODIES: [(&str, &str, &str); 20] = [
    (r#"{"items": ["#, "JSON_INVALID", ""),
    ("", "", ""),
    ("null", "JSON_INVALID", ""),
    ("[]", "JSON_INVALID", ""),
    (r#""x""#, "JSON_INVALID", ""),
    ("{} {}", "JSON_INVALID", ""),
    (r#"{"colour": "red"}"#, "JSON_INVALID", "colour"),
    (
        r#"{"items": [{"prise": 1}]}"#,
        "JSON_INVALID",
        "items[0].prise",
    ),
    (r#"{"items": {"a": 1}}"#, "JSON_INVALID", "items"),
    (r#"{"items": [null]}"#, "JSON_INVALID", "items[0]"),
    (
        r#"{"paymentMethod": {"a": 1}}"#,
        "JSON_INVALID",
        "paymentMethod",
    ),
    (r#"{"paymentMethod": 5}"#, "JSON_INVALID", "paymentMethod"),
    (
        r#"{"items": [{"quantity": 2147483648}]}"#,
        "JSON_INVALID",
        "items[0].quantity",
    ),
    (
        r#"{"items": [{"quantity": 1.5}]}"#,
        "JSON_INVALID",
        "items[0].quantity",
    ),
    (
        r#"{"items": [{"quantity": "+1"}]}"#,
        "JSON_INVALID",
        "items[0].quantity",
    ),
    (
        r#"{"items": [{"quantity": "1e2"}]}"#,
        "JSON_INVALID",
        "items[0].quantity",
    ),
    (
        r#"{"items": [{"price": 9007199254740993.0}]}"#,
        "JSON_INVALID",
        "items[0].price",
    ),
    (
        r#"{"items": [{"quantity": 1, "quantity": 2}]}"#,
        "DUPLICATE_FIELD",
        "items[0].quantity",
    ),
    (
        r#"{"shippingAddressId": "a", "shipping_address_id": "a"}"#,
        "DUPLICATE_FIELD",
        "shipping_address_id",
    ),
    (
        r#"{"paymentMethod": "\u0000"}"#,
        "JSON_INVALID",
        "paymentMethod",
    ),
];

#[tokio::test]
async fn bodies_that_are_not_the_contracts_are_refused() {
    let gateway = Gateway::start().await;
    let token = alice(WRITE);
    for (body, reason, field) in BODIES {
        let headers = json_headers("application/json");
        let reply = gateway.raw("POST", "/v1/orders", headers, body).await;
        if reason.is_empty() {
            // An empty message is the service's to refuse.
            assert_eq!(reply.status, 201, "{body}");
            continue;
        }
        expect(&reply, 400, "INVALID_ARGUMENT", reason);
        let violation = &reply.detail("BadRequest")["fieldViolations"][0]["field"];
        if !field.is_empty() {
            assert_eq!(violation, field, "{body}: {reply:?}");
        }
    }
    assert_eq!(gateway.mesh.orders().len(), 1);
    let deep = format!("{}{}", "{\"a\":".repeat(65), "1");
    let reply = gateway.order(Some(&token), &deep).await;
    expect(&reply, 400, "INVALID_ARGUMENT", "JSON_INVALID");
    gateway.stop().await;
}

/// What is asked, and the answer's status, word and reason.
const MEANINGLESS: [(&str, &str, u16, &str, &str); 20] = [
    ("GET", "/nowhere", 404, "NOT_FOUND", "ROUTE_NOT_FOUND"),
    ("GET", "/v1/orders/a/", 404, "NOT_FOUND", "ROUTE_NOT_FOUND"),
    // Refunds are not served yet; the path is that of a payment named so.
    (
        "POST",
        "/v1/payments/p:refund",
        405,
        "UNIMPLEMENTED",
        "METHOD_NOT_ALLOWED",
    ),
    (
        "GET",
        "/v1//orders",
        400,
        "INVALID_ARGUMENT",
        "PATH_INVALID",
    ),
    (
        "GET",
        "/v1/../orders",
        400,
        "INVALID_ARGUMENT",
        "PATH_INVALID",
    ),
    (
        "GET",
        "/v1/%2e%2e/orders",
        400,
        "INVALID_ARGUMENT",
        "PATH_INVALID",
    ),
    (
        "GET",
        "/v1/orders/a%00",
        400,
        "INVALID_ARGUMENT",
        "PATH_INVALID",
    ),
    ("GET", "/v1%2Forders", 404, "NOT_FOUND", "ROUTE_NOT_FOUND"),
    (
        "PUT",
        "/v1/orders",
        405,
        "UNIMPLEMENTED",
        "METHOD_NOT_ALLOWED",
    ),
    (
        "DELETE",
        "/v1/products/a",
        405,
        "UNIMPLEMENTED",
        "METHOD_NOT_ALLOWED",
    ),
    (
        "TRACE",
        "/v1/orders",
        405,
        "UNIMPLEMENTED",
        "METHOD_NOT_ALLOWED",
    ),
    (
        "GET",
        "/v1/orders/a?order_id=b",
        400,
        "INVALID_ARGUMENT",
        "PARAMETER_CONFLICT",
    ),
    (
        "GET",
        "/v1/orders/a?orderId=b",
        400,
        "INVALID_ARGUMENT",
        "PARAMETER_CONFLICT",
    ),
    (
        "GET",
        "/v1/orders?pageSize=1&page_size=1",
        400,
        "INVALID_ARGUMENT",
        "PARAMETER_CONFLICT",
    ),
    (
        "GET",
        "/v1/orders?prise=1",
        400,
        "INVALID_ARGUMENT",
        "PARAMETER_UNKNOWN",
    ),
    (
        "GET",
        "/v1/orders?pageSize=",
        400,
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
    ),
    (
        "GET",
        "/v1/orders?pageSize=1e1",
        400,
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
    ),
    (
        "GET",
        "/v1/orders/a?asOf=2026-01-01",
        400,
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
    ),
    (
        "GET",
        "/v1/orders/a?asOf=2026-06-30T23:59:60Z",
        400,
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
    ),
    (
        "GET",
        "/v1/users/x",
        400,
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
    ),
];

#[tokio::test]
async fn requests_that_mean_nothing_are_refused() {
    let gateway = Gateway::start().await;
    let token = alice("orders:read");
    for (method, path, status, word, reason) in MEANINGLESS {
        let reply = gateway.send(method, path, Some(&token), "").await;
        expect(&reply, status, word, reason);
        if status == 405 {
            assert!(!reply.header("allow").is_empty(), "{path}");
        }
    }
    // A header cannot make one method out of another.
    let mut headers = json_headers("application/json");
    headers.insert("x-http-method-override", "GET".parse().unwrap());
    let reply = gateway.raw("PUT", "/v1/orders", headers, "{}").await;
    expect(&reply, 405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED");
    let reply = gateway.send("GET", "/v1/orders", Some(&token), "{}").await;
    expect(&reply, 400, "INVALID_ARGUMENT", "UNEXPECTED_BODY");
    let write = alice(WRITE);
    let reply = gateway
        .send("POST", "/v1/orders?a=b", Some(&write), BRIEF)
        .await;
    expect(&reply, 400, "INVALID_ARGUMENT", "PARAMETER_UNKNOWN");
    gateway.stop().await;
}

#[tokio::test]
async fn only_json_is_read() {
    let gateway = Gateway::start().await;
    for (kind, status) in [
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ("Application/JSON; charset=\"UTF-8\"", 201),
        ("", 415),
        ("text/plain", 415),
        ("application/json; charset=latin1", 415),
        ("application/jsonp", 415),
        ("application/grpc-web+proto", 415),
        ("application/x-www-form-urlencoded", 415),
    ] {
        let reply = gateway
            .raw("POST", "/v1/orders", json_headers(kind), BRIEF)
            .await;
        assert_eq!(reply.status, status, "{kind}: {reply:?}");
        if status == 415 {
            expect(&reply, 415, "INVALID_ARGUMENT", "MEDIA_TYPE");
        }
    }
    // A path that is not there is not there, whatever is sent to it; and type goes before token.
    let reply = gateway
        .raw("POST", "/nowhere", json_headers("text/plain"), "x")
        .await;
    expect(&reply, 404, "NOT_FOUND", "ROUTE_NOT_FOUND");
    let mut headers = json_headers("text/plain");
    headers.remove("authorization");
    let reply = gateway.raw("POST", "/v1/orders", headers, "x").await;
    expect(&reply, 415, "INVALID_ARGUMENT", "MEDIA_TYPE");
    let mut headers = json_headers("application/json");
    headers.insert("content-encoding", "br".parse().unwrap());
    let reply = gateway.raw("POST", "/v1/orders", headers, "x").await;
    expect(&reply, 415, "INVALID_ARGUMENT", "MEDIA_TYPE");
    // A gRPC method is called by gRPC.
    let reply = gateway.send("POST", PLACE_ORDER, None, "{}").await;
    expect(&reply, 415, "INVALID_ARGUMENT", "MEDIA_TYPE");
    gateway.stop().await;
}

#[tokio::test]
async fn codes_of_services_become_statuses() {
    let gateway = Gateway::start().await;
    for (code, status, word) in [
        (Code::Cancelled, 499, "CANCELLED"),
        (Code::InvalidArgument, 400, "INVALID_ARGUMENT"),
        (Code::DeadlineExceeded, 504, "DEADLINE_EXCEEDED"),
        (Code::NotFound, 404, "NOT_FOUND"),
        (Code::AlreadyExists, 409, "ALREADY_EXISTS"),
        (Code::PermissionDenied, 403, "PERMISSION_DENIED"),
        (Code::ResourceExhausted, 429, "RESOURCE_EXHAUSTED"),
        (Code::FailedPrecondition, 400, "FAILED_PRECONDITION"),
        (Code::Aborted, 409, "ABORTED"),
        (Code::OutOfRange, 400, "OUT_OF_RANGE"),
        (Code::Unimplemented, 501, "UNIMPLEMENTED"),
        (Code::Unavailable, 503, "UNAVAILABLE"),
        (Code::Unauthenticated, 401, "UNAUTHENTICATED"),
    ] {
        let failure = Failure::new(code, "SOME_REASON", "it went wrong").with("what", "it");
        gateway.mesh.on(GET_PRODUCT, Act::Fail(failure.into()));
        let reply = gateway.get("/v1/products/a", None).await;
        expect(&reply, status, word, "SOME_REASON");
        assert_eq!(reply.json()["error"]["message"], "it went wrong");
        assert_eq!(reply.detail("ErrorInfo")["domain"], "shop.example");
        assert_eq!(reply.detail("ErrorInfo")["metadata"]["what"], "it");
        let waits = reply.headers.contains_key("retry-after");
        assert_eq!(waits, status == 503, "{code}");
    }
    for code in [Code::Unknown, Code::Internal, Code::DataLoss] {
        gateway
            .mesh
            .on(GET_PRODUCT, Act::Fail(Status::new(code, "a secret")));
        let reply = gateway.get("/v1/products/a", None).await;
        assert_eq!(reply.status, 500);
        assert_eq!(reply.json()["error"]["message"], "internal error");
        assert!(!reply.text.contains("secret"), "{reply:?}");
        assert!(reply.detail("RequestInfo")["requestId"].is_string());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn some_reasons_have_a_status_or_a_header_of_their_own() {
    let gateway = Gateway::start().await;
    let token = alice(WRITE);
    for (code, reason, status, header, value) in [
        (
            Code::InvalidArgument,
            "IDEMPOTENCY_KEY_REUSED",
            422,
            "allow",
            "",
        ),
        (
            Code::ResourceExhausted,
            "MESSAGE_TOO_LARGE",
            413,
            "allow",
            "",
        ),
        (
            Code::InvalidArgument,
            "IDEMPOTENCY_KEY_REQUIRED",
            400,
            "link",
            "</docs/errors#idempotency-key>; rel=\"describedby\"",
        ),
        (
            Code::Aborted,
            "IDEMPOTENCY_IN_PROGRESS",
            409,
            "retry-after",
            "2",
        ),
    ] {
        let mut failure = Failure::new(code, reason, "no");
        if header == "retry-after" {
            failure = failure.retry_after(std::time::Duration::from_millis(1100));
        }
        gateway.mesh.on(PLACE_ORDER, Act::Fail(failure.into()));
        let reply = gateway.order(Some(&token), BRIEF).await;
        assert_eq!((reply.status, reply.reason().as_str()), (status, reason));
        assert_eq!(reply.header(header), value, "{reason}");
    }
    gateway.stop().await;
}

/// As a sidecar says what it decided itself.
fn mesh_status(code: Code, reason: &str) -> Status {
    let info = rpc::ErrorInfo {
        reason: reason.to_owned(),
        domain: "outrigger".to_owned(),
        metadata: [("endpoint".to_owned(), "10.0.0.7:21000".to_owned())].into(),
    };
    let proto = rpc::Status {
        code: code as i32,
        message: "10.0.0.7:21000 refused".to_owned(),
        details: vec![prost_types::Any {
            type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
            value: info.encode_to_vec(),
        }],
    };
    Status::with_details(code, "10.0.0.7:21000 refused", proto.encode_to_vec().into())
}

#[tokio::test]
async fn what_the_mesh_says_is_told_without_its_inside() {
    let gateway = Gateway::start().await;
    for (code, reason, status) in [
        (Code::Unavailable, "BREAKER_OPEN", 503),
        (Code::Unavailable, "NO_ENDPOINT", 503),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", 504),
        (Code::PermissionDenied, "DENIED", 403),
        (Code::ResourceExhausted, "OVERLOADED", 429),
    ] {
        let act = Act::Fail(mesh_status(code, reason));
        gateway.mesh.on(GET_PRODUCT, act);
        let reply = gateway.get("/v1/products/a", None).await;
        assert_eq!((reply.status, reply.reason().as_str()), (status, reason));
        assert_eq!(reply.detail("ErrorInfo")["domain"], "outrigger");
        assert!(!reply.text.contains("10.0.0.7"), "{reply:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_not_grpc_is_an_error() {
    let gateway = Gateway::start().await;
    for (http, status) in [(200, 500), (404, 501), (503, 503), (500, 500)] {
        gateway.mesh.on(GET_PRODUCT, Act::Http(http));
        let reply = gateway.get("/v1/products/a", None).await;
        assert_eq!(reply.status, status, "{http}: {reply:?}");
        assert!(reply.json()["error"].is_object());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_detail_of_an_unknown_type_keeps_its_bytes() {
    let gateway = Gateway::start().await;
    let proto = rpc::Status {
        code: Code::NotFound as i32,
        message: "gone".to_owned(),
        details: vec![prost_types::Any {
            type_url: "type.googleapis.com/elsewhere.Detail".to_owned(),
            value: vec![1, 2, 3],
        }],
    };
    let status = Status::with_details(Code::NotFound, "gone", proto.encode_to_vec().into());
    gateway.mesh.on(GET_ORDER, Act::Fail(status));
    let token = alice("orders:read");
    let reply = gateway.get("/v1/orders/a", Some(&token)).await;
    let details: Value = reply.json()["error"]["details"][0].clone();
    assert_eq!(details["value"], "AQID", "{reply:?}");
    gateway.stop().await;
}
