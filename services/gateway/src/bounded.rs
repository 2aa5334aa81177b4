//! A body of gRPC messages none of which is larger than a bound. It reads the five bytes in front of each message and
//! nothing else, and ends the body with an error at the first that is too large.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::Status;

use crate::limit::{Hits, Limit};

const PREFIX: usize = 5;

/// Whether the bound was broken.
#[derive(Debug, Clone)]
pub(crate) struct Excess {
    set: Arc<AtomicBool>,
    hits: Arc<Hits>,
    limit: Limit,
}

impl Excess {
    /// Counted as a hit of this limit once it is set.
    pub(crate) fn of(limit: Limit, hits: &Arc<Hits>) -> Self {
        Self {
            set: Arc::default(),
            hits: Arc::clone(hits),
            limit,
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.set.store(true, Ordering::Relaxed);
        self.hits.count(self.limit);
    }
}

#[derive(Debug)]
pub(crate) struct Bounded<B> {
    inner: B,
    frames: Frames,
    excess: Excess,
}

/// Where in the sequence of messages the bytes stand.
#[derive(Debug)]
struct Frames {
    largest: usize,
    prefix: Vec<u8>,
    /// Bytes of the current message that have not come yet.
    left: usize,
}

impl<B> Bounded<B> {
    pub(crate) fn new(inner: B, largest: usize, excess: Excess) -> Self {
        Self {
            inner,
            frames: Frames {
                largest,
                prefix: Vec::with_capacity(PREFIX),
                left: 0,
            },
            excess,
        }
    }
}

impl Frames {
    /// Whether all messages that these bytes begin are within the bound.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let wanted = (PREFIX - self.prefix.len()).min(bytes.len());
            let (head, rest) = bytes.split_at(wanted);
            self.prefix.extend_from_slice(head);
            bytes = rest;
            if let [_, a, b, c, d] = *self.prefix.as_slice() {
                self.prefix.clear();
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                if self.left > self.largest {
                    return false;
                }
            }
        }
        true
    }
}

impl<B> http_body::Body for Bounded<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            return Poll::Pending;
        };
        let Some(frame) = frame else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(|error| Status::from_error(error.into()))?;
        let fits = frame.data_ref().is_none_or(|bytes| self.frames.take(bytes));
        if fits {
            return Poll::Ready(Some(Ok(frame)));
        }
        self.excess.set();
        Poll::Ready(Some(Err(Status::resource_exhausted(
            "a message is too large",
        ))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(largest: usize) -> Frames {
        Frames {
            largest,
            prefix: Vec::new(),
            left: 0,
        }
    }

    fn message(length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0, length];
        bytes.extend(vec![7; length.into()]);
        bytes
    }

    #[test]
    fn the_bound_holds_however_the_bytes_are_cut() {
        let bytes: Vec<u8> = [message(0), message(3), message(4), message(5)].concat();
        for size in 1..bytes.len() {
            for (largest, expected) in [(5, true), (4, false)] {
                let mut frames = frames(largest);
                let all = bytes.chunks(size).all(|chunk| frames.take(chunk));
                assert_eq!(all, expected, "pieces of {size}, at most {largest}");
            }
        }
    }
}
