//! How answers are written.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use super::call::Call;
use crate::error::Refusal;

/// The bound an answer is about, for the frame to count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past(pub(super) &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let plain = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
        let mut response = (self.status, plain, self.message).into_response();
        if let Some(limit) = self.limit {
            response.extensions_mut().insert(Past(limit));
        }
        response
    }
}

/// 200 with nothing in it: what writes without a result answer.
pub(super) fn empty() -> Response {
    StatusCode::OK.into_response()
}

pub(super) fn encode<T: Serialize>(call: &Call, value: &T) -> Result<Bytes, Refusal> {
    let failed = |error: serde_json::Error| Refusal::server(error.to_string());
    if !call.query.has("pretty") {
        return serde_json::to_vec(value).map(Bytes::from).map_err(failed);
    }
    let mut out = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b"    "));
    value.serialize(&mut serializer).map_err(failed)?;
    out.push(b'\n');
    Ok(out.into())
}

pub(super) fn json<T: Serialize>(call: &Call, value: &T) -> Result<Response, Refusal> {
    json_with(StatusCode::OK, call, value)
}

pub(super) fn json_with<T: Serialize>(
    status: StatusCode,
    call: &Call,
    value: &T,
) -> Result<Response, Refusal> {
    let body = encode(call, value)?;
    let json = HeaderValue::from_static("application/json");
    Ok((status, [(CONTENT_TYPE, json)], body).into_response())
}
