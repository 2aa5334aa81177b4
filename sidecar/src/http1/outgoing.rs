//! A body on its way into a connection. Credit goes back to where a piece came from once the socket has its bytes; a piece is asked
//! for only while little waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::encode::Encoder;
use super::framing::Framing;
use super::wire::Wire;
use crate::error::{Error, Kind};
use crate::http2::{Alarm, Credit};
use crate::stack::{Body, Data};

/// With so much waiting no further piece is asked for.
const HELD: usize = 32 << 10;

/// One direction of a call on its way out.
pub(super) struct Outgoing {
    body: Option<Body>,
    encoder: Encoder,
    /// The recipient understands trailers.
    has_trailers: bool,
    credits: VecDeque<(u64, Credit)>,
    patience: Duration,
    /// How much the socket had taken, and when it last took some.
    progress: (u64, Instant),
    alarm: Alarm,
}

/// Why a direction ended before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The body failed, is not as long as it was said to be, or nothing moved for too long.
    Source(Error),
    /// The connection takes no more.
    Sink(io::Error),
}

// === impl Outgoing ===

impl Outgoing {
    pub(super) fn new(
        body: Option<Body>,
        framing: Framing,
        has_trailers: bool,
        patience: Duration,
    ) -> Self {
        Self {
            body,
            encoder: Encoder::new(framing),
            has_trailers,
            credits: VecDeque::new(),
            patience,
            progress: (0, Instant::now()),
            alarm: Alarm::default(),
        }
    }

    /// Moves what can move; ready once the socket has everything.
    pub(super) fn poll<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &RefCell<Wire<IO>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stop>> {
        if wire.borrow().out.is_empty() {
            self.progress.1 = Instant::now();
        }
        loop {
            let source = self.fill(wire, cx)?;
            let flushed = wire.borrow_mut().poll_flush(cx).map_err(Stop::Sink)?;
            let written = wire.borrow().written();
            while self.credits.front().is_some_and(|(at, _)| *at <= written) {
                self.credits.pop_front();
            }
            if flushed.is_pending() {
                return self.poll_stalled(written, cx);
            }
            self.progress.1 = Instant::now();
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            if source.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Pending when the body has nothing; ready when it ended or enough waits.
    fn fill<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &RefCell<Wire<IO>>,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, Stop> {
        while let Some(body) = &mut self.body {
            if wire.borrow().out.len() >= HELD {
                break;
            }
            match body.as_mut().poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Some(Err(err))) => return Err(Stop::Source(err)),
                Poll::Ready(Some(Ok(frame))) => {
                    let is_end = body.is_end_stream();
                    self.take(frame, is_end, &mut wire.borrow_mut())?;
                }
                Poll::Ready(None) => self.end(&HeaderMap::new(), &mut wire.borrow_mut())?,
            }
        }
        Ok(Poll::Ready(()))
    }

    fn take<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        frame: Frame<Data>,
        is_end: bool,
        wire: &mut Wire<IO>,
    ) -> Result<(), Stop> {
        match frame.into_data() {
            Ok(Data { bytes, credit }) => {
                self.encoder
                    .data(&bytes, &mut wire.out)
                    .map_err(|_| wrong_length())?;
                self.credits.push_back((wire.queued(), credit));
            }
            Err(frame) => {
                let mut trailers = frame.into_trailers().unwrap_or_default();
                super::decode::strip_trailers(&mut trailers);
                return self.end(&trailers, wire);
            }
        }
        match is_end {
            true => self.end(&HeaderMap::new(), wire),
            false => Ok(()),
        }
    }

    fn end<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        trailers: &HeaderMap,
        wire: &mut Wire<IO>,
    ) -> Result<(), Stop> {
        self.body = None;
        let none = HeaderMap::new();
        let trailers = if self.has_trailers { trailers } else { &none };
        self.encoder
            .end(trailers, &mut wire.out)
            .map_err(|_| wrong_length())
    }

    fn poll_stalled(&mut self, written: u64, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        if self.progress.0 != written {
            self.progress = (written, Instant::now());
        }
        let until = self.progress.1 + self.patience;
        self.alarm.poll(until, cx).map(|()| {
            let patience = humantime::format_duration(self.patience);
            let detail = format!("the receiver took no byte for {patience}");
            Err(Stop::Source(Error::new(Kind::Stalled, detail)))
        })
    }
}

fn wrong_length() -> Stop {
    Stop::Source(Error::new(
        Kind::Protocol,
        "the body is not as long as its content-length said",
    ))
}
