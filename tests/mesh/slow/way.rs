//! Ways to be slow: what is said before nothing more is, and how long that is borne.

use std::time::Duration;

use outrigger_tests::raw::{self, END_HEADERS, END_STREAM, PREFACE, frame, kind};

use super::Place;

/// One of them, on one kind of listener.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) says: fn() -> Vec<u8>,
    pub(super) timer: Duration,
    pub(super) ends: Ends,
}

/// What ends, and from when its time runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// The connection, from its last word.
    Connection,
    /// The stream, from then; the connection stays.
    Request,
    /// The stream, from its answer's head.
    Answer,
}

const TIMER: Duration = Duration::from_secs(2);
/// A window that stays shut, where the peer is no stranger.
const PATIENT: Duration = Duration::from_secs(4);

const fn closed(name: &'static str, place: Place, says: fn() -> Vec<u8>) -> Way {
    Way {
        name,
        place,
        says,
        timer: TIMER,
        ends: Ends::Connection,
    }
}

const fn unheard(name: &'static str, place: Place, timer: Duration) -> Way {
    Way {
        name,
        place,
        says: shut,
        timer,
        ends: Ends::Answer,
    }
}

const fn unsaid(name: &'static str, place: Place) -> Way {
    Way {
        name,
        place,
        says: a_byte_of_data,
        timer: TIMER,
        ends: Ends::Request,
    }
}

fn nothing() -> Vec<u8> {
    Vec::new()
}

/// A record that says it has 200 bytes of a handshake, and the first of them: a ClientHello of 196 (RFC 8446, 4 and 5.1).
fn half_a_hello() -> Vec<u8> {
    vec![22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, 7, 7]
}

fn half_a_preface() -> Vec<u8> {
    b"PRI * HT".to_vec()
}

fn no_settings() -> Vec<u8> {
    PREFACE.to_vec()
}

fn greeted(frames: &[u8]) -> Vec<u8> {
    [PREFACE, &*frame(kind::SETTINGS, 0, 0, &[]), frames].concat()
}

fn head(flags: u8, path: &str, content: &str) -> Vec<u8> {
    let mut fields = raw::grpc("orders", path);
    fields[5].1 = content;
    frame(kind::HEADERS, flags, 1, &raw::block(&fields))
}

fn half_a_head() -> Vec<u8> {
    greeted(&head(0, "/test.Echo/Echo", "application/grpc"))
}

fn half_a_line() -> Vec<u8> {
    b"GET / HTTP/1.1\r\nHost: or".to_vec()
}

fn a_byte() -> Vec<u8> {
    b"POST /a HTTP/1.1\r\nHost: orders\r\nContent-Length: 9\r\n\r\n1".to_vec()
}

/// A body that is not gRPC's, of which one byte comes.
fn a_byte_of_data() -> Vec<u8> {
    let byte = frame(kind::DATA, 0, 1, b"1");
    greeted(&[head(END_HEADERS, "/a", "text/plain"), byte].concat())
}

fn call(path: &str, message: &[u8]) -> Vec<u8> {
    let message = outrigger_tests::grpc::frame(message);
    let head = head(END_HEADERS, path, "application/grpc");
    [head, frame(kind::DATA, END_STREAM, 1, &message)].concat()
}

/// An answer for which there is no room.
fn shut() -> Vec<u8> {
    let call = call("/test.Echo/Echo", b"x");
    greeted(&[raw::settings(&[(4, 0)]), call].concat())
}

/// An answer for which there is any room, and more than a socket takes that nobody reads.
pub(super) const DEAF: fn() -> Vec<u8> = || {
    let wide = [
        raw::settings(&[(4, (1 << 31) - 1)]),
        raw::window_update(0, 1 << 30),
    ];
    greeted(&[wide.concat(), call("/test.Echo/Download", b"6000000")].concat())
};

pub(super) static WAYS: &[Way] = &[
    closed("nothing", Place::Edge, nothing),
    closed("half a preface", Place::Edge, half_a_preface),
    closed("no settings", Place::Edge, no_settings),
    closed("half a head", Place::Edge, half_a_head),
    closed("half a line", Place::Edge, half_a_line),
    closed("a byte of a body", Place::Edge, a_byte),
    unsaid("a byte of data", Place::Edge),
    unheard("a shut window", Place::Edge, TIMER),
    closed("no hello", Place::EdgeTls, nothing),
    closed("half a hello", Place::EdgeTls, half_a_hello),
    closed("nothing in TLS", Place::EdgeInTls, nothing),
    closed("half a preface in TLS", Place::EdgeInTls, half_a_preface),
    closed("half a head in TLS", Place::EdgeInTls, half_a_head),
    unsaid("a byte of data in TLS", Place::EdgeInTls),
    unheard("a shut window in TLS", Place::EdgeInTls, TIMER),
    closed("no hello of a peer", Place::Mesh, nothing),
    closed("half a hello of a peer", Place::Mesh, half_a_hello),
    closed("nothing of a peer", Place::MeshInTls, nothing),
    closed("no settings of a peer", Place::MeshInTls, no_settings),
    closed("half a head of a peer", Place::MeshInTls, half_a_head),
    unheard("a shut window of a peer", Place::MeshInTls, PATIENT),
    closed("nothing of an application", Place::Outbound, nothing),
    closed(
        "no settings of an application",
        Place::Outbound,
        no_settings,
    ),
    closed(
        "half a head of an application",
        Place::Outbound,
        half_a_head,
    ),
    closed(
        "half a line of an application",
        Place::Outbound,
        half_a_line,
    ),
    unheard("a shut window of an application", Place::Outbound, PATIENT),
];
