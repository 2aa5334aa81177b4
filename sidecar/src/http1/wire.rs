//! A connection's two buffers: bytes that came and were not understood yet, bytes that wait to be taken. Both are bounded by who uses
//! them; nothing is read that nobody asked for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

/// Asked of the socket at once.
const READ: usize = 16 << 10;
/// With so much room left no new buffer is made.
const SPARE: usize = 2 << 10;

#[derive(Debug)]
pub(super) struct Wire<IO> {
    io: IO,
    pub(super) read: BytesMut,
    pub(super) out: BytesMut,
    /// Bytes the socket took so far.
    written: u64,
    /// What was written is not known to be with the socket.
    is_unflushed: bool,
}

// === impl Wire ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire<IO> {
    pub(super) fn new(io: IO) -> Self {
        Self {
            io,
            read: BytesMut::new(),
            out: BytesMut::new(),
            written: 0,
            is_unflushed: false,
        }
    }

    /// Reads once; 0 is the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // What is read in small pieces shares a buffer: each piece keeps all of it.
        if self.read.capacity() - self.read.len() < SPARE {
            self.read.reserve(READ);
        }
        poll_read_buf(Pin::new(&mut self.io), cx, &mut self.read)
    }

    /// Reads what is there, up to `most` bytes in the buffer. Ready when the peer has closed its side or the connection is broken.
    pub(super) fn poll_ended(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<()> {
        while self.read.len() < most {
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    /// Ready when the socket has everything.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.out))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.out.advance(count);
                    self.written += count as u64;
                    self.is_unflushed = true;
                }
            }
        }
        if self.is_unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more is written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Bytes the socket took so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Where the last byte of `out` stands in the count of [`written`](Self::written).
    pub(super) fn queued(&self) -> u64 {
        self.written + self.out.len() as u64
    }
}
