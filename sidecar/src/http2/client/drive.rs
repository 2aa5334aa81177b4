//! What owns the socket of a connection we made: it ends when the connection did.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{Client, Setup};
use crate::http2::driver::{self, Alarm, Over};
use crate::http2::frame::Code;
use crate::http2::meter::Limit;
use crate::http2::streams::Shared;

/// Drives the connection; owned by a task. Ends when the connection did.
pub(crate) struct Driver<IO> {
    inner: driver::Driver<IO>,
    client: Rc<Client>,
    liveness: Option<Liveness>,
    drains_at: Option<u32>,
    unfinished: Unfinished,
    /// When the next abandoned stream is reset.
    abandoned: Alarm,
    /// How it ended, while it closes.
    result: Option<io::Result<()>>,
}

/// Pings while calls are open or not, and the patience for their answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PingTimes {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// What the peer has begun and must end in time: its SETTINGS, then each block of fields.
struct Unfinished {
    preface: Duration,
    header_block: Duration,
    what: Option<Limit>,
    since: Instant,
    alarm: Alarm,
}

struct Liveness {
    times: PingTimes,
    alarm: Alarm,
    /// When the next ping goes out, or its answer has to be there.
    due: Instant,
    is_asked: bool,
}

// === impl Driver ===

impl<IO> Driver<IO> {
    pub(super) fn new(
        inner: driver::Driver<IO>,
        client: &Rc<Client>,
        setup: &Setup,
        now: Instant,
    ) -> Self {
        Self {
            inner,
            client: Rc::clone(client),
            liveness: setup.ping.map(|times| Liveness {
                times,
                alarm: Alarm::default(),
                due: now + times.interval,
                is_asked: false,
            }),
            drains_at: setup.limits.drains_at(),
            unfinished: Unfinished {
                preface: setup.preface,
                header_block: setup.header_block,
                what: None,
                since: now,
                alarm: Alarm::default(),
            },
            abandoned: Alarm::default(),
            result: None,
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    /// Ready with `Ok` when the connection closed in order, with the cause when it did not.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.result.is_none() {
            let over = ready!(self.poll_open(cx));
            self.result = Some(self.client.over(&over));
            self.inner.begin_close(&over);
            self.client.count_met();
        }
        ready!(self.inner.poll_close(cx));
        Poll::Ready(self.result.take().unwrap_or(Ok(())))
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        if let Poll::Ready(over) = self.inner.poll_read(usize::MAX, cx) {
            return Poll::Ready(over);
        }
        self.client.observe(self.drains_at);
        if let Some(liveness) = &mut self.liveness
            && let Poll::Ready(over) = liveness.poll(&self.client.shared, cx)
        {
            return Poll::Ready(over);
        }
        self.reset_abandoned(cx);
        if let Poll::Ready(limit) = self.unfinished.poll(&self.client.shared, cx) {
            return Poll::Ready(Over::Late(limit));
        }
        if self.client.is_done() {
            self.client
                .shared
                .act(|connection| connection.go_away(Code::NO_ERROR, ""));
            return Poll::Ready(Over::Closed);
        }
        if let Poll::Ready(over) = self.inner.poll_write(cx) {
            return Poll::Ready(over);
        }
        if self.client.takes_heads() {
            self.client.drained.notify_one();
        }
        self.client.shared.end_turn();
        Poll::Pending
    }

    fn reset_abandoned(&mut self, cx: &mut Context<'_>) {
        let reset = || self.client.shared.reset_abandoned(Instant::now());
        while let Some(due) = reset() {
            if self.abandoned.poll(due, cx).is_pending() {
                return;
            }
            self.abandoned.clear();
        }
    }

    /// Whether the peer has sent anything: it accepted our certificate and speaks HTTP/2.
    pub(crate) fn heard(&self) -> bool {
        self.inner.has_read()
    }
}

impl<IO> Drop for Driver<IO> {
    fn drop(&mut self) {
        self.client.close();
    }
}

// === impl Unfinished ===

impl Unfinished {
    /// Ready when it took too long.
    fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<Limit> {
        let what = shared.with(|connection| match connection.has_settings() {
            false => Some(Limit::Preface),
            true => connection.is_in_block().then_some(Limit::HeaderBlock),
        });
        if what != self.what {
            self.what = what;
            self.since = Instant::now();
        }
        let Some(limit) = what else {
            return Poll::Pending;
        };
        let patience = match limit {
            Limit::Preface => self.preface,
            _ => self.header_block,
        };
        ready!(self.alarm.poll(self.since + patience, cx));
        Poll::Ready(limit)
    }
}

// === impl Liveness ===

impl Liveness {
    fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<Over> {
        if self.is_asked && shared.take_pong().is_some() {
            self.is_asked = false;
            self.due = Instant::now() + self.times.interval;
        }
        while self.alarm.poll(self.due, cx).is_ready() {
            self.alarm.clear();
            if self.is_asked {
                let late = io::Error::new(io::ErrorKind::TimedOut, "the peer answers no pings");
                return Poll::Ready(Over::Io(late));
            }
            shared.act(|connection| connection.ping(*b"liveness"));
            self.is_asked = true;
            self.due = Instant::now() + self.times.timeout;
        }
        Poll::Pending
    }
}
