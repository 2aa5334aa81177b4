//! Credit: what a sender may send again once the bytes it sent went onwards.
//!
//! A piece of a body carries the credit of its bytes; whoever drops the piece gives it back. So a slow sink stalls its own stream, and
//! nothing is buffered beyond the stream's window.

use std::fmt;
use std::rc::Rc;

use super::streams::Shared;

/// Credit of one piece; given back on drop.
pub struct Credit {
    source: Option<(Rc<Shared>, u32)>,
    bytes: usize,
}

// === impl Credit ===

impl Credit {
    /// For bytes nobody waits to get credit for.
    pub fn none() -> Self {
        Self {
            source: None,
            bytes: 0,
        }
    }

    pub(super) fn new(source: Rc<Shared>, stream: u32, bytes: usize) -> Self {
        Self {
            source: Some((source, stream)),
            bytes,
        }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if let Some((source, stream)) = &self.source {
            let bytes = u32::try_from(self.bytes).unwrap_or(u32::MAX);
            source.forwarded(*stream, bytes);
        }
    }
}

impl fmt::Debug for Credit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credit({})", self.bytes)
    }
}
