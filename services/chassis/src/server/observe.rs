//! The outermost stage: one span a call, child of the caller's; the call
//! counted and logged once its last byte is out, with the code its caller heard.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::Shared;
use crate::context::Context;
use crate::metrics::code_name;
use crate::telemetry;

const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

pub(super) async fn call(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let method = shared
        .methods
        .find(request.uri().path())
        .map_or_else(|| "unknown".to_owned(), |method| method.name.clone());
    let span = tracing::info_span!(
        "call",
        otel.name = method,
        otel.kind = "server",
        rpc.system = "grpc",
        method,
        trace_id = Empty,
        rpc.grpc.status_code = Empty,
    );
    let mut ended = Ended {
        shared: Arc::clone(&shared),
        method,
        span: span.clone(),
        since: Instant::now(),
        code: None,
    };
    let response = serve(&span, request, next).await;
    // Trailers-Only: the status stands among the headers.
    ended.code = Status::from_header_map(response.headers()).map(|status| status.code());
    response.map(|body| Body::new(Watched { body, ended }))
}

/// The same for routes that are no gRPC methods: the gateway names its own.
pub(super) async fn http(request: Request, next: Next) -> Response {
    let span = tracing::info_span!(
        "request",
        otel.name = Empty,
        otel.kind = "server",
        http.request.method = %request.method(),
        http.response.status_code = Empty,
        trace_id = Empty,
    );
    let response = serve(&span, request, next).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

/// Every answer says who made it, health and metrics too.
pub(super) async fn served_by(
    State(served_by): State<HeaderValue>,
    mut response: Response,
) -> Response {
    response.headers_mut().insert(SERVED_BY, served_by);
    response
}

async fn serve(span: &Span, request: Request, next: Next) -> Response {
    let trace_id = telemetry::continue_trace(span, request.headers());
    span.record("trace_id", trace_id);
    let context = Context::from_headers(request.headers());
    context
        .scope(next.run(request))
        .instrument(span.clone())
        .await
}

/// The end of a call. It reports when dropped, so that a call its caller
/// abandoned is counted too.
struct Ended {
    shared: Arc<Shared>,
    method: String,
    span: Span,
    since: Instant,
    code: Option<Code>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        self.shared.metrics.ended(&self.method, code);
        self.span.record("rpc.grpc.status_code", code as i32);
        tracing::debug!(
            parent: &self.span,
            code = code_name(code),
            elapsed = ?self.since.elapsed(),
            "call ended"
        );
    }
}

/// A response body that is listened to for the status in its trailers.
struct Watched {
    body: Body,
    ended: Ended,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            self.ended.code = Status::from_header_map(trailers).map(|status| status.code());
        }
        if let Poll::Ready(None) = &polled {
            self.ended.code.get_or_insert(Code::Unknown);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
