//! The stage in front of the handlers: reads the one message of a unary call,
//! holds it against its rules, and hands the same bytes on. The decoded message
//! stays among the request's extensions, where idempotency takes its
//! fingerprint from.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use prost_reflect::DynamicMessage;
use tonic::Code;

use super::Validator;
use crate::Failure;
use crate::method::Method;
use crate::server::refuse;

/// The largest message a service takes.
const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;
const PREFIX: usize = 5;

/// The request as it was decoded for validation.
#[derive(Clone, Debug)]
pub(crate) struct Decoded(pub(crate) Arc<DynamicMessage>);

pub(crate) async fn call<S>(State(shared): State<Arc<S>>, request: Request, next: Next) -> Response
where
    S: AsRef<Validator>,
{
    let method = request.extensions().get::<Arc<Method>>().cloned();
    // Without a method it is health or reflection; streams are not ours yet.
    let Some(method) = method.filter(|method| !method.client_streaming) else {
        return next.run(request).await;
    };
    let (mut head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MESSAGE_LIMIT + PREFIX).await else {
        return refuse(too_large());
    };
    let message = match decode(&method, &body) {
        Ok(message) => message,
        Err(failure) => return refuse(failure),
    };
    if let Err(failure) = (*shared).as_ref().check(&message) {
        return refuse(failure);
    }
    head.extensions.insert(Decoded(Arc::new(message)));
    next.run(Request::from_parts(head, Body::from(body))).await
}

/// Exactly one message, not compressed: what stands behind the first would
/// reach the handler unchecked.
fn decode(method: &Method, body: &Bytes) -> Result<DynamicMessage, Failure> {
    let malformed = || {
        Failure::field(
            "",
            "the request is not one uncompressed message of the method's type",
        )
    };
    let (prefix, message) = body.split_first_chunk::<PREFIX>().ok_or_else(malformed)?;
    let [0, length @ ..] = *prefix else {
        return Err(malformed());
    };
    if u32::from_be_bytes(length) as usize != message.len() {
        return Err(malformed());
    }
    DynamicMessage::decode(method.input.clone(), message).map_err(|_| malformed())
}

fn too_large() -> Failure {
    Failure::new(
        Code::ResourceExhausted,
        "MESSAGE_TOO_LARGE",
        "the message is larger than 4 MiB",
    )
}
