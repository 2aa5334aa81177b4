//! What the caller hears: the one place where an `Error` becomes a Trailers-Only answer, an HTTP answer, trailers or a reset.
//!
//! Outermost. Before response headers every error has an answer; after them a reset is forwarded as it came and anything else becomes
//! trailers. It also completes answers that lack a status, so that no gRPC caller ever sees an end without one.

use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::layer::layer_fn;
use tower_layer::Layer;

use crate::contract;
use crate::error::{Error, Kind};
use crate::grpc::metadata::PUSHBACK;
use crate::grpc::status;
use crate::http2::Link;
use crate::observe;
use crate::outcome::judge::{Judge, REASON};
use crate::outcome::{By, Outcome};
use crate::stack::{Body, Call, Data, Linked, Protocol, Reply as Answer, Stage};

#[derive(Debug)]
pub struct Reply<S> {
    service: Arc<str>,
    inner: Rc<S>,
}

/// A gRPC reply that cannot end without a status.
struct Completed {
    body: Option<Body>,
    judge: Judge,
    /// Nobody asks this judge how long anything took.
    at: Instant,
    service: Arc<str>,
}

/// `service` is our own: named in the details of a status that is made here.
pub fn layer<S>(service: &Arc<str>) -> impl Layer<S, Service = Reply<S>> + Clone {
    let service = service.clone();
    layer_fn(move |inner| Reply {
        service: service.clone(),
        inner: Rc::new(inner),
    })
}

impl<S: Stage> Stage for Reply<S> {
    async fn call(&self, call: Call) -> Result<Answer, Error> {
        let is_grpc = call.protocol == Protocol::Grpc;
        let received = call.received;
        let reply = match self.inner.call(call).await {
            Ok(reply) => reply,
            Err(error) if is_grpc => return Ok(trailers_only(&error, &self.service)),
            Err(error) => return Ok(http(&error)),
        };
        if !is_grpc {
            return Ok(reply);
        }
        Ok(complete(reply, &self.service, received))
    }
}

/// Makes sure that a gRPC reply has a status.
fn complete(mut reply: Answer, service: &Arc<str>, at: Instant) -> Answer {
    let mut judge = Judge::new(true, contract::Kind::Unknown, at);
    judge.head(reply.status, &reply.headers, at);
    let whole = reply.body.is_end_stream();
    if whole || judge.answered_by_head() {
        let outcome = judge.end(None, at);
        if let Some((code, message)) = made_up(&outcome) {
            let mut answer = empty_answer();
            write(&mut answer.headers, code, &message, outcome.reason, service);
            return answer;
        }
        if whole {
            return reply;
        }
    }
    // What breaks off ends with trailers of ours, and is shorter than was said: the caller's library would call that malformed.
    reply.headers.remove(CONTENT_LENGTH);
    reply.body = Box::pin(Completed {
        body: Some(reply.body),
        judge,
        at,
        service: service.clone(),
    });
    reply
}

/// Status and message where the peer's answer has none that a gRPC client understands.
fn made_up(outcome: &Outcome) -> Option<(tonic::Code, String)> {
    match (outcome.by, outcome.reason, outcome.http_status) {
        (By::Peer, Some(Kind::MissingTrailers), _) => Some((
            outcome.code,
            "the peer's answer ended without grpc-status".to_owned(),
        )),
        (By::Peer, Some(Kind::Protocol), _) => Some((
            outcome.code,
            "the peer's grpc-status is not a number".to_owned(),
        )),
        (By::Peer, None, Some(http)) => Some((
            outcome.code,
            format!("the peer answered HTTP {http} without grpc-status"),
        )),
        _ => None,
    }
}

fn empty_answer() -> Answer {
    let headers =
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))]);
    Answer {
        status: StatusCode::OK,
        headers,
        body: observe::empty(),
    }
}

fn trailers_only(error: &Error, service: &Arc<str>) -> Answer {
    let mut answer = empty_answer();
    write_error(&mut answer.headers, error, service);
    answer
}

