//! The I/O under h2: what it writes during one turn of its connection leaves in one piece; what it reads in one turn is bounded.
//!
//! h2 writes and flushes DATA frames of 256 bytes and more one by one, each a TLS record and a system call. Here flushing does nothing
//! and the connection's driver drains once at the end of its turn. The bound on reading lets the calls of a connection run before more
//! frames are decoded, which is fairness and keeps h2's count of unread small frames low. Bytes handed to the socket are counted: when
//! none left since a call was queued, that call provably never left.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes h2 may be given in one turn.
const READ_SLICE: usize = 64 << 10;
/// Bytes gathered before a write has to go out within the turn.
const GATHERED: usize = 64 << 10;

/// The half h2 owns.
pub(super) struct Cork<IO>(Rc<RefCell<Inner<IO>>>);

/// The half the driver owns.
pub(super) struct Turn<IO>(Rc<RefCell<Inner<IO>>>);

/// What passed the socket, for whoever has to prove something from it.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) read: Cell<u64>,
    pub(super) written: Cell<u64>,
}

struct Inner<IO> {
    io: IO,
    gathered: BytesMut,
    flush: bool,
    readable: usize,
    passed: Rc<Passed>,
}

/// Both halves and the counters.
pub(super) fn cork<IO>(io: IO) -> (Cork<IO>, Turn<IO>, Rc<Passed>) {
    let passed = Rc::new(Passed::default());
    let inner = Inner {
        io,
        gathered: BytesMut::new(),
        flush: false,
        readable: READ_SLICE,
        passed: Rc::clone(&passed),
    };
    let shared = Rc::new(RefCell::new(inner));
    (Cork(Rc::clone(&shared)), Turn(shared), passed)
}

// === impl Turn ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Turn<IO> {
    /// The connection gets a new slice to read.
    pub(super) fn begin(&self) {
        self.0.borrow_mut().readable = READ_SLICE;
    }

    /// Sends what the turn gathered; the task is woken when the socket takes more.
    pub(super) fn end(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().drain(cx)
    }
}

// === impl Inner ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Inner<IO> {
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.gathered))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(count);
            self.passed
                .written
                .set(self.passed.written.get() + count as u64);
            self.flush = true;
        }
        if self.flush {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.flush = false;
        }
        Poll::Ready(Ok(()))
    }
}

// === impl Cork ===

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Cork<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        if inner.readable == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut inner.io).poll_read(cx, buf))?;
        let count = buf.filled().len() - before;
        inner.readable = inner.readable.saturating_sub(count);
        inner
            .passed
            .read
            .set(inner.passed.read.get() + count as u64);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Cork<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        if inner.gathered.len() >= GATHERED {
            match inner.drain(cx) {
                Poll::Ready(Err(err)) => return Poll::Ready(Err(err)),
                Poll::Pending if inner.gathered.len() >= GATHERED => return Poll::Pending,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        inner.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(inner.drain(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        false
    }
}
