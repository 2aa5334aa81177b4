//! What a fuzzer calls: one function a target, each takes bytes that a stranger could have sent and panics if a claim is broken. Only
//! in tests and with the feature `fuzzing`; the runner is the crate in `fuzz/`, which also says how to run it.
//!
//! `fuzz/corpus/<target>/` holds what is run first, and by every `cargo test`.

/// Frames into a connection, in either role, answered as an application would.
mod frames;

/// Header compression: what is read is written and read again.
mod hpack;

/// Calls through our client and our server: bytes in are bytes out, and credit comes back.
mod link;

/// Message framing, cut anywhere.
mod message;

/// Texts of gRPC: deadlines and status messages.
mod text;

#[cfg(test)]
mod tests;

/// A target, by the name of its corpus.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

pub const TARGETS: [Target; 7] = [
    target("frames", frames::run),
    target("hpack", hpack::run),
    target("link", link::run),
    target("message", message::run),
    target("timeout", text::timeout),
    target("status", text::status),
    target("http1", crate::http1::fuzz::run),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}
