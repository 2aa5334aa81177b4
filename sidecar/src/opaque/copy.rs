//! Both directions of one connection: what one side sends the other gets, its end of sending too.
//!
//! A direction holds at most 64 KiB that the other side does not take, and reads nothing more until it does. While nothing waits it holds
//! no memory: what is read goes onwards from a buffer of the thread. Bytes that wait without moving for the time given end the connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::error::Kind;
use crate::http2::Alarm;
use crate::memory::Account;

/// What is read at once, and what may wait in one direction.
const MOST: usize = 64 << 10;
/// Reads of one direction before others get their turn.
const TURN: usize = 8;

thread_local! {
    static PASSING: RefCell<Box<[u8]>> = RefCell::new(vec![0; MOST].into_boxed_slice());
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Way {
    waiting: BytesMut,
    phase: Phase,
    /// What was written is not known to be with the socket.
    is_unflushed: bool,
    /// Since when something waits without moving.
    stuck: Option<Instant>,
    tally: Tally,
}

/// Bytes that moved, and bytes that wait.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) moved: u64,
    counter: Counter,
    buffered: Arc<Account>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    /// Nothing more will come; the receiver is told once it has all of it.
    Ending,
    Over,
}

/// Carries until both sides have ended, which is `Ok`. `near` is the side that opened the connection: broken it is `cancelled`, the far
/// one `connection_lost`. A side that takes no more is no failure of the whole: what it still sends is carried.
pub(super) async fn copy<N, F>(
    near: &mut N,
    far: &mut F,
    ways: &mut [Way; 2],
    patience: Duration,
) -> Result<(), Kind>
where
    N: AsyncRead + AsyncWrite + Unpin,
    F: AsyncRead + AsyncWrite + Unpin,
{
    let mut alarm = Alarm::default();
    let [up, down] = ways;
    poll_fn(|cx| {
        let sent = up.poll(cx, near, far).map_err(|_| Kind::Cancelled)?;
        let received = down.poll(cx, far, near).map_err(|_| Kind::ConnectionLost)?;
        if sent.is_ready() && received.is_ready() {
            return Poll::Ready(Ok(()));
        }
        let Some(since) = [up.stuck, down.stuck].into_iter().flatten().min() else {
            return Poll::Pending;
        };
        ready!(alarm.poll(since + patience, cx));
        Poll::Ready(Err(Kind::Stalled))
    })
    .await
}

// === impl Way ===

impl Way {
    pub(super) fn new(counter: Counter, buffered: Arc<Account>) -> Self {
        Self {
            waiting: BytesMut::new(),
            phase: Phase::Reading,
            is_unflushed: false,
            stuck: None,
            tally: Tally {
                moved: 0,
                counter,
                buffered,
            },
        }
    }

    pub(super) fn moved(&self) -> u64 {
        self.tally.moved
    }

    /// Whether something waits for the receiver.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    /// Ready when this direction has ended; an error is the sender's.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..TURN {
            if self.poll_waiting(cx, to).is_pending() {
                return Poll::Pending;
            }
            match self.phase {
                Phase::Over => return Poll::Ready(Ok(())),
                Phase::Ending => {
                    let ended = Pin::new(&mut *to).poll_shutdown(cx);
                    if self.note(ended).is_pending() {
                        return Poll::Pending;
                    }
                    self.phase = Phase::Over;
                }
                Phase::Reading => match self.poll_pass(cx, from, to) {
                    Poll::Ready(passed) => passed?,
                    Poll::Pending => {
                        if self.is_unflushed {
                            let flushed = Pin::new(&mut *to).poll_flush(cx);
                            if let Poll::Ready(flushed) = self.note(flushed) {
                                self.is_unflushed = false;
                                self.give_up_if(flushed.is_err());
                            }
                        }
                        // Given up, it has ended.
                        return match self.phase {
                            Phase::Over => Poll::Ready(Ok(())),
                            Phase::Reading | Phase::Ending => Poll::Pending,
                        };
                    }
                },
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, and writes as much of it as is taken at once.
    fn poll_pass<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        PASSING.with_borrow_mut(|passing| {
            let mut read = ReadBuf::new(passing);
            ready!(Pin::new(from).poll_read(cx, &mut read))?;
            let mut rest = read.filled();
            if rest.is_empty() {
                self.phase = Phase::Ending;
                return Poll::Ready(Ok(()));
            }
            while !rest.is_empty() {
                let written = Pin::new(&mut *to).poll_write(cx, rest);
                match self.note(written) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        self.wrote(count);
                        rest = rest.get(count..).unwrap_or_default();
                    }
                    Poll::Ready(_) => {
                        self.give_up_if(true);
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Pending => break,
                }
            }
            self.keep(rest);
            Poll::Ready(Ok(()))
        })
    }

    /// Ready when nothing waits any more.
    fn poll_waiting<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
    ) -> Poll<()> {
        while !self.waiting.is_empty() {
            let written = Pin::new(&mut *to).poll_write(cx, &self.waiting);
            match ready!(self.note(written)) {
                Ok(count) if count > 0 => {
                    self.wrote(count);
                    self.drop_first(count);
                }
                Ok(_) | Err(_) => self.give_up_if(true),
            }
        }
        Poll::Ready(())
    }

    /// Pending is the beginning of a wait, anything else its end.
    fn note<T>(&mut self, polled: Poll<T>) -> Poll<T> {
        match polled {
            Poll::Pending => {
                self.stuck.get_or_insert_with(Instant::now);
            }
            Poll::Ready(_) => self.stuck = None,
        }
        polled
    }

    fn wrote(&mut self, count: usize) {
        let count = count as u64;
        self.is_unflushed = true;
        self.tally.moved = self.tally.moved.saturating_add(count);
        self.tally.counter.inc_by(count);
    }

    /// The receiver takes no more.
    fn give_up_if(&mut self, is_gone: bool) {
        if is_gone {
            self.phase = Phase::Over;
            self.stuck = None;
            self.drop_first(self.waiting.len());
        }
    }

    fn keep(&mut self, rest: &[u8]) {
        let before = self.held();
        self.waiting.extend_from_slice(rest);
        self.tally.buffered.move_by(before, self.held());
    }

    fn drop_first(&mut self, count: usize) {
        let before = self.held();
        self.waiting.advance(count.min(self.waiting.len()));
        self.tally.buffered.move_by(before, self.held());
        if self.waiting.is_empty() {
            self.waiting = BytesMut::new();
        }
    }

    fn held(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.drop_first(self.waiting.len());
    }
}

#[cfg(test)]
mod tests;
