//! Errors as REST callers get them: one JSON form for everything, whoever made it.

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ALLOW, LINK, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use outrigger_proto::google::rpc;
use prost::Message as _;
use prost_reflect::DynamicMessage;
use prost_types::Any;
use serde_json::{Value, json};
use shop_chassis::Failure;
use tonic::{Code, Status};

use crate::json;
use crate::limit::Limit;

/// The mesh's own errors carry this domain.
const MESH: &str = "outrigger";

/// What the gateway itself refuses.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    reason: &'static str,
    message: String,
    field: Option<(String, String)>,
    allow: Vec<Method>,
    limit: Option<Limit>,
}

impl Refusal {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            field: None,
            allow: Vec::new(),
            limit: None,
        }
    }

    /// The request is past this limit.
    #[must_use]
    pub(crate) fn past(self, limit: Limit) -> Self {
        Self {
            limit: Some(limit),
            ..self
        }
    }

    pub(crate) fn field(field: &str, description: impl Into<String>) -> Self {
        let description = description.into();
        let message = format!("{field} {description}");
        Self::new("FIELD_INVALID", message).with_field(field, &description)
    }

    pub(crate) fn unknown_parameter(name: &str, why: &str) -> Self {
        Self::new("PARAMETER_UNKNOWN", format!("parameter {name}: {why}")).with_field(name, &why)
    }

    pub(crate) fn conflict(name: &str, why: &str) -> Self {
        Self::new("PARAMETER_CONFLICT", format!("parameter {name}: {why}")).with_field(name, &why)
    }

    pub(crate) fn not_allowed(allow: Vec<Method>) -> Self {
        let names: Vec<_> = allow.iter().map(Method::as_str).collect();
        let message = format!("this path takes {}", names.join(", "));
        Self {
            allow,
            ..Self::new("METHOD_NOT_ALLOWED", message)
        }
    }

    #[must_use]
    pub(crate) fn with_field(mut self, field: &str, description: &dyn std::fmt::Display) -> Self {
        self.field = Some((field.to_owned(), description.to_string()));
        self
    }

    pub(crate) fn reason(&self) -> &'static str {
        self.reason
    }

    pub(crate) fn limit(&self) -> Option<Limit> {
        self.limit
    }

    /// The field that the error names.
    #[cfg(test)]
    pub(crate) fn field_name(&self) -> Option<&str> {
        self.field.as_ref().map(|(field, _)| field.as_str())
    }

    /// As gRPC callers hear it.
    pub(crate) fn failure(&self) -> Failure {
        let mut failure = Failure::new(self.status().1, self.reason, self.message.clone());
        if let Some((field, description)) = &self.field {
            failure = failure.violation(field, description);
        }
        failure
    }

    /// The HTTP status, and the nearest gRPC code.
    fn status(&self) -> (StatusCode, Code) {
        match self.reason {
            "ROUTE_NOT_FOUND" => (StatusCode::NOT_FOUND, Code::NotFound),
            "METHOD_NOT_ALLOWED" => (StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented),
            "BODY_TOO_SLOW" => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
            "MESSAGE_TOO_LARGE" => (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted),
            "URI_TOO_LONG" => (StatusCode::URI_TOO_LONG, Code::InvalidArgument),
            "HEADERS_TOO_LARGE" => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Code::ResourceExhausted,
            ),
            "MEDIA_TYPE" => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument),
            _ => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
        }
    }
}

/// A request that was refused before it reached a service.
pub(crate) fn refused(refusal: &Refusal, request_id: &str) -> Response {
    let (http, _) = refusal.status();
    let mut response = write(http, &Status::from(refusal.failure()), request_id);
    tell_methods(&refusal.allow, &mut response);
    response
}

/// What a path takes, for who asks with OPTIONS.
pub(crate) fn options(methods: &[Method]) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    tell_methods(methods, &mut response);
    response
}

fn tell_methods(methods: &[Method], response: &mut Response) {
    let allow: Vec<_> = methods.iter().map(Method::as_str).collect();
    if !allow.is_empty()
        && let Ok(allow) = HeaderValue::try_from(allow.join(", "))
    {
        response.headers_mut().insert(ALLOW, allow);
    }
}

/// A service's error, or the mesh's.
pub(crate) fn failed(status: &Status, request_id: &str) -> Response {
    let status = outside(status, request_id);
    let reason = reason(&status);
    write(http_status(status.code(), &reason), &status, request_id)
}

/// Why, in one word, if the status says it.
pub(crate) fn reason(status: &Status) -> String {
    let info = shop_chassis::status::error_info(status);
    info.map(|info| info.reason).unwrap_or_default()
}

