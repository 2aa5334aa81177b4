//! What a stack cannot do of a case, and why. All else has to pass wholly, and these have to be just that.

use super::stack::Stack;

/// Which end of a call it is that cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Client(Stack),
    Server(Stack),
}

/// The clients do what is left of such a case, and say `partly`.
const PARTLY: [(End, &str, &str); 7] = [
    (
        End::Client(Stack::Node),
        "server_compressed_unary",
        "grpc-js tells nobody whether an answer came compressed: its bytes are checked",
    ),
    (
        End::Client(Stack::Node),
        "server_compressed_streaming",
        "the same of a stream's messages",
    ),
    (
        End::Client(Stack::Tonic),
        "client_compressed_streaming",
        "tonic's client compresses all messages of a call or none: a call of either kind is made",
    ),
    (
        End::Client(Stack::Tonic),
        "timeout_on_sleeping_server",
        "tonic's name of a deadline that it saw pass itself is CANCELLED: both codes are taken",
    ),
    (
        End::Client(Stack::Tonic),
        "cancel_after_begin",
        "a call of tonic's is cancelled by dropping it, so that nobody sees its code: the channel has to go on",
    ),
    (
        End::Client(Stack::Tonic),
        "cancel_after_first_response",
        "the same of a dialogue",
    ),
    (
        End::Server(Stack::Tonic),
        "server_compressed_streaming",
        "tonic's server compresses every message of every stream: it is asked for compressed ones alone",
    ),
];

/// What a client has to say of a case with this server, and why, if it is not `ok`.
pub(super) fn wanted(client: Stack, server: Stack, case: &str) -> (&'static str, String) {
    let ends = [End::Client(client), End::Server(server)];
    let found = PARTLY
        .iter()
        .find(|(end, of, _)| ends.contains(end) && *of == case);
    match found {
        Some((_, _, why)) => ("partly", format!(": {why}")),
        None => ("ok", String::new()),
    }
}
