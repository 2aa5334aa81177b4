//! What a call gets back: a body that ends its stream when it is dropped, and beside it what is left of the request.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use super::Slot;
use crate::error::Error;
use crate::http2::Link;
use crate::http2::body::Incoming;
use crate::http2::forward::{Outgoing, Stop};
use crate::http2::frame::Code;
use crate::http2::mailbox::End;
use crate::http2::streams::Handle;
use crate::stack::{Data, Linked};

/// A reply's body. What is left of the request goes on beside it, and an error of that is the reply's.
pub(super) struct Download<F> {
    pub(super) incoming: Incoming<F>,
    pub(super) upload: Option<Upload>,
    pub(super) slot: Option<Slot>,
}

impl<F: Fn(&Handle, End) -> Error + Unpin> http_body::Body for Download<F> {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = self.get_mut();
        if let Some(upload) = &mut this.upload
            && let Poll::Ready(sent) = upload.poll(cx)
        {
            this.upload = None;
            if let Err(err) = sent {
                return Poll::Ready(Some(Err(err)));
            }
        }
        let polled = Pin::new(&mut this.incoming).poll_frame(cx);
        let is_over = matches!(polled, Poll::Ready(None | Some(Err(_))))
            || (polled.is_ready() && http_body::Body::is_end_stream(&this.incoming));
        if is_over {
            // The answer is complete, so the rest of the request is not wanted.
            this.upload = None;
            this.slot = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.incoming)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.incoming)
    }
}

impl<F: Fn(&Handle, End) -> Error + Unpin> Linked for Download<F> {
    fn link(self: Pin<&mut Self>, link: &Rc<Link>) -> bool {
        Pin::new(&mut self.get_mut().incoming).link(link)
    }
}

/// Sends what can be sent. A sink that takes no more is no error here: the receiving half says how the call ended.
pub(super) fn poll_upload(
    upload: &mut Option<Outgoing>,
    cx: &mut Context<'_>,
) -> Result<(), Error> {
    let Some(outgoing) = upload else {
        return Ok(());
    };
    match outgoing.poll(cx) {
        Poll::Pending => {}
        Poll::Ready(Ok(()) | Err(Stop::Sink)) => *upload = None,
        Poll::Ready(Err(Stop::Source(err))) => {
            outgoing.reset(err.reset.unwrap_or(Code::CANCEL.0));
            *upload = None;
            return Err(err);
        }
    }
    Ok(())
}

/// What is left of a request once its response has begun: a task of its own, so that a caller who reads slowly does not stop what he
/// sends. It ends with the response's body.
pub(super) struct Upload(JoinHandle<Result<(), Error>>);

// === impl Upload ===

impl Upload {
    pub(super) fn spawn(outgoing: Outgoing) -> Self {
        let mut upload = Some(outgoing);
        Self(tokio::task::spawn_local(poll_fn(move |cx| {
            poll_upload(&mut upload, cx)?;
            match upload {
                Some(_) => Poll::Pending,
                None => Poll::Ready(Ok(())),
            }
        })))
    }

    /// Ready once nothing is left; an error is the call's.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // It does not panic, and only its owner aborts it.
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|joined| joined.unwrap_or(Ok(())))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.abort();
    }
}
