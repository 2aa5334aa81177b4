//! Two streams linked: DATA goes from what one connection read into what another one writes, in one copy, and no task is woken for it.
//!
//! A call's task sees heads, the first message and the end. In between a link passes what its sink takes at once; the rest waits in the
//! source's mailbox and goes the way of the task, which knows how long a sink may stall. Nothing overtakes: while anything waits on
//! that way, nothing passes.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::rc::{Rc, Weak};

use super::streams::Handle;
use crate::grpc::message::Counter;

/// One direction of a call, from the stream whose mailbox holds it to the stream that it names.
pub struct Link {
    sink: Weak<Handle>,
    /// All that came before has been handed to the sink.
    is_open: Cell<bool>,
    count: Rc<Cell<Counter>>,
}

// === impl Link ===

impl Link {
    /// Nothing passes before [`Self::open`].
    pub(super) fn new(sink: &Rc<Handle>) -> Rc<Self> {
        Rc::new(Self {
            sink: Rc::downgrade(sink),
            is_open: Cell::new(false),
            count: Rc::default(),
        })
    }

    /// Of everything that came since the link was made, however it went.
    pub fn count(&self) -> &Rc<Cell<Counter>> {
        &self.count
    }

    pub(super) fn open(&self) {
        self.is_open.set(true);
    }

    pub(super) fn shut(&self) {
        self.is_open.set(false);
    }

    /// How much of `data` its sink took.
    pub(super) fn pass(&self, data: &[u8]) -> usize {
        let sink = self.sink.upgrade().filter(|_| self.is_open.get());
        let passed = sink.map_or(0, |sink| sink.pass(data));
        self.see(data.get(..passed).unwrap_or_default());
        passed
    }

    /// Counts what came.
    pub(super) fn see(&self, data: &[u8]) {
        let mut count = self.count.get();
        count.see(data);
        self.count.set(count);
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("is_open", &self.is_open)
            .finish_non_exhaustive()
    }
}
