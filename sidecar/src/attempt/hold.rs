//! How long a response is held back before the call is committed to it: as long as its kind allows, so that an early failure can still
//! be repeated.
//!
//! Unary: until the first message or the trailers. Server streaming: the same, at most 100 ms. Others are not held: their callers wait
//! for headers, and a silent stream would look like a hang.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::contract::Kind as MethodKind;
use crate::error::Error;
use crate::http2::Link;
use crate::outcome::Outcome;
use crate::outcome::judge::Judge;
use crate::stack::{Body, Data, Linked, Reply};

/// The longest a server-streaming response's headers are held.
const STREAM_HOLD: Duration = Duration::from_millis(100);

/// What an attempt came to while its response was held.
#[derive(Debug)]
pub enum Held {
    /// A response is under way: the call is committed to it.
    Open(Reply),
    /// The attempt is over, and nothing of it was released yet.
    Over(Outcome, Result<Reply, Error>),
}

/// A body with one frame put back in front.
struct Peeked {
    first: Option<Frame<Data>>,
    rest: Body,
}

/// Waits as long as the kind allows.
pub async fn judge(result: Result<Reply, Error>, mut judge: Judge, kind: MethodKind) -> Held {
    let mut reply = match result {
        Ok(reply) => reply,
        Err(error) => return Held::Over(judge.failed(&error, Instant::now()), Err(error)),
    };
    judge.head(reply.status, &reply.headers, Instant::now());
    if !judge.is_grpc() || judge.answered_by_head() || reply.body.is_end_stream() {
        return Held::Over(judge.end(None, Instant::now()), Ok(reply));
    }
    let until = match kind {
        MethodKind::Unary => None,
        MethodKind::ServerStreaming => Some(Instant::now() + STREAM_HOLD),
        MethodKind::ClientStreaming | MethodKind::Bidirectional | MethodKind::Unknown => {
            return Held::Open(reply);
        }
    };
    let first = match until {
        None => first(&mut reply.body).await,
        Some(until) => match timeout_at(until, first(&mut reply.body)).await {
            Ok(first) => first,
            Err(_) => return Held::Open(reply),
        },
    };
    match first {
        None => Held::Over(judge.end(None, Instant::now()), Ok(reply)),
        Some(Err(error)) => Held::Over(judge.failed(&error, Instant::now()), Err(error)),
        Some(Ok(frame)) => {
            let over = frame
                .trailers_ref()
                .map(|trailers| judge.end(Some(trailers), Instant::now()));
            let body = std::mem::replace(&mut reply.body, crate::observe::empty());
            reply.body = Box::pin(Peeked {
                first: Some(frame),
                rest: body,
            });
            match over {
                Some(outcome) => Held::Over(outcome, Ok(reply)),
                None => Held::Open(reply),
            }
        }
    }
}

/// The first frame that says something.
async fn first(body: &mut Body) -> Option<Result<Frame<Data>, Error>> {
    loop {
        match body.frame().await {
            Some(Ok(frame)) if frame.data_ref().is_some_and(|data| data.bytes.is_empty()) => {}
            other => return other,
        }
    }
}

// === impl Peeked ===

impl http_body::Body for Peeked {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.rest.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.first.is_some() {
            SizeHint::default()
        } else {
            self.rest.size_hint()
        }
    }
}

impl Linked for Peeked {
    fn link(self: Pin<&mut Self>, link: &Rc<Link>) -> bool {
        let this = self.get_mut();
        this.first.is_none() && this.rest.as_mut().link(link)
    }
}
