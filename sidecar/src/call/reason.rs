//! An application's word on why the mesh failed is not believed: it leaves heads and trailers.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http_body::{Body as _, Frame, SizeHint};

use crate::error::Error;
use crate::http2::Link;
use crate::outcome::judge::REASON;
use crate::stack::{Body, Data, Linked, Reply};

/// A body whose trailers give no reason.
struct Unreasoned(Body);

pub(super) fn without_reason(mut reply: Reply) -> Reply {
    reply.headers.remove(REASON);
    if !reply.body.is_end_stream() {
        reply.body = Box::pin(Unreasoned(reply.body));
    }
    reply
}

// === impl Unreasoned ===

impl http_body::Body for Unreasoned {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let mut polled = std::task::ready!(self.0.as_mut().poll_frame(cx));
        if let Some(Ok(frame)) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            trailers.remove(REASON);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Linked for Unreasoned {
    fn link(mut self: Pin<&mut Self>, link: &Rc<Link>) -> bool {
        self.0.as_mut().link(link)
    }
}
