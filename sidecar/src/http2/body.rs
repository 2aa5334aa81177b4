//! What a stream brings: DATA with its credit, then trailers. What an error on it means is the caller's to say.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};

use super::Credit;
use crate::error::Error;
use crate::stack::Data;

/// The receiving half of a stream, errors translated by `F`.
pub(super) struct Incoming<F> {
    stream: RecvStream,
    phase: Phase,
    translate: F,
}

enum Phase {
    Data,
    Trailers,
    Done,
}

// === impl Incoming ===

impl<F: Fn(&h2::Error) -> Error> Incoming<F> {
    pub(super) fn new(stream: RecvStream, translate: F) -> Self {
        let phase = if stream.is_end_stream() {
            Phase::Done
        } else {
            Phase::Data
        };
        Self {
            stream,
            phase,
            translate,
        }
    }

    fn data(&mut self, bytes: Bytes) -> Frame<Data> {
        let credit = Credit::new(self.stream.flow_control().clone(), bytes.len());
        Frame::data(Data { bytes, credit })
    }

    fn fail(&mut self, err: &h2::Error) -> Poll<Option<Result<Frame<Data>, Error>>> {
        self.phase = Phase::Done;
        Poll::Ready(Some(Err((self.translate)(err))))
    }
}

impl<F: Fn(&h2::Error) -> Error + Unpin> Body for Incoming<F> {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        loop {
            match self.phase {
                Phase::Data => match ready!(self.stream.poll_data(cx)) {
                    Some(Ok(bytes)) if bytes.is_empty() => {}
                    Some(Ok(bytes)) => return Poll::Ready(Some(Ok(self.data(bytes)))),
                    Some(Err(err)) => return self.fail(&err),
                    None => self.phase = Phase::Trailers,
                },
                Phase::Trailers => match ready!(self.stream.poll_trailers(cx)) {
                    Ok(trailers) => {
                        self.phase = Phase::Done;
                        return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                    }
                    Err(err) => return self.fail(&err),
                },
                Phase::Done => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.phase, Phase::Done) || self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            SizeHint::with_exact(0)
        } else {
            SizeHint::default()
        }
    }
}
