//! How bytes become calls over HTTP/2, made for forwarding.
//!
//! The lower half is pure: `frame`, `hpack`, `flow`, `stream`, `fields` and `meter` know one thing each, and `connection` puts them
//! together without a socket. The upper half moves: `driver` is the task that owns a socket, `streams` what it shares with the calls on
//! it, `server` and `client` make calls of streams and streams of calls, and `link` lets DATA pass where nobody has to look. Reset codes are forwarded, not invented.

/// Flow-control credit that comes back to the sender on drop.
mod credit;

/// What a stream brings, as a body.
mod body;

/// From a body into a stream.
mod forward;

/// From a stream into a stream, past the task between them.
mod link;

/// Our limits as a connection's.
mod limits;

/// Bounds and who met them.
mod metrics;

/// How much may wait for those it is sent to.
mod crowd;

/// The task that owns a socket.
mod driver;

/// What it shares with the calls.
mod streams;

/// Whose turn it is where streams share what there is.
mod waiting;

/// What waits for a call.
mod mailbox;

/// Heads on their way out.
mod heads;

/// Connections others make to us.
pub(crate) mod server;

/// Connections we make.
pub(crate) mod client;

/// Frames.
pub mod frame;

/// Header compression.
pub mod hpack;

/// Flow control.
pub mod flow;

/// Which frame of a stream may come next.
pub mod stream;

/// What a block of fields means.
pub mod fields;

/// What a peer may repeat.
pub mod meter;

/// All of it together, without a socket.
pub mod connection;

#[cfg(test)]
mod differential;

/// A whole hop.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod hop;

/// Frames by hand.
#[cfg(test)]
mod script;

pub use credit::Credit;
pub(crate) use driver::{Alarm, obey};
pub use link::Link;
pub(crate) use meter::Limit;
pub(crate) use metrics::{Metrics, PROCESS};
