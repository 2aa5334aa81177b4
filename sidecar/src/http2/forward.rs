//! From a body into a stream, under the stream's window.
//!
//! The body is read as soon as it has something; its credit goes back once the bytes are handed on. Nothing waits in order to be merged:
//! small pieces come together only while the sink is behind. END_STREAM rides on the last piece where there are no trailers.

use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use smallvec::SmallVec;
use tokio::time::Sleep;

use super::Credit;
use super::frame::Code;
use super::link::Link;
use super::meter::Limit;
use super::streams::Handle;
use crate::error::{Error, Kind};
use crate::stack::{Body, Data};

/// Payload of one DATA frame.
const FRAME: usize = 16 << 10;
/// What is held for a sink that is behind. It is more than a stream's window, so that a source that ends early is noticed also while
/// nothing can be sent.
const HELD: usize = (64 << 10) + 1;
/// Payloads below this are merged when they wait.
const COPIED: usize = 4 << 10;

/// One direction of a call on its way out.
pub(super) struct Outgoing {
    body: Option<Body>,
    sink: Rc<Handle>,
    /// Few, because small ones are merged; mostly one.
    queue: SmallVec<[Piece; 1]>,
    held: usize,
    trailers: Option<HeaderMap>,
    /// END_STREAM was sent.
    ended: bool,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Made once there is something to wait for.
    link: Option<Rc<Link>>,
    is_linked: bool,
}

/// Why a direction ended before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The body failed, or nothing moved for too long.
    Source(Error),
    /// The sink takes no more; its own half says why.
    Sink,
}

struct Piece {
    bytes: Chunk,
    /// Given back on drop.
    _credit: Credit,
    /// Credit of what was merged into it.
    more: Vec<Credit>,
}

enum Chunk {
    Whole(Bytes),
    Merged(BytesMut),
}

// === impl Outgoing ===

impl Outgoing {
    /// Sends `body` into `sink`; gives up when a closed window stays closed for `patience`.
    pub(super) fn new(body: Body, sink: Rc<Handle>, patience: Duration) -> Self {
        Self {
            body: Some(body),
            sink,
            queue: SmallVec::new(),
            held: 0,
            trailers: None,
            ended: false,
            patience,
            stalled: None,
            link: None,
            is_linked: false,
        }
    }

    /// Moves what can move. Ready once everything, END_STREAM included, is handed over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        if let Some(link) = &self.link {
            link.shut();
        }
        loop {
            let source = self.fill(cx)?;
            ready!(self.drain(cx))?;
            if self.body.is_none() {
                self.finish(cx)?;
                return Poll::Ready(Ok(()));
            }
            // The queue is empty: more comes only from the body, which has registered the task unless it was left off for space.
            if source.is_pending() {
                self.open_link();
                return Poll::Pending;
            }
        }
    }

    /// Ready when the other side reset the stream or its connection ended.
    pub(super) fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sink.mailbox().poll_broken(cx).map(|_| ())
    }

    pub(super) fn reset(&mut self, code: u32) {
        self.sink.reset(Code(code));
    }

    /// Everything that came is handed over: what comes next may pass.
    fn open_link(&mut self) {
        let link = self.link.get_or_insert_with(|| Link::new(&self.sink));
        if let Some(body) = &mut self.body
            && !self.is_linked
        {
            self.is_linked = body.as_mut().link(link);
        }
        link.open();
    }

    fn fill(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Stop> {
        while self.held < HELD {
            let Some(body) = &mut self.body else {
                return Ok(Poll::Ready(()));
            };
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let ended = body.is_end_stream();
                    self.take(frame);
                    if ended {
                        self.body = None;
                    }
                }
                Poll::Ready(Some(Err(err))) => return Err(Stop::Source(err)),
                Poll::Ready(None) => self.body = None,
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        Ok(Poll::Ready(()))
    }

    fn take(&mut self, frame: Frame<Data>) {
        match frame.into_data() {
            Ok(data) if data.bytes.is_empty() => {}
            Ok(data) => {
                self.held += data.bytes.len();
                match self.queue.last_mut() {
                    Some(last)
                        if last.bytes.len() + data.bytes.len() <= FRAME
                            && data.bytes.len() < COPIED =>
                    {
                        last.merge(data);
                    }
                    _ => self.queue.push(Piece {
                        bytes: Chunk::Whole(data.bytes),
                        _credit: data.credit,
                        more: Vec::new(),
                    }),
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.trailers = Some(trailers);
                    self.body = None;
                }
            }
        }
    }

    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let is_end = self.body.is_none() && self.trailers.is_none();
        loop {
            let is_alone = self.queue.len() == 1;
            let Some(piece) = self.queue.first_mut() else {
                return Poll::Ready(Ok(()));
            };
            let length = piece.bytes.len();
            let is_last = is_end && is_alone;
            let sent = self.sink.send_data(piece.bytes.as_ref(), is_last, cx);
            let sent = sent.map_err(|_| Stop::Sink)?;
            self.held -= sent;
            if sent > 0 {
                self.stalled = None;
            }
            if sent < length {
                piece.bytes.advance(sent);
                return self.poll_stalled(cx);
            }
            self.queue.remove(0);
            self.ended = is_last;
        }
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let patience = self.patience;
        let timer = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(timer.as_mut().poll(cx));
        self.sink.shared().met(Limit::StreamProgress);
        Poll::Ready(Err(Stop::Source(Error::new(
            Kind::Stalled,
            format!(
                "the receiver took no byte for {}",
                humantime::format_duration(patience)
            ),
        ))))
    }

    fn finish(&mut self, cx: &mut Context<'_>) -> Result<(), Stop> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let sent = match self.trailers.take() {
            Some(trailers) => self.sink.send_trailers(&trailers),
            None => self.sink.send_data(&[], true, cx).map(|_| ()),
        };
        sent.map_err(|_| Stop::Sink)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.shut();
        }
    }
}

// === impl Piece, Chunk ===

impl Piece {
    fn merge(&mut self, data: Data) {
        if let Chunk::Whole(first) = &self.bytes {
            // Not a whole frame's room for two messages that wait: there may be many streams.
            let mut merged = BytesMut::with_capacity(2 * (first.len() + data.bytes.len()));
            merged.extend_from_slice(first);
            self.bytes = Chunk::Merged(merged);
        }
        if let Chunk::Merged(merged) = &mut self.bytes {
            merged.extend_from_slice(&data.bytes);
        }
        self.more.push(data.credit);
    }
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Merged(bytes) => bytes.len(),
        }
    }

    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Merged(bytes) => bytes,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Whole(bytes) => bytes.advance(count),
            Self::Merged(bytes) => bytes.advance(count),
        }
    }
}
