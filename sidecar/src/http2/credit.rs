//! Credit: what a sender may send again once the bytes it sent went onwards.
//!
//! A piece of a body carries the credit of its bytes; whoever drops the piece gives it back. So a slow sink stalls its own stream, and
//! nothing is buffered beyond the stream's window.

use std::fmt;

/// Credit of one piece; given back on drop.
pub struct Credit {
    source: Option<h2::FlowControl>,
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

    pub(super) fn new(source: h2::FlowControl, bytes: usize) -> Self {
        Self {
            source: Some(source),
            bytes,
        }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if let Some(source) = &mut self.source
            && self.bytes > 0
        {
            // It fails only if more were given back than came: each piece holds exactly its own bytes, and gives them back once.
            let given = source.release_capacity(self.bytes);
            debug_assert!(given.is_ok(), "a piece gave back more credit than it held");
        }
    }
}

impl fmt::Debug for Credit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credit({})", self.bytes)
    }
}
