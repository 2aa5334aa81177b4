//! What a stream brings, as a body: DATA with its credit, then trailers. What an early end of it means is the caller's to say.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};

use super::Credit;
use super::link::Link;
use super::mailbox::{End, Piece};
use super::streams::Handle;
use crate::error::Error;
use crate::stack::{Data, Linked};

/// The receiving half of a stream, ends translated by `F`.
pub(super) struct Incoming<F> {
    stream: Rc<Handle>,
    is_done: bool,
    /// What passes by it is counted there, and so is what comes this way.
    link: Option<Rc<Link>>,
    translate: F,
}

// === impl Incoming ===

impl<F: Fn(&Handle, End) -> Error> Incoming<F> {
    pub(super) fn new(stream: Rc<Handle>, translate: F) -> Self {
        Self {
            is_done: stream.mailbox().is_over(),
            stream,
            link: None,
            translate,
        }
    }
}

impl<F: Fn(&Handle, End) -> Error + Unpin> Body for Incoming<F> {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        if self.is_done {
            return Poll::Ready(None);
        }
        let frame = match ready!(self.stream.mailbox().poll_piece(cx)) {
            Some(Ok(Piece::Data(bytes))) => {
                if let Some(link) = &self.link {
                    link.see(&bytes);
                }
                let source = Rc::clone(self.stream.shared());
                let credit = Credit::new(source, self.stream.id(), bytes.len());
                Some(Ok(Frame::data(Data { bytes, credit })))
            }
            Some(Ok(Piece::Trailers(trailers))) => {
                self.is_done = true;
                Some(Ok(Frame::trailers(trailers)))
            }
            Some(Err(end)) => {
                self.is_done = true;
                Some(Err((self.translate)(&self.stream, end)))
            }
            None => {
                self.is_done = true;
                None
            }
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_done || self.stream.mailbox().is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_end_stream() {
            true => SizeHint::with_exact(0),
            false => SizeHint::default(),
        }
    }
}

impl<F: Fn(&Handle, End) -> Error + Unpin> Linked for Incoming<F> {
    fn link(self: Pin<&mut Self>, link: &Rc<Link>) -> bool {
        let this = self.get_mut();
        if this.is_done {
            return false;
        }
        this.stream.mailbox().link(Rc::clone(link));
        this.link = Some(Rc::clone(link));
        true
    }
}

impl<F> Drop for Incoming<F> {
    fn drop(&mut self) {
        if !self.is_done {
            self.stream.discard();
        }
    }
}
