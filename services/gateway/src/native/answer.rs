//! A service's answer on its way out: the bytes as they are, of headers and trailers what is listed, and errors as
//! strangers may hear them. It holds the request's place until the last byte.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use shop_chassis::Failure;
use tokio::sync::OwnedSemaphorePermit;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::Gateway;
use crate::bounded::Excess;
use crate::error;
use crate::rest::{OUTWARDS, Timeout};

/// What gRPC itself needs.
const PROTOCOL: [&str; 7] = [
    "content-type",
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
    "grpc-encoding",
    "grpc-accept-encoding",
    "grpc-retry-pushback-ms",
];

/// What is known of a call that passes.
#[derive(Debug)]
pub(super) struct Passing {
    pub(super) request_id: String,
    pub(super) gateway: Arc<Gateway>,
    pub(super) timeout: Timeout,
    pub(super) excess: Excess,
    pub(super) _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Answer {
    inner: Body,
    passing: Passing,
    ended: bool,
}

impl Passing {
    pub(super) fn pass(self, answer: http::Response<Body>) -> Response {
        let (mut parts, inner) = answer.into_parts();
        parts.headers = self.listed(&parts.headers);
        let body = Answer {
            inner,
            passing: self,
            ended: false,
        };
        Response::from_parts(parts, axum::body::Body::new(body))
    }

    /// Headers or trailers, the status among them rewritten.
    fn listed(&self, inside: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in PROTOCOL.iter().chain(&OUTWARDS) {
            for value in inside.get_all(*name) {
                headers.append(*name, value.clone());
            }
        }
        let Some(status) = Status::from_header_map(inside).filter(|s| s.code() != Code::Ok) else {
            return headers;
        };
        self.gateway.count_late(&status, self.timeout);
        let status = if self.excess.is_set() {
            too_large()
        } else {
            error::outside(&status, &self.request_id)
        };
        write(&status, &mut headers);
        headers
    }

    /// What ended the body without a status. A body that broke off is not ended as if it were whole: its stream is
    /// reset.
    fn broken(&self, error: Status) -> Result<Frame<Bytes>, Status> {
        if !self.excess.is_set() {
            return Err(error);
        }
        let mut trailers = HeaderMap::new();
        write(&too_large(), &mut trailers);
        Ok(Frame::trailers(trailers))
    }
}

fn write(status: &Status, headers: &mut HeaderMap) {
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        headers.remove(name);
    }
    // A message that is no header is left out; the status remains.
    if status.add_header(headers).is_err() {
        headers.insert("grpc-status", (status.code() as i32).into());
    }
}

pub(super) fn too_large() -> Status {
    Failure::new(
        Code::ResourceExhausted,
        "MESSAGE_TOO_LARGE",
        "a message is larger than is allowed here",
    )
    .into()
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(polled) = Pin::new(&mut self.inner).poll_frame(context) else {
            return Poll::Pending;
        };
        let frame = match polled {
            None => return Poll::Ready(None),
            Some(Err(error)) => {
                self.ended = true;
                self.passing.broken(error)
            }
            Some(Ok(frame)) => Ok(match frame.into_trailers() {
                Ok(trailers) => Frame::trailers(self.passing.listed(&trailers)),
                Err(frame) => frame,
            }),
        };
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
