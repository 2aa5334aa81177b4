//! The request's body, kept while the call may still be repeated.
//!
//! Every attempt reads through its own replay: first what is kept, then the live body. Passing the bound drops the whole buffer at once;
//! the call goes on and can no longer be repeated. Kept bytes hold no flow-control credit, so the sender is not slowed down by them.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use crate::error::{Error, Kind};
use crate::http2::Link;
use crate::stack::{Body, Data, Linked};

/// What all calls of the process may keep together.
const PROCESS_LIMIT: usize = 16 << 20;

/// Smaller pieces are copied: a piece by reference pins the whole read buffer it came from.
const COPY_BELOW: usize = 4 << 10;

/// Bytes kept by all calls of the process.
#[derive(Debug, Default)]
pub struct Account(AtomicUsize);

/// A request body that several attempts can read.
#[derive(Clone)]
pub struct Source(Rc<RefCell<Kept>>);

struct Kept {
    live: Body,
    pieces: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// Pieces taken from the live body.
    taken: usize,
    size: usize,
    keeping: bool,
    limit: usize,
    account: Arc<Account>,
}

struct Replay {
    source: Source,
    next: usize,
    trailers_sent: bool,
}

// === impl Account ===

impl Account {
    pub fn used(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, size: usize) -> bool {
        let before = self.0.fetch_add(size, Ordering::Relaxed);
        if before + size <= PROCESS_LIMIT {
            return true;
        }
        self.0.fetch_sub(size, Ordering::Relaxed);
        false
    }

    fn subtract(&self, size: usize) {
        self.0.fetch_sub(size, Ordering::Relaxed);
    }
}

// === impl Source ===

impl Source {
    pub fn new(live: Body, limit: usize, account: &Arc<Account>) -> Self {
        let ended = live.is_end_stream();
        Self(Rc::new(RefCell::new(Kept {
            live,
            pieces: Vec::new(),
            trailers: None,
            ended,
            taken: 0,
            size: 0,
            keeping: true,
            limit,
            account: account.clone(),
        })))
    }

    /// The body from its beginning.
    pub fn replay(&self) -> Body {
        Box::pin(Replay {
            source: self.clone(),
            next: 0,
            trailers_sent: false,
        })
    }

    /// Whether an attempt would see the whole request so far.
    pub fn is_replayable(&self) -> bool {
        let kept = self.0.borrow();
        kept.keeping || kept.taken == 0
    }

    /// No further attempt will come: frees what was kept.
    pub fn commit(&self) {
        self.0.borrow_mut().stop();
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("size", &self.0.borrow().size)
            .finish_non_exhaustive()
    }
}

// === impl Kept ===

impl Kept {
    fn keep(&mut self, bytes: &Bytes) {
        self.taken += 1;
        if !self.keeping {
            return;
        }
        if self.size + bytes.len() > self.limit || !self.account.add(bytes.len()) {
            self.stop();
            return;
        }
        self.size += bytes.len();
        self.pieces.push(if bytes.len() < COPY_BELOW {
            Bytes::copy_from_slice(bytes)
        } else {
            bytes.clone()
        });
    }

    fn stop(&mut self) {
        self.keeping = false;
        self.pieces = Vec::new();
        self.account.subtract(self.size);
        self.size = 0;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.account.subtract(self.size);
    }
}

// === impl Replay ===

