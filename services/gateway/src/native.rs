//! A gRPC request: exposed methods only, checked as REST is, and passed through without reading its messages.

mod answer;

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue};
use shop_chassis::Failure;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::auth::User;
use crate::bounded::{Bounded, Excess};
use crate::limit::Limit;
use crate::log::Line;
use crate::rest::{forwarded, request_id};
use crate::upstream::{self, told};
use crate::{Gateway, error, head};
use answer::Passing;

/// Whether the request speaks gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| {
        kind == b"application/grpc"
            || kind.starts_with(b"application/grpc+")
            || kind.starts_with(b"application/grpc;")
    })
}

/// Answers a gRPC request; an error is Trailers-Only under HTTP 200.
pub(crate) async fn call(gateway: &Arc<Gateway>, request: Request) -> Response {
    let mut line = Line::begin(request.method());
    let id = request_id(request.headers());
    let (mut response, reason) = match pass(gateway, request, &id, &mut line).await {
        Ok(response) => (response, String::new()),
        Err(status) => {
            let status = error::outside(&status, &id);
            let reason = error::reason(&status);
            line.code = error::word(status.code());
            (status.into_http(), reason)
        }
    };
    if let Ok(id) = HeaderValue::try_from(&id) {
        response.headers_mut().insert("x-request-id", id);
    }
    line.end(response.status(), &reason, &id);
    response
}

async fn pass(
    gateway: &Arc<Gateway>,
    request: Request,
    request_id: &str,
    line: &mut Line,
) -> Result<Response, Status> {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    head::check(&parts, &gateway.limits)
        .inspect_err(|refusal| gateway.count_refusal(refusal))
        .map_err(|refusal| refusal.failure())?;
    let rpc = gateway.exposed.grpc(parts.uri.path()).ok_or_else(|| {
        Failure::new(
            Code::Unimplemented,
            "METHOD_NOT_EXPOSED",
            "there is no such method here; reflection lists them",
        )
    })?;
    line.route = parts.uri.path().to_owned();
    rpc.method.full_name().clone_into(&mut line.rpc);
    let timeout = gateway.timeout(&parts.headers)?;
    let deadline = began + timeout.after;
    let user = gateway.verifier.admit(&parts.headers, rpc).await?;
    line.user = user.as_ref().map(User::id);
    let place = gateway.enter(rpc)?;

    let excess = Excess::of(Limit::GrpcMessage, &gateway.hits);
    let body = Bounded::new(body, gateway.limits.message, excess.clone());
    let mut call = http::Request::new(Body::new(body));
    *call.method_mut() = http::Method::POST;
    *call.uri_mut() = format!("http://{}{}", rpc.authority, parts.uri.path())
        .parse()
        .map_err(|error: http::uri::InvalidUri| Status::internal(error.to_string()))?;
    *call.headers_mut() = headers(&parts.headers, user.as_ref());
    let told = shop_chassis::context::format_timeout(told(deadline));
    call.headers_mut().insert("grpc-timeout", told);
    let answer = gateway.upstreams.stream(&rpc.authority, call);
    let answer = match tokio::time::timeout_at(deadline, answer).await {
        Err(_) => {
            let status = upstream::too_late().into();
            gateway.count_late(&status, timeout);
            return Err(status);
        }
        Ok(Err(_)) if excess.is_set() => return Err(answer::too_large()),
        Ok(answer) => answer?,
    };
    let passing = Passing {
        request_id: request_id.to_owned(),
        gateway: Arc::clone(gateway),
        timeout,
        excess,
        _place: place,
    };
    Ok(passing.pass(answer))
}

fn headers(outside: &HeaderMap, user: Option<&User>) -> HeaderMap {
    let mut headers = forwarded(outside, user);
    for name in [
        "content-type",
        "grpc-encoding",
        "grpc-accept-encoding",
        "user-agent",
    ] {
        if let Some(value) = outside.get(name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers
}
