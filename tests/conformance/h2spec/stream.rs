//! RFC 9113, 5: the states of a stream, their number, errors, extensions.

use outrigger_tests::raw::{END_STREAM, frame, kind, reset, window_update};

use super::structure::{rest, unfinished, unknown};
use crate::case::Outcome::{self, Alive, Closed, ConnectionError, StreamError};
use crate::case::{Case, STREAM, Step};
use crate::frames::{
    CANCEL, OPEN, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, answered, case, continuation, get,
    get_with_priority, last_data, post, priority_frame, request, send, window,
};

pub(super) fn cases() -> Vec<Case> {
    [idle_and_half_closed(), reset_and_closed(), others()]
        .into_iter()
        .flatten()
        .collect()
}

/// What comes behind the end of a stream, or its reset: its error.
const LATE: Outcome = StreamError(&[STREAM_CLOSED]);
/// A CONTINUATION of nothing breaks the order of frames, too.
const LATE_CONTINUATION: Outcome = StreamError(&[STREAM_CLOSED, PROTOCOL_ERROR]);
const UNOPENED: Outcome = ConnectionError(&[PROTOCOL_ERROR]);

fn idle_and_half_closed() -> Vec<Case> {
    let whole = || continuation(STREAM, OPEN, &request("GET"));
    let idle = |frame: Vec<u8>| [send([frame])];
    let half_closed = |frame: Vec<u8>| [send([get(STREAM), frame])];
    let room = window_update(STREAM, 100);
    vec![
        case(
            "http2/5.1/1",
            "idle: DATA",
            idle(last_data(STREAM)),
            UNOPENED,
        ),
        case(
            "http2/5.1/2",
            "idle: RST_STREAM",
            idle(reset(STREAM, CANCEL)),
            UNOPENED,
        ),
        case("http2/5.1/3", "idle: WINDOW_UPDATE", idle(room), UNOPENED),
        case("http2/5.1/4", "idle: CONTINUATION", idle(whole()), UNOPENED),
        case(
            "http2/5.1/5",
            "half-closed: DATA",
            half_closed(last_data(STREAM)),
            LATE,
        ),
        case(
            "http2/5.1/6",
            "half-closed: HEADERS",
            half_closed(get(STREAM)),
            LATE,
        ),
        case(
            "http2/5.1/7",
            "half-closed: CONTINUATION",
            half_closed(whole()),
            LATE_CONTINUATION,
        ),
    ]
}

fn reset_and_closed() -> Vec<Case> {
    let canceled = |frame: Vec<u8>| [send([post(STREAM), reset(STREAM, CANCEL), frame])];
    let closed = |frame: Vec<u8>| [send([get(STREAM)]), answered(), send([frame])];
    let closed_error = ConnectionError(&[STREAM_CLOSED]);
    let closed_or_disorder = ConnectionError(&[STREAM_CLOSED, PROTOCOL_ERROR]);
    vec![
        case(
            "http2/5.1/8",
            "reset: DATA",
            canceled(last_data(STREAM)),
            LATE,
        ),
        case("http2/5.1/9", "reset: HEADERS", canceled(get(STREAM)), LATE),
        case(
            "http2/5.1/10",
            "reset: CONTINUATION",
            canceled(rest()),
            LATE_CONTINUATION,
        ),
        case(
            "http2/5.1/11",
            "closed: DATA",
            closed(last_data(STREAM)),
            LATE,
        ),
        case(
            "http2/5.1/12",
            "closed: HEADERS",
            closed(get(STREAM)),
            closed_error,
        ),
        case(
            "http2/5.1/13",
            "closed: CONTINUATION",
            closed(rest()),
            closed_or_disorder,
        ),
    ]
}

fn gets(count: u32) -> Vec<u8> {
    (0..count).flat_map(|number| get(2 * number + 1)).collect()
}

fn others() -> Vec<Case> {
    let misplaced_ping = || [send([frame(kind::PING, 0, 3, &[0; 8])])];
    vec![
        case(
            "http2/5.1.1/1",
            "a stream with an even id",
            [send([get(2)])],
            ConnectionError(&[PROTOCOL_ERROR]),
        ),
        case(
            "http2/5.1.1/2",
            "a stream below one that was opened before",
            [send([get(5), get(3)])],
            ConnectionError(&[PROTOCOL_ERROR]),
        ),
        case(
            "http2/5.1.2/1",
            "more streams than SETTINGS_MAX_CONCURRENT_STREAMS",
            [send([window(0)]), Step::Beyond(gets)],
            StreamError(&[PROTOCOL_ERROR, REFUSED_STREAM]),
        ),
        case(
            "http2/5.3.1/1",
            "HEADERS that depend on their own stream",
            [send([get_with_priority(STREAM)])],
            StreamError(&[PROTOCOL_ERROR]),
        ),
        case(
            "http2/5.3.1/2",
            "PRIORITY that depends on its own stream",
            [send([priority_frame(STREAM, STREAM, 255)])],
            StreamError(&[PROTOCOL_ERROR]),
        ),
        case(
            "http2/5.4.1/1",
            "PING on a stream: the connection is closed",
            misplaced_ping(),
            Closed,
        ),
        case(
            "http2/5.4.1/2",
            "PING on a stream: GOAWAY comes before the end",
            misplaced_ping(),
            ConnectionError(&[PROTOCOL_ERROR]),
        ),
        case(
            "http2/5.5/1",
            "an extension's frame",
            [send([unknown()])],
            Alive,
        ),
        case(
            "http2/5.5/2",
            "an extension's frame inside a block",
            [send([unfinished(END_STREAM), unknown()])],
            ConnectionError(&[PROTOCOL_ERROR]),
        ),
    ]
}
