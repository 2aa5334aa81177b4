//! May this call run, and until when? The caller is read and held against the
//! method's contract; then the handler runs under the caller's deadline, with
//! the caller and the method among the request's extensions.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tonic::{Code, Status};

use super::Shared;
use crate::caller::Caller;
use crate::context::Context;
use crate::method::Method;
use crate::{Failure, failpoint};

pub(super) async fn call(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(method) = shared.methods.find(request.uri().path()).cloned() else {
        // Health, reflection, or nothing at all: the routes answer.
        return next.run(request).await;
    };
    match caller(&request, &method) {
        Ok(caller) => request.extensions_mut().insert(Arc::new(caller)),
        Err(failure) => {
            tracing::debug!(reason = failure.reason(), "call refused");
            return refuse(failure);
        }
    };
    request.extensions_mut().insert(Arc::clone(&method));
    shared.metrics.started(&method.name);
    failpoint::reached(&format!("{}.received", method.short_name()));
    let response = within_deadline(next.run(request)).await;
    failpoint::reached(&format!("{}.replying", method.short_name()));
    response
}

pub(crate) fn refuse(failure: Failure) -> Response {
    Status::from(failure)
        .into_http::<axum::body::Body>()
        .into_response()
}

fn caller(request: &Request, method: &Method) -> Result<Caller, Failure> {
    let caller = Caller::from_headers(request.headers())?;
    caller.admit(method)?;
    Ok(caller)
}

/// Dropping the handler at its deadline rolls back what it had not committed.
async fn within_deadline(work: impl Future<Output = Response>) -> Response {
    let Some(deadline) = Context::current().deadline() else {
        return work.await;
    };
    tokio::time::timeout_at(deadline, work)
        .await
        .unwrap_or_else(|_| {
            let status = Status::new(Code::DeadlineExceeded, "the caller's deadline has passed");
            status.into_http::<axum::body::Body>().into_response()
        })
}
