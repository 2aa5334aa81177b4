//! A gRPC request: exposed methods only, checked as REST is, and passed through without reading its messages.

mod bounded;

use axum::extract::Request;
use axum::response::Response;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue};
use shop_chassis::Failure;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use crate::Gateway;
use crate::auth::User;
use crate::log::Line;
use crate::rest::{forwarded, request_id, timeout};
use bounded::Bounded;

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
pub(crate) async fn call(gateway: &Gateway, request: Request) -> Response {
    let mut line = Line::begin(request.method());
    let id = request_id(request.headers());
    let (response, code) = match pass(gateway, request, &mut line).await {
        Ok(response) => (response, "passed"),
        Err(status) => {
            let word = crate::error::word(status.code());
            (status.into_http(), word)
        }
    };
    line.end(response.status(), code, &id);
    response
}

async fn pass(gateway: &Gateway, request: Request, line: &mut Line) -> Result<Response, Status> {
    let (parts, body) = request.into_parts();
    let rpc = gateway.exposed.grpc(parts.uri.path()).ok_or_else(|| {
        Failure::new(
            Code::Unimplemented,
            "METHOD_NOT_EXPOSED",
            "there is no such method here; reflection lists them",
        )
    })?;
    line.route = parts.uri.path().to_owned();
    rpc.method.full_name().clone_into(&mut line.rpc);
    let timeout = timeout(&parts.headers, &gateway.limits)?;
    let user = gateway.verifier.admit(&parts.headers, rpc).await?;
    line.user = user.as_ref().map(User::id);
    let body = Bounded::new(body, gateway.limits.message);
    let excess = body.excess();
    let mut call = http::Request::new(Body::new(body));
    *call.method_mut() = http::Method::POST;
    *call.uri_mut() = format!("http://{}{}", rpc.authority, parts.uri.path())
        .parse()
        .map_err(|error: http::uri::InvalidUri| Status::internal(error.to_string()))?;
    *call.headers_mut() = headers(&parts.headers, user.as_ref(), timeout);
    let peer = gateway
        .upstreams
        .peer(&rpc.authority)
        .ok_or_else(|| Status::internal("no peer of an exposed method"))?;
    let answer = peer.oneshot(call).await;
    match answer {
        Err(_) if excess.is_set() => Err(too_large(gateway.limits.message)),
        Err(status) => Err(status),
        Ok(answer) => Ok(outwards(answer)),
    }
}

fn headers(outside: &HeaderMap, user: Option<&User>, timeout: std::time::Duration) -> HeaderMap {
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
    headers.insert(
        "grpc-timeout",
        shop_chassis::context::format_timeout(timeout),
    );
    headers
}

/// What the mesh says to the gateway is not for the outside.
fn outwards(answer: http::Response<Body>) -> Response {
    let mut response = answer.map(axum::body::Body::new);
    let inner: Vec<_> = response
        .headers()
        .keys()
        .filter(|name| name.as_str().starts_with("x-outrigger-"))
        .cloned()
        .collect();
    for name in inner {
        response.headers_mut().remove(name);
    }
    response
}

fn too_large(largest: usize) -> Status {
    let message = format!("a message is larger than {largest} bytes");
    Failure::new(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", message).into()
}
