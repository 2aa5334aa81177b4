//! Around every request: who calls, parameters no endpoint takes, headers every answer carries.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{ALLOW, AUTHORIZATION, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::Shared;
use super::call::Query;
use super::reply::Past;
use crate::error::Refusal;
use crate::token::Access;

pub(super) async fn frame(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let mut response = match admit(&shared, &request) {
        Err(refusal) => refusal.into_response(),
        Ok(access) => {
            request.extensions_mut().insert(access);
            if method == Method::HEAD {
                // No endpoint serves it; axum would answer it wherever there is a GET.
                *request.method_mut() = Method::TRACE;
            }
            next.run(request).await
        }
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = wrong_method(&method, response.headers());
    }
    if let Some(Past(limit)) = response.extensions().get() {
        shared.hits.count(limit);
    }
    let policy = HeaderValue::from_static(shared.config.default_policy.as_str());
    response
        .headers_mut()
        .insert("x-consul-default-acl-policy", policy);
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

fn admit(shared: &Shared, request: &Request) -> Result<Access, Refusal> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    refuse_enterprise(request.headers(), &query)?;
    if request
        .uri()
        .path()
        .bytes()
        .any(|byte| byte.is_ascii_control())
    {
        return Err(Refusal::bad("Invalid path: non-printable characters"));
    }
    let elsewhere = query
        .value("datacenter")
        .or(query.value("dc"))
        .filter(|dc| !dc.is_empty());
    if elsewhere.is_some_and(|datacenter| datacenter != shared.config.datacenter) {
        return Err(Refusal::server("No path to datacenter"));
    }
    let Some(tokens) = &shared.config.tokens else {
        return Ok(Access::Management);
    };
    if request.uri().path().starts_with("/v1/status/") {
        // Whether anybody is there is no secret; start-up probes ask before they hold a token.
        return Ok(Access::Service(String::new()));
    }
    let token = token(request.headers(), &query).ok_or_else(Refusal::denied)?;
    tokens.access(&token).cloned().ok_or_else(Refusal::denied)
}

fn token(headers: &HeaderMap, query: &Query) -> Option<String> {
    if let Some(token) = query.value("token").filter(|token| !token.is_empty()) {
        return Some(token.to_owned());
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(token) = header("x-consul-token").filter(|token| !token.is_empty()) {
        return Some(token.to_owned());
    }
    let (scheme, token) = header(AUTHORIZATION.as_str())?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

fn refuse_enterprise(headers: &HeaderMap, query: &Query) -> Result<(), Refusal> {
    for (name, header, feature) in [
        ("ns", "X-Consul-Namespace", "Namespaces"),
        ("partition", "X-Consul-Partition", "Partitions"),
    ] {
        if query.value(name).is_some_and(|value| !value.is_empty()) {
            let text = format!(
                "Invalid query parameter: {name:?} - {feature} are a Consul Enterprise feature"
            );
            return Err(Refusal::bad(text));
        }
        if headers.get(header).is_some_and(|value| !value.is_empty()) {
            let text =
                format!("Invalid header: {header:?} - {feature} are a Consul Enterprise feature");
            return Err(Refusal::bad(text));
        }
    }
    Ok(())
}

/// `OPTIONS` is answered with the route's methods, anything else wrong is refused with them.
fn wrong_method(method: &Method, headers: &HeaderMap) -> Response {
    let served = headers
        .get(ALLOW)
        .and_then(|allow| allow.to_str().ok())
        .unwrap_or_default();
    let served = served
        .split(',')
        .map(str::trim)
        .filter(|served| !served.is_empty() && *served != "HEAD");
    let allow = std::iter::once("OPTIONS")
        .chain(served)
        .collect::<Vec<_>>()
        .join(",");
    let mut response = if method == Method::OPTIONS {
        StatusCode::OK.into_response()
    } else {
        Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("method {method} not allowed"),
        )
        .into_response()
    };
    if let Ok(allow) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}