/// An error as strangers may hear it: what went wrong inside is for the log, and what the mesh says of itself becomes
/// one sentence a kind.
pub(crate) fn outside(status: &Status, request_id: &str) -> Status {
    let code = status.code();
    if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss) {
        tracing::error!(
            request_id,
            ?code,
            message = status.message(),
            "internal error"
        );
        return Status::new(code, "internal error");
    }
    let info = shop_chassis::status::error_info(status);
    let Some(info) = info.filter(|info| info.domain == MESH) else {
        return status.clone();
    };
    tracing::debug!(
        request_id,
        reason = info.reason,
        message = status.message(),
        "refused by the mesh"
    );
    let mut kept: Vec<_> = details(status)
        .into_iter()
        .filter(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))
        .collect();
    let info = rpc::ErrorInfo {
        metadata: Default::default(),
        ..info
    };
    let type_url = "type.googleapis.com/google.rpc.ErrorInfo".to_owned();
    let value = info.encode_to_vec();
    kept.insert(0, Any { type_url, value });
    let proto = rpc::Status {
        code: code as i32,
        message: sentence(code).to_owned(),
        details: kept,
    };
    let bytes = proto.encode_to_vec().into();
    Status::with_details(code, proto.message, bytes)
}

fn write(http: StatusCode, status: &Status, request_id: &str) -> Response {
    let details = details(status);
    let body = body(http, status, &details, request_id);
    let mut response = json::response(http, body.to_string().into());
    let headers = response.headers_mut();
    if status.code() == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, challenge(status));
    }
    if shop_chassis::status::reason(status).as_deref() == Some("IDEMPOTENCY_KEY_REQUIRED") {
        let link = "</docs/errors#idempotency-key>; rel=\"describedby\"";
        headers.insert(LINK, HeaderValue::from_static(link));
    }
    if let Some(seconds) = retry_after(&details, http) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The table of codes, and the two reasons that go by their own.
fn http_status(code: Code, reason: &str) -> StatusCode {
    let status = match (reason, code) {
        ("IDEMPOTENCY_KEY_REUSED", _) => 422,
        ("MESSAGE_TOO_LARGE", _) => 413,
        (_, Code::Ok) => 200,
        (_, Code::Cancelled) => 499,
        (_, Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange) => 400,
        (_, Code::DeadlineExceeded) => 504,
        (_, Code::NotFound) => 404,
        (_, Code::AlreadyExists | Code::Aborted) => 409,
        (_, Code::PermissionDenied) => 403,
        (_, Code::ResourceExhausted) => 429,
        (_, Code::Unimplemented) => 501,
        (_, Code::Unavailable) => 503,
        (_, Code::Unauthenticated) => 401,
        (_, Code::Unknown | Code::Internal | Code::DataLoss) => 500,
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn details(status: &Status) -> Vec<Any> {
    rpc::Status::decode(status.details())
        .map(|status| status.details)
        .unwrap_or_default()
}

fn body(http: StatusCode, status: &Status, details: &[Any], request_id: &str) -> Value {
    let mut printed: Vec<_> = details.iter().map(print).collect();
    printed.push(json!({
        "@type": "type.googleapis.com/google.rpc.RequestInfo",
        "requestId": request_id,
    }));
    json!({"error": {
        "code": http.as_u16(),
        "status": word(status.code()),
        "message": status.message(),
        "details": printed,
    }})
}

fn sentence(code: Code) -> &'static str {
    match code {
        Code::DeadlineExceeded => "the request was not answered in time",
        Code::PermissionDenied => "the request is not allowed",
        Code::ResourceExhausted => "too many requests at once; try again later",
        _ => "the service cannot be reached now; try again later",
    }
}

/// A detail in JSON; one of an unknown type keeps its bytes.
fn print(any: &Any) -> Value {
    let unknown = || json!({"@type": any.type_url, "value": STANDARD.encode(&any.value)});
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let Some(kind) = outrigger_proto::pool().get_message_by_name(name) else {
        return unknown();
    };
    let Ok(message) = DynamicMessage::decode(kind, any.value.as_slice()) else {
        return unknown();
    };
    match serde_json::to_value(&message) {
        Ok(Value::Object(mut object)) => {
            object.insert("@type".to_owned(), Value::String(any.type_url.clone()));
            Value::Object(object)
        }
        _ => unknown(),
    }
}

/// Seconds, rounded up. 503 always names some.
fn retry_after(details: &[Any], http: StatusCode) -> Option<u64> {
    let stated = details
        .iter()
        .find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))
        .and_then(|any| rpc::RetryInfo::decode(any.value.as_slice()).ok())
        .and_then(|info| info.retry_delay)
        .map(|delay| u64::try_from(delay.seconds).unwrap_or(0) + u64::from(delay.nanos > 0));
    stated.or((http == StatusCode::SERVICE_UNAVAILABLE).then_some(1))
}

fn challenge(status: &Status) -> HeaderValue {
    match shop_chassis::status::reason(status).as_deref() {
        Some("TOKEN_INVALID") => HeaderValue::from_static("Bearer error=\"invalid_token\""),
        _ => HeaderValue::from_static("Bearer"),
    }
}

/// The code as `google.rpc.Code` names it.
pub(crate) fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
