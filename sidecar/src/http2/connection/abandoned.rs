//! Streams of ours that nobody wants any more and that the peer may not have taken yet.
//!
//! Many servers end a connection, with everybody's calls, on which more than a few streams were reset before they took them, which a
//! caller can bring about who opens many and hangs up. A peer that is busy may be slow to take them. It acknowledges SETTINGS in the
//! order of frames (RFC 9113, 6.5.3), so once it has acknowledged some that we sent behind a stream, it has read that stream. A PING
//! would tell the same, but servers of gRPC end connections for pings. A stream that is answered was taken, and so were those before it:
//! they are reset at once, lest the peer goes on with what nobody reads.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::super::frame::{Code, Settings};
use super::Connection;

/// Reset behind one acknowledgement, at most: read is not taken. What the h2 crate bears is 20 that were not.
const AT_ONCE: usize = 16;
/// A peer that acknowledges nothing for so long gets the resets all the same.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The streams, and what the peer was asked about them.
#[derive(Debug, Default)]
pub(super) struct Abandoned {
    waiting: BTreeSet<u32>,
    /// Streams below it were taken.
    taken: u32,
    asked: Option<Question>,
}

/// SETTINGS that are not acknowledged.
#[derive(Clone, Copy, Debug)]
struct Question {
    /// They were sent behind all streams below it.
    behind: u32,
    since: Instant,
}

// === impl Abandoned ===

impl Abandoned {
    /// It answers a stream, so it has taken that one and those before it; what may be reset now.
    fn answered(&mut self, stream: u32) -> BTreeSet<u32> {
        self.taken = self.taken.max(stream + 1);
        let rest = self.waiting.split_off(&self.taken);
        std::mem::replace(&mut self.waiting, rest)
    }

    /// All that was asked is acknowledged; what may be reset now.
    fn acknowledged(&mut self) -> Vec<u32> {
        let Some(question) = self.asked.take() else {
            return Vec::new();
        };
        let read = self.waiting.range(..question.behind).take(AT_ONCE);
        let read: Vec<u32> = read.copied().collect();
        for stream in &read {
            self.waiting.remove(stream);
        }
        read
    }

    /// Whether the peer is to be asked now, about all streams below `next`.
    fn asks(&mut self, next: u32, now: Instant) -> bool {
        if self.asked.is_some() || self.waiting.is_empty() {
            return false;
        }
        self.asked = Some(Question {
            behind: next,
            since: now,
        });
        true
    }

    fn gives_up_at(&self) -> Option<Instant> {
        self.asked.map(|question| question.since + PATIENCE)
    }
}

// === impl Connection ===

impl Connection {
    pub(super) fn abandon_when_taken(&mut self, stream: u32, now: Instant) {
        if stream < self.abandoned.taken {
            self.reset(stream, Code::CANCEL);
            return;
        }
        self.abandoned.waiting.insert(stream);
        self.ask_about_abandoned(now);
    }

    /// The peer answers a stream.
    pub(super) fn reset_answered(&mut self, stream: u32) {
        for stream in self.abandoned.answered(stream) {
            self.reset(stream, Code::CANCEL);
        }
    }

    /// The peer has acknowledged all of our SETTINGS.
    pub(super) fn reset_taken(&mut self, now: Instant) {
        for stream in self.abandoned.acknowledged() {
            // It may have ended by itself.
            self.reset(stream, Code::CANCEL);
        }
        self.ask_about_abandoned(now);
    }

    fn ask_about_abandoned(&mut self, now: Instant) {
        if self.abandoned.asks(self.next, now) {
            self.send_settings(&Settings::default());
        }
    }

    /// Resets what was abandoned if the peer does not say that it has taken it; when that will be.
    pub fn reset_abandoned(&mut self, now: Instant) -> Option<Instant> {
        let due = self.abandoned.gives_up_at()?;
        if now < due {
            return Some(due);
        }
        self.abandoned.asked = None;
        for stream in std::mem::take(&mut self.abandoned.waiting) {
            self.reset(stream, Code::CANCEL);
        }
        None
    }
}