impl http_body::Body for Replay {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = &mut *self;
        let mut kept = this.source.0.borrow_mut();
        if this.next < kept.taken {
            let Some(piece) = kept.pieces.get(this.next).cloned() else {
                return Poll::Ready(Some(Err(Error::new(
                    Kind::Internal,
                    "a request that is no longer kept was repeated",
                ))));
            };
            this.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(Data::uncredited(piece)))));
        }
        if kept.ended {
            let trailers = if this.trailers_sent {
                None
            } else {
                kept.trailers.clone()
            };
            this.trailers_sent = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        match std::task::ready!(kept.live.as_mut().poll_frame(cx)) {
            None => {
                kept.ended = true;
                Poll::Ready(None)
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    kept.keep(&data.bytes);
                    this.next = kept.taken;
                } else if let Some(trailers) = frame.trailers_ref() {
                    kept.trailers = Some(trailers.clone());
                    kept.ended = true;
                    this.trailers_sent = true;
                }
                kept.ended |= kept.live.is_end_stream();
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let kept = self.source.0.borrow();
        self.next >= kept.taken
            && (kept.ended || kept.live.is_end_stream())
            && (self.trailers_sent || kept.trailers.is_none())
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.source.0.borrow();
        if self.next == kept.taken {
            kept.live.size_hint()
        } else {
            SizeHint::default()
        }
    }
}

impl Linked for Replay {
    fn link(self: Pin<&mut Self>, link: &Rc<Link>) -> bool {
        let kept = &mut *self.source.0.borrow_mut();
        // What is kept has to be seen.
        !kept.keeping && self.next >= kept.taken && !kept.ended && kept.live.as_mut().link(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};

    fn body(pieces: &[usize], trailers: bool) -> Body {
        let mut frames: Vec<Result<Frame<Data>, Error>> = pieces
            .iter()
            .map(|size| Ok(Frame::data(Data::uncredited(Bytes::from(vec![7; *size])))))
            .collect();
        if trailers {
            frames.push(Ok(Frame::trailers(HeaderMap::new())));
        }
        Box::pin(StreamBody::new(futures::stream::iter(frames)))
    }

    async fn read(mut body: Body) -> (usize, bool) {
        let (mut size, mut trailers) = (0, false);
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(data) => size += data.bytes.len(),
                Err(_) => trailers = true,
            }
        }
        (size, trailers)
    }

    #[tokio::test]
    async fn a_small_request_can_be_read_again_and_again() {
        let account = Arc::new(Account::default());
        let source = Source::new(body(&[10, 5_000, 3], true), 64 << 10, &account);
        for _ in 0..3 {
            assert_eq!(read(source.replay()).await, (5_013, true));
            assert!(source.is_replayable());
        }
        assert_eq!(account.used(), 5_013);
        source.commit();
        assert_eq!(account.used(), 0);
    }

    #[tokio::test]
    async fn a_repeat_follows_the_live_body_after_what_was_kept() {
        let source = Source::new(body(&[10, 20, 30], false), 64 << 10, &Arc::default());
        let mut first = source.replay();
        first.frame().await.unwrap().unwrap();
        drop(first);
        assert_eq!(read(source.replay()).await, (60, false));
    }

    #[tokio::test]
    async fn one_byte_too_many_drops_the_buffer_and_the_call_goes_on() {
        for (sizes, replayable) in [([64 << 10, 0], true), ([64 << 10, 1], false)] {
            let account = Arc::new(Account::default());
            let source = Source::new(body(&sizes, false), 64 << 10, &account);
            assert_eq!(read(source.replay()).await.0, sizes[0] + sizes[1]);
            assert_eq!(source.is_replayable(), replayable, "{sizes:?}");
            drop(source);
            assert_eq!(account.used(), 0);
        }
    }

    #[tokio::test]
    async fn the_process_has_a_bound_of_its_own() {
        let account = Arc::new(Account::default());
        let first = Source::new(body(&[PROCESS_LIMIT], false), usize::MAX, &account);
        read(first.replay()).await;
        assert!(first.is_replayable());
        let second = Source::new(body(&[1], false), 64 << 10, &account);
        read(second.replay()).await;
        assert!(!second.is_replayable());
        drop(first);
        assert_eq!(account.used(), 0);
    }

    #[tokio::test]
    async fn an_empty_request_is_known_to_be_empty() {
        let source = Source::new(crate::observe::empty(), 64 << 10, &Arc::default());
        assert!(source.replay().is_end_stream());
    }
}
