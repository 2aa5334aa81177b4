//! What a service of tonic's cannot do itself: trailers of a call that succeeds, the flags of its messages, DEADLINE_EXCEEDED.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use http_body_util::BodyExt as _;
use outrigger_sidecar::grpc::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower_service::Service;

use crate::metadata::{INITIAL, TRAILING};
use crate::wire::Flags;

/// No call of the cases takes longer.
const LONGEST: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone)]
pub(super) struct Echo<S>(pub(super) S);

impl<S: NamedService> NamedService for Echo<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Echo<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let headers = request.headers().clone();
        let flags = Flags::default();
        request.extensions_mut().insert(flags.clone());
        let request = request.map(|body| flags.of(body));
        let left = timeout::of(&headers).ok().flatten().unwrap_or(LONGEST);
        // Begun here, it ends before tonic's own timer, whose word for it would be CANCELLED.
        let response = tokio::time::timeout(left, self.0.call(request));
        Box::pin(async move {
            match response.await {
                Ok(response) => response.map(|response| sent_back(&headers, response)),
                Err(_) => Ok(Status::deadline_exceeded("the deadline passed").into_http()),
            }
        })
    }
}

/// The answer with the metadata that its request asked to have back.
fn sent_back(request: &HeaderMap, response: http::Response<Body>) -> http::Response<Body> {
    let (mut head, body) = response.into_parts();
    if let Some(value) = request.get(INITIAL) {
        head.headers.insert(INITIAL, value.clone());
    }
    let Some(value) = request.get(TRAILING).cloned() else {
        return http::Response::from_parts(head, body);
    };
    let body = body.map_frame(move |mut frame| {
        if let Some(trailers) = frame.trailers_mut() {
            trailers.insert(TRAILING, value.clone());
        }
        frame
    });
    http::Response::from_parts(head, Body::new(body))
}
