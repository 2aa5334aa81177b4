//! From a body into a stream, under the stream's window.
//!
//! The body is read as soon as it has something; its credit goes back once the bytes are handed on. Nothing waits in order to be merged:
//! small pieces come together only while the sink is behind. END_STREAM rides on the last piece where there are no trailers.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::{Reason, SendStream};
use http::HeaderMap;
use http_body::Frame;
use tokio::time::Sleep;

use super::Credit;
use crate::error::{Error, Kind};
use crate::stack::{Body, Data};

/// Payload of one DATA frame.
const FRAME: usize = 16 << 10;
/// What is held for a sink that is behind; a sender has no more credit than its stream window, which is the same.
const HELD: usize = 64 << 10;
/// Payloads below this are copied when they wait: h2 hands out slices that keep a whole read buffer alive.
const COPIED: usize = 4 << 10;

/// One direction of a call on its way out.
pub(super) struct Outgoing {
    body: Option<Body>,
    sink: SendStream<Bytes>,
    queue: VecDeque<Piece>,
    held: usize,
    trailers: Option<HeaderMap>,
    /// END_STREAM was sent.
    ended: bool,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
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
    credit: Credit,
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
    pub(super) fn new(body: Body, sink: SendStream<Bytes>, patience: Duration) -> Self {
        Self {
            body: Some(body),
            sink,
            queue: VecDeque::new(),
            held: 0,
            trailers: None,
            ended: false,
            patience,
            stalled: None,
        }
    }

    /// Moves what can move. Ready once everything, END_STREAM included, is handed over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        loop {
            let source = self.fill(cx)?;
            ready!(self.drain(cx))?;
            if self.body.is_none() {
                self.finish()?;
                return Poll::Ready(Ok(()));
            }
            // The queue is empty: more comes only from the body, which has registered the task unless it was left off for space.
            if source.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Ready when the other side reset the stream or its connection ended.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sink.poll_reset(cx).map(|_| ())
    }

    pub(super) fn reset(&mut self, code: u32) {
        self.sink.send_reset(Reason::from(code));
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
                match self.queue.back_mut() {
                    Some(last)
                        if last.bytes.len() + data.bytes.len() <= FRAME
                            && data.bytes.len() < COPIED =>
                    {
                        last.merge(data);
                    }
                    _ => self.queue.push_back(Piece {
                        bytes: Chunk::Whole(data.bytes),
                        credit: data.credit,
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
        while let Some(piece) = self.queue.front() {
            let wanted = piece.bytes.len().min(FRAME);
            let Poll::Ready(room) = self.poll_room(wanted, cx)? else {
                return self.poll_stalled(cx);
            };
            self.stalled = None;
            self.send_front(room.min(wanted))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_room(&mut self, wanted: usize, cx: &mut Context<'_>) -> Result<Poll<usize>, Stop> {
        self.sink.reserve_capacity(wanted);
        loop {
            let room = self.sink.capacity();
            if room > 0 {
                return Ok(Poll::Ready(room));
            }
            match self.sink.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Err(Stop::Sink),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let patience = self.patience;
        let timer = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(Stop::Source(Error::new(
            Kind::Stalled,
            format!(
                "the receiver took no byte for {}",
                humantime::format_duration(patience)
            ),
        ))))
    }

    fn send_front(&mut self, count: usize) -> Result<(), Stop> {
        let Some(Piece {
            bytes,
            credit,
            more,
        }) = self.queue.pop_front()
        else {
            return Ok(());
        };
        let (bytes, rest) = bytes.split(count);
        self.held -= bytes.len();
        let last = rest.is_none()
            && self.queue.is_empty()
            && self.body.is_none()
            && self.trailers.is_none();
        self.ended = last;
        let sent = self.sink.send_data(bytes, last).map_err(|_| Stop::Sink);
        if let Some(rest) = rest {
            self.queue.push_front(Piece {
                bytes: Chunk::Whole(rest),
                credit,
                more,
            });
        }
        sent
    }

    fn finish(&mut self) -> Result<(), Stop> {
        if self.ended {
            return Ok(());
        }
        self.ended = true;
        match self.trailers.take() {
            Some(trailers) => self.sink.send_trailers(trailers).map_err(|_| Stop::Sink),
            None => self
                .sink
                .send_data(Bytes::new(), true)
                .map_err(|_| Stop::Sink),
        }
    }
}

// === impl Piece, Chunk ===

impl Piece {
    fn merge(&mut self, data: Data) {
        if let Chunk::Whole(first) = &self.bytes {
            let mut merged = BytesMut::with_capacity(FRAME);
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

    /// The first `count` bytes, and what is left if anything is.
    fn split(self, count: usize) -> (Bytes, Option<Bytes>) {
        let mut bytes = match self {
            Self::Whole(bytes) => bytes,
            Self::Merged(bytes) => bytes.freeze(),
        };
        let first = bytes.split_to(count.min(bytes.len()));
        (first, (!bytes.is_empty()).then_some(bytes))
    }
}
