//! HTTP/1.1: towards callers on the edge and local listeners, towards applications that speak nothing else.
//!
//! The lower half is pure: `head`, `target`, `framing`, `chunk`, `decode` and `encode` turn bytes into messages and back, and `refusal` is
//! the list of what is not carried on. The upper half moves: `wire` is a socket with its buffers, `outgoing` a body on its way into it,
//! `server` makes calls of requests and `client` requests of calls.

/// Where a head ends and what it says.
mod head;

/// One path for one host.
mod target;

/// How long a body is.
mod framing;

/// Chunks.
mod chunk;

/// Bodies from bytes.
mod decode;

/// Heads and bodies as bytes.
mod encode;

/// What is not carried on.
mod refusal;

/// A socket with its buffers.
mod wire;

/// A body on its way into a connection.
mod outgoing;

/// What a connection's task and its call share.
mod caller;

/// Replies as responses.
mod answer;

/// Connections others make to us.
pub(crate) mod server;

/// Connections to the application.
pub(crate) mod client;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use http::HeaderMap;
use http::header::{
    CONNECTION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

/// Whether a field that is a list of words has this one.
fn says(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|said| said.trim().eq_ignore_ascii_case(word))
}

/// Removes what concerns one connection only, the fields `Connection` names included.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "http2-settings"] {
        headers.remove(name);
    }
}
