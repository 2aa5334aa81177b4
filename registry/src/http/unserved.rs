//! Endpoints of Consul that are not served: never a made-up body.

use axum::extract::OriginalUri;
use http::StatusCode;

use crate::error::Refusal;

pub(super) async fn root() -> &'static str {
    "Outrigger registry: the API is under /v1/"
}

pub(super) async fn acl() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "ACL support disabled")
}

/// A part of Consul's API that this registry leaves out.
pub(super) async fn not_here(OriginalUri(uri): OriginalUri) -> Refusal {
    Refusal::not_found(format!(
        "Outrigger's registry does not serve {}",
        uri.path()
    ))
}

pub(super) async fn unknown(OriginalUri(uri): OriginalUri) -> Refusal {
    if uri.path().contains("/v1/") {
        return Refusal::not_found("Invalid URL path: not a recognized HTTP API endpoint\n");
    }
    Refusal::not_found(
        "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n",
    )
}
