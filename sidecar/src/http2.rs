//! How bytes become calls over HTTP/2, on the `h2` crate. The only place that names one of its types.
//!
//! One task drives a connection; one task a call moves both directions of it. Reset codes are forwarded, not invented.

/// Flow-control credit that comes back to the sender on drop.
mod credit;

/// Writes gathered per turn of a connection, reads bounded per turn.
mod cork;

/// What a stream brings, as a body.
mod body;

/// From a body into a stream.
mod forward;

/// The library's settings out of ours.
mod limits;

/// Connections others make to us.
pub(crate) mod server;

/// Connections we make.
pub(crate) mod client;

/// Of the frame layer of our own, which takes the library's place: frames.
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

pub use credit::Credit;
