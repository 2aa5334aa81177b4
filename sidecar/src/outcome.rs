//! How a call or an attempt ended: one verdict, computed when the stream has ended, read by every consumer.
//!
//! A `judge::Judge` watches head, data and end of a response and turns them into an `Outcome`; nobody else looks at headers,
//! trailers or errors. What each consumer makes of it (breaker, estimate, retry) is in `consumer`.

pub mod consumer;

pub mod judge;

pub mod watch;

use std::time::Duration;

use tonic::Code;

use crate::error::{Kind, Processed};
use crate::grpc::message::Counter;
use crate::grpc::metadata::Pushback;

/// The evidence a verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Trailers,
    TrailersOnly,
    MissingTrailers,
    HttpStatus(u16),
    Reset(u32),
    GoAway,
    Lost,
    Deadline,
    AttemptTimeout,
    Local,
}

/// Who made the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    App,
    Peer,
    Mesh,
    Caller,
}

/// How far the response had come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    #[default]
    Unsent,
    Sent,
    Headers,
    Messages,
}

/// Messages and bytes that went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub messages: u64,
    pub bytes: u64,
}

/// The one verdict.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub code: Code,
    pub ending: Ending,
    pub by: By,
    pub processed: Processed,
    pub phase: Phase,
    /// `None`: the application's own status.
    pub reason: Option<Kind>,
    pub pushback: Option<Pushback>,
    /// The HTTP status of an answer without `grpc-status`.
    pub http_status: Option<u16>,
    /// From dispatch to response headers.
    pub first_response: Option<Duration>,
    /// From dispatch to the first response message.
    pub first_message: Option<Duration>,
    pub elapsed: Duration,
    pub received: Counts,
}

// === impl Counts ===

impl From<Counter> for Counts {
    fn from(counter: Counter) -> Self {
        Self {
            messages: counter.messages,
            bytes: counter.bytes,
        }
    }
}

// === impl By ===

impl By {
    pub fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Peer => "peer",
            Self::Mesh => "mesh",
            Self::Caller => "caller",
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// The reason as log and metrics print it; empty for the application's own status.
    pub fn reason_flag(&self) -> &'static str {
        self.reason.map_or("", Kind::flag)
    }

    pub fn is_ok(&self) -> bool {
        self.code == Code::Ok
    }
}