fn write_error(headers: &mut HeaderMap, error: &Error, service: &Arc<str>) {
    let metadata = HashMap::from([("service".to_owned(), service.to_string())]);
    status::write(
        headers,
        error.code(),
        &error.detail,
        error.kind,
        metadata,
        error.pushback,
    );
    headers.insert(REASON, HeaderValue::from_static(error.kind.flag()));
    let pushback = error
        .pushback
        .or((error.kind == Kind::Cut).then_some(std::time::Duration::ZERO));
    if let Some(after) = pushback {
        headers.insert(
            PUSHBACK,
            HeaderValue::from(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        );
    }
}

fn write(
    headers: &mut HeaderMap,
    code: tonic::Code,
    message: &str,
    reason: Option<Kind>,
    service: &Arc<str>,
) {
    match reason {
        Some(kind) => {
            let metadata = HashMap::from([("service".to_owned(), service.to_string())]);
            status::write(headers, code, message, kind, metadata, None);
            headers.insert(REASON, HeaderValue::from_static(kind.flag()));
        }
        None => {
            headers.insert(status::STATUS, HeaderValue::from(code as i32));
            headers.insert(status::MESSAGE, status::encode_message(message));
        }
    }
}

fn http(error: &Error) -> Answer {
    let mut headers = HeaderMap::from_iter([(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    )]);
    headers.insert(REASON, HeaderValue::from_static(error.kind.flag()));
    if let Some(after) = error.pushback {
        headers.insert(
            RETRY_AFTER,
            HeaderValue::from(after.as_secs() + u64::from(after.subsec_nanos() > 0)),
        );
    }
    let text = Data::uncredited(Bytes::from(format!("{}\n", error.detail)));
    let body = http_body_util::Full::new(text).map_err(|never| match never {});
    Answer {
        status: error.kind.http(),
        headers,
        body: Box::pin(body),
    }
}

// === impl Completed ===

impl Completed {
    fn trailers(&mut self, headers: HeaderMap) -> Poll<Option<Result<Frame<Data>, Error>>> {
        self.body = None;
        Poll::Ready(Some(Ok(Frame::trailers(headers))))
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let outcome = self.judge.end(trailers.as_ref(), self.at);
        let Some((code, message)) = made_up(&outcome) else {
            self.body = None;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        };
        let mut headers = trailers.unwrap_or_default();
        headers.remove(status::STATUS);
        write(
            &mut headers,
            code,
            &message,
            outcome.reason,
            &self.service.clone(),
        );
        self.trailers(headers)
    }
}

impl http_body::Body for Completed {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = &mut *self;
        let Some(body) = this.body.as_mut() else {
            return Poll::Ready(None);
        };
        match std::task::ready!(body.as_mut().poll_frame(cx)) {
            None => this.finish(None),
            // The peer's reset goes on as it is: headers are out, and a status would say something the peer did not.
            Some(Err(error)) if error.reset.is_some() => {
                this.body = None;
                Poll::Ready(Some(Err(error)))
            }
            Some(Err(error)) => {
                let mut headers = HeaderMap::new();
                write_error(&mut headers, &error, &this.service);
                this.trailers(headers)
            }
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(trailers) => this.finish(Some(trailers)),
                Err(frame) => {
                    if let Some(data) = frame.data_ref() {
                        this.judge.data(&data.bytes, || this.at);
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        // While there is a body its trailers are still to come, made here if need be.
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, |body| body.size_hint())
    }
}

impl Linked for Completed {
    fn link(self: Pin<&mut Self>, link: &Rc<Link>) -> bool {
        let this = self.get_mut();
        let Some(body) = this.body.as_mut() else {
            return false;
        };
        let is_linked = this.judge.is_under_way() && body.as_mut().link(link);
        if is_linked {
            this.judge.linked(link);
        }
        is_linked
    }
}

#[cfg(test)]
mod tests;
