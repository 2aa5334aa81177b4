//! What a connection's task and the call on it share: the wire, and how far the request has come. The request's body reads from the
//! wire itself, so a caller is read no faster than its body is wanted.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BufMut as _;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::decode::{self, Decoder, Piece};
use super::refusal::Refusal;
use super::wire::Wire;
use crate::error::{Error, Kind};
use crate::http2::Alarm;
use crate::stack::{Data, Linked};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A body may be waited for so long in all before its pace counts.
const PACE_FROM: Duration = Duration::from_secs(10);
/// Bytes that buy a second of waiting.
const PACE: u64 = 1 << 10;

pub(super) struct Caller<IO> {
    pub(super) wire: RefCell<Wire<IO>>,
    /// The request's body.
    pub(super) body: RefCell<Decoder>,
    /// What was found wrong with it.
    pub(super) refusal: Cell<Option<Refusal>>,
    /// The caller waits for leave to send its body.
    pub(super) expects: Cell<bool>,
    /// The head of the response is written: none may come before it.
    pub(super) is_answered: Cell<bool>,
    pub(super) pace: RefCell<Pace>,
    is_closed: Cell<bool>,
    /// Which request of the connection it is: a body that outlived its own must not read the next one's.
    number: Cell<u64>,
    /// The connection's task, which waits for the end of the body.
    task: RefCell<Option<Waker>>,
    /// Whoever reads the body.
    reader: RefCell<Option<Waker>>,
}

/// A request's body, read from the wire as it is wanted.
pub(super) struct Incoming<IO> {
    caller: Rc<Caller<IO>>,
    number: u64,
    is_over: bool,
}

/// How long a stranger's body may be waited for. Waiting for others does not count.
pub(super) struct Pace {
    is_bound: bool,
    received: u64,
    waited: Duration,
    since: Option<Instant>,
    alarm: Alarm,
}

// === impl Caller ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Caller<IO> {
    pub(super) fn new(io: IO, is_strange: bool) -> Self {
        Self {
            wire: RefCell::new(Wire::new(io)),
            body: RefCell::new(Decoder::none()),
            refusal: Cell::default(),
            expects: Cell::default(),
            is_answered: Cell::default(),
            pace: RefCell::new(Pace::new(is_strange)),
            is_closed: Cell::default(),
            number: Cell::default(),
            task: RefCell::default(),
            reader: RefCell::default(),
        }
    }

    /// A request begins; its body is what is returned.
    pub(super) fn begin(self: &Rc<Self>, body: Decoder, expects: bool) -> Incoming<IO> {
        self.number.set(self.number.get() + 1);
        *self.body.borrow_mut() = body;
        self.expects.set(expects);
        self.is_answered.set(false);
        self.pace.borrow_mut().begin();
        Incoming {
            caller: Rc::clone(self),
            number: self.number.get(),
            is_over: self.is_read(),
        }
    }

    /// Whether the request came to its end. What nobody read of it is dropped, as far as it is here; its body fails.
    pub(super) fn finish(&self) -> bool {
        if !self.is_read() {
            self.number.set(self.number.get() + 1);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        let mut body = self.body.borrow_mut();
        let read = &mut self.wire.borrow_mut().read;
        while let Ok(Some(_)) = body.decode(read) {}
        body.is_done()
    }

    pub(super) fn is_read(&self) -> bool {
        self.body.borrow().is_done()
    }

    /// The connection's task is to be woken when the body is read.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    /// Whoever still reads finds the end.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn wake(&self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Refusal>> {
        let mut wire = self.wire.borrow_mut();
        let mut body = self.body.borrow_mut();
        loop {
            if let Some(piece) = body.decode(&mut wire.read)? {
                return Poll::Ready(Ok(Some(piece)));
            }
            if body.is_done() {
                return Poll::Ready(Ok(None));
            }
            if self.expects.take() && !self.is_answered.get() {
                wire.out.put_slice(CONTINUE);
                // Broken or slow, the connection's own task sees it.
                let _ = wire.poll_flush(cx).is_ready();
            }
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(count)) if count > 0 => self.pace.borrow_mut().resume(),
                Poll::Ready(_) => {
                    self.is_closed.set(true);
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending => {
                    std::task::ready!(self.pace.borrow_mut().poll(cx));
                    return Poll::Ready(Err(Refusal::SlowBody));
                }
            }
        }
    }
}

// === impl Incoming ===

impl<IO: AsyncRead + AsyncWrite + Unpin> http_body::Body for Incoming<IO> {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = self.get_mut();
        let caller = &this.caller;
        if this.is_over {
            return Poll::Ready(None);
        }
        if caller.is_closed.get() || caller.number.get() != this.number {
            return Poll::Ready(Some(Err(gone())));
        }
        if let Some(refusal) = caller.refusal.get() {
            return Poll::Ready(Some(Err(refused(refusal))));
        }
        let Poll::Ready(piece) = caller.poll_piece(cx) else {
            *caller.reader.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        };
        this.is_over = caller.is_read();
        if this.is_over || caller.is_closed.get() || piece.is_err() {
            caller.wake();
        }
        Poll::Ready(match piece {
            Ok(Some(Piece::Data(bytes))) => {
                caller.pace.borrow_mut().received += bytes.len() as u64;
                Some(Ok(Frame::data(Data::uncredited(bytes))))
            }
            Ok(Some(Piece::Trailers(mut trailers))) => {
                decode::strip_trailers(&mut trailers);
                (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)))
            }
            Ok(None) if this.is_over => None,
            Ok(None) => Some(Err(gone())),
            Err(refusal) => {
                caller.refusal.set(Some(refusal));
                Some(Err(refused(refusal)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        let is_current = self.caller.number.get() == self.number;
        match self.caller.body.borrow().left() {
            _ if self.is_over => SizeHint::with_exact(0),
            Some(left) if is_current => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Linked for Incoming<IO> {}

fn gone() -> Error {
    Error::new(Kind::Cancelled, "the caller did not finish its request")
}

fn refused(refusal: Refusal) -> Error {
    Error::new(Kind::Malformed, refusal.to_string())
}

// === impl Pace ===

impl Pace {
    fn new(is_bound: bool) -> Self {
        Self {
            is_bound,
            received: 0,
            waited: Duration::ZERO,
            since: None,
            alarm: Alarm::default(),
        }
    }

    fn begin(&mut self) {
        self.received = 0;
        self.waited = Duration::ZERO;
        self.since = None;
    }

    fn resume(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_bound {
            return Poll::Pending;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let left = allowed(self.received).saturating_sub(self.waited);
        self.alarm.poll(since + left, cx)
    }
}

/// How long a body of which `received` bytes have come may be waited for in all.
fn allowed(received: u64) -> Duration {
    PACE_FROM.max(Duration::from_secs(received / PACE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kibibyte_buys_a_second_after_the_first_ten() {
        for (received, seconds) in [(0, 10), (1 << 10, 10), (10 << 10, 10), (60 << 10, 60)] {
            assert_eq!(allowed(received).as_secs(), seconds, "{received}");
        }
    }
}
