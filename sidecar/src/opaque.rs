//! Bytes that are no calls: a connection of the caller's application is carried to the callee's as it is, over one mTLS connection of its
//! own, with identity, intentions, metrics and a line in the log.
//!
//! Nothing is repeated once a byte went. Until then another instance is tried: the callee's sidecar says in one byte that it has let the
//! caller in and reached its application (`word`). A quiet connection is left alone; bytes that wait and do not move end it.

/// Both directions of one connection.
mod copy;

/// Which end was it, and who hears of it.
mod metrics;

/// From our application to an instance of another service.
pub(crate) mod outbound;

/// The instance, and a connection to it.
mod reach;

/// From a mesh peer to our application.
pub(crate) mod inbound;

/// What is spoken where it may be anything.
mod choice;

/// What the callee's sidecar says first.
mod word;

pub(crate) use choice::{Carried, Speaks, agreed, speaks};
pub(crate) use metrics::Metrics;
pub(crate) use word::Word;
