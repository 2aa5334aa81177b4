//! How an endpoint is reached: pooled connections, one set a data-plane thread.

/// One attempt to reach a peer.
mod dial;

/// The wait between attempts.
mod backoff;

/// Which of several connections takes a call.
mod choice;

/// Connections that nobody needs any more.
mod idle;

/// Mesh connections by endpoint.
mod pool;

/// Mesh connections of one application's connection each.
mod single;

/// How few calls of strangers a callee has at a time.
mod strangers;

/// Connections to the local application.
mod application;

/// Connections and failures, counted.
mod metrics;

pub use application::Application;
pub(crate) use application::Parts as ApplicationParts;
pub(crate) use dial::{Buffered, Error as DialError, READ_BUFFER, tune};
pub(crate) use metrics::Metrics;
pub(crate) use pool::Parts;
pub use pool::{Pool, State};
pub(crate) use single::Opaque;
pub(crate) use strangers::Line;
pub use strangers::Strangers;
