//! The wire, frame by frame: what peers may send, what must come of it, on every listener of a sidecar and towards every application.
//! The tables are specifications: a line a case.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a suite fails loudly; the lint's exception covers test functions only"
)]

/// A peer's frames, and what comes of them.
mod case;
/// Frames and requests that the tables are written with.
mod frames;
/// The three listeners that every table runs on.
mod listeners;

/// The case list of h2spec.
mod h2spec;
/// What RFC 9113 says and RFC 7540 did not.
mod rfc9113;

/// What an application by hand says.
mod answers;
/// Exchanges between a caller and an application by hand.
mod exchange;
/// Applications that break HTTP/2, or nearly.
mod hostile_application;

/// The edge over TLS.
mod edge;
