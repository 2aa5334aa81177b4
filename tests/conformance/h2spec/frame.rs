//! RFC 9113, 6: each kind of frame.

use outrigger_tests::raw::{
    END_STREAM, Frame, PADDED, block, frame, kind, reset, settings, window_update,
};

use super::generic::PONG;
use super::structure::{rest, unfinished};
use crate::case::Outcome::{
    self, Alive, ConnectionError, Data, Frame as Comes, Served, StreamError,
};
use crate::case::{Case, STREAM, Step};
use crate::frames::{
    CANCEL, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, INITIAL_WINDOW, NONE, OPEN, PROTOCOL_ERROR,
    STREAM_CLOSED, WHOLE, acknowledged, case, continuation, get, headers, last_data, long, ping,
    post, post_with, priority_frame, request, send, window,
};

const PROTOCOL: Outcome = ConnectionError(&[PROTOCOL_ERROR]);
const SIZE: Outcome = ConnectionError(&[FRAME_SIZE_ERROR]);
const FLOW: Outcome = ConnectionError(&[FLOW_CONTROL_ERROR]);

pub(super) fn cases() -> Vec<Case> {
    [
        data_and_headers(),
        priority_and_reset(),
        settings_cases(),
        ping_and_goaway(),
        windows(),
        window_sizes(),
        continuations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn data_and_headers() -> Vec<Case> {
    let four = headers(STREAM, OPEN, &post_with(&[("content-length", "4")]));
    let overpadded_data = frame(kind::DATA, END_STREAM | PADDED, STREAM, b"\x06Test");
    let block = block(&request("GET"));
    let padding = u8::try_from(block.len() + 2).unwrap();
    let payload = [&[padding], block.as_slice()].concat();
    let overpadded_headers = frame(kind::HEADERS, WHOLE | PADDED, STREAM, &payload);
    let ended = headers(STREAM, WHOLE, &request("POST"));
    vec![
        case(
            "http2/6.1/1",
            "DATA on stream 0",
            [send([last_data(0)])],
            PROTOCOL,
        ),
        case(
            "http2/6.1/2",
            "DATA on a stream that is not open",
            [send([ended, last_data(STREAM)])],
            StreamError(&[STREAM_CLOSED]),
        ),
        case(
            "http2/6.1/3",
            "DATA with more padding than payload",
            [send([four, overpadded_data])],
            PROTOCOL,
        ),
        case(
            "http2/6.2/1",
            "HEADERS whose block goes on, and PRIORITY",
            [send([
                unfinished(NONE),
                priority_frame(STREAM, 0, 255),
                rest(),
            ])],
            PROTOCOL,
        ),
        case(
            "http2/6.2/2",
            "HEADERS whose block goes on, and HEADERS of another stream",
            [send([unfinished(NONE), get(STREAM + 2), rest()])],
            PROTOCOL,
        ),
        case(
            "http2/6.2/3",
            "HEADERS on stream 0",
            [send([get(0)])],
            PROTOCOL,
        ),
        case(
            "http2/6.2/4",
            "HEADERS with more padding than payload",
            [send([overpadded_headers])],
            StreamError(&[PROTOCOL_ERROR]),
        ),
    ]
}

fn priority_and_reset() -> Vec<Case> {
    let short_priority = frame(kind::PRIORITY, 0, STREAM, b"\x80\0\0\x01");
    let short_reset = frame(kind::RST_STREAM, 0, STREAM, &[0; 3]);
    let size = StreamError(&[FRAME_SIZE_ERROR]);
    vec![
        case(
            "http2/6.3/1",
            "PRIORITY on stream 0",
            [send([priority_frame(0, 0, 255)])],
            PROTOCOL,
        ),
        case(
            "http2/6.3/2",
            "PRIORITY that is not 5 bytes",
            [send([get(STREAM), short_priority])],
            size,
        ),
        case(
            "http2/6.4/1",
            "RST_STREAM on stream 0",
            [send([reset(0, CANCEL)])],
            PROTOCOL,
        ),
        case(
            "http2/6.4/2",
            "RST_STREAM on an idle stream",
            [send([reset(STREAM, CANCEL)])],
            PROTOCOL,
        ),
        case(
            "http2/6.4/3",
            "RST_STREAM that is not 4 bytes",
            [send([get(STREAM), short_reset])],
            size,
        ),
    ]
}

fn settings_cases() -> Vec<Case> {
    let set = |name: u16, value: u32| [send([settings(&[(name, value)])])];
    let raw = |flags: u8, stream: u32, payload: &[u8]| {
        [send([frame(kind::SETTINGS, flags, stream, payload)])]
    };
    let twice = settings(&[(INITIAL_WINDOW, 100), (INITIAL_WINDOW, 1)]);
    let [no_push] = set(2, 0);
    let badly_formed = StreamError(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]);
    vec![
        case(
            "http2/6.5/1",
            "an acknowledgement with a payload",
            raw(1, 0, &[0]),
            SIZE,
        ),
        case(
            "http2/6.5/2",
            "SETTINGS on a stream",
            raw(0, STREAM, &[0, 3, 0, 0, 0, 100]),
            PROTOCOL,
        ),
        case(
            "http2/6.5/3",
            "SETTINGS that are no multiple of 6 bytes",
            raw(0, 0, &[0, 3, 0]),
            badly_formed,
        ),
        case(
            "http2/6.5.2/1",
            "ENABLE_PUSH neither 0 nor 1",
            set(2, 2),
            PROTOCOL,
        ),
        case(
            "http2/6.5.2/2",
            "INITIAL_WINDOW_SIZE above 2^31 - 1",
            set(4, 1 << 31),
            FLOW,
        ),
        case(
            "http2/6.5.2/3",
            "MAX_FRAME_SIZE below 2^14",
            set(5, 16_383),
            PROTOCOL,
        ),
        case(
            "http2/6.5.2/4",
            "MAX_FRAME_SIZE above 2^24 - 1",
            set(5, 1 << 24),
            PROTOCOL,
        ),
        case(
            "http2/6.5.2/5",
            "a setting nobody knows",
            set(0xff, 1),
            Alive,
        ),
        case(
            "http2/6.5.3/1",
            "one setting twice: the last one holds",
            [
                acknowledged(),
                send([twice]),
                acknowledged(),
                send([get(STREAM)]),
            ],
            Data(1),
        ),
        case(
            "http2/6.5.3/2",
            "SETTINGS are acknowledged",
            [acknowledged(), no_push],
            Comes(Frame::acknowledges),
        ),
    ]
}

fn ping_and_goaway() -> Vec<Case> {
    let answer = frame(kind::PING, 1, 0, b"invalid\0");
    let goaway = frame(kind::GOAWAY, 0, STREAM, &[0; 8]);
    vec![
        case("http2/6.7/1", "PING", [send([ping(*b"h2spec\0\0")])], PONG),
        case(
            "http2/6.7/2",
            "an answer to no PING is not answered",
            [send([answer])],
            Alive,
        ),
        case(
            "http2/6.7/3",
            "PING on a stream",
            [send([frame(kind::PING, 0, 1, &[0; 8])])],
            PROTOCOL,
        ),
        case(
            "http2/6.7/4",
            "PING that is not 8 bytes",
            [send([frame(kind::PING, 0, 0, &[0; 6])])],
            SIZE,
        ),
        case(
            "http2/6.8/1",
            "GOAWAY on a stream",
            [send([goaway])],
            PROTOCOL,
        ),
    ]
}

fn windows() -> Vec<Case> {
    let most = || {
        [
            window_update(0, u32::MAX >> 1),
            window_update(0, u32::MAX >> 1),
        ]
        .concat()
    };
    let more = || window_update(STREAM, u32::MAX >> 1);
    vec![
        case(
            "http2/6.9/1",
            "WINDOW_UPDATE of nothing",
            [send([window_update(0, 0)])],
            PROTOCOL,
        ),
        case(
            "http2/6.9/2",
            "WINDOW_UPDATE of nothing on a stream",
            [send([post(STREAM), window_update(STREAM, 0)])],
            StreamError(&[PROTOCOL_ERROR]),
        ),
        case(
            "http2/6.9/3",
            "WINDOW_UPDATE that is not 4 bytes",
            [send([frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 1])])],
            SIZE,
        ),
        case(
            "http2/6.9.1/1",
            "a window of one byte",
            [
                acknowledged(),
                send([window(1)]),
                acknowledged(),
                send([get(STREAM)]),
            ],
            Data(1),
        ),
        case(
            "http2/6.9.1/2",
            "the connection's window above 2^31 - 1",
            [send([most()])],
            FLOW,
        ),
        case(
            "http2/6.9.1/3",
            "a stream's window above 2^31 - 1",
            [send([post(STREAM), more(), more()])],
            StreamError(&[FLOW_CONTROL_ERROR]),
        ),
    ]
}

/// RFC 9113, 6.9.2.
fn window_sizes() -> Vec<Case> {
    let first_data = || Step::Until(|frame| frame.kind == kind::DATA);
    vec![
        case(
            "http2/6.9.2/1",
            "INITIAL_WINDOW_SIZE grows: so do windows of open streams",
            [
                acknowledged(),
                send([window(0)]),
                acknowledged(),
                send([get(STREAM)]),
                send([window(1)]),
                acknowledged(),
            ],
            Data(1),
        ),
        case(
            "http2/6.9.2/2",
            "INITIAL_WINDOW_SIZE shrinks: a window may be negative",
            [
                acknowledged(),
                send([window(3)]),
                acknowledged(),
                send([get(STREAM)]),
                first_data(),
                send([window(2)]),
                acknowledged(),
                send([window_update(STREAM, 2)]),
            ],
            Data(1),
        ),
        case(
            "http2/6.9.2/3",
            "INITIAL_WINDOW_SIZE above 2^31 - 1",
            [send([window(1 << 31)])],
            FLOW,
        ),
    ]
}

fn continuations() -> Vec<Case> {
    let piece = || continuation(STREAM, NONE, &[long()]);
    let open = headers(STREAM, NONE, &request("POST"));
    let another = headers(STREAM, NONE, &request("POST"));
    vec![
        case(
            "http2/6.10/1",
            "HEADERS and several CONTINUATION",
            [send([unfinished(END_STREAM), piece(), rest()])],
            Served,
        ),
        case(
            "http2/6.10/2",
            "CONTINUATION whose block goes on, and DATA",
            [send([open, piece(), last_data(STREAM)])],
            PROTOCOL,
        ),
        case(
            "http2/6.10/3",
            "CONTINUATION on stream 0",
            [send([
                unfinished(END_STREAM),
                continuation(0, OPEN, &[long()]),
            ])],
            PROTOCOL,
        ),
        case(
            "http2/6.10/4",
            "CONTINUATION behind a block that has ended",
            [send([get(STREAM), rest()])],
            PROTOCOL,
        ),
        case(
            "http2/6.10/5",
            "CONTINUATION behind the last CONTINUATION",
            [send([unfinished(END_STREAM), rest(), rest()])],
            PROTOCOL,
        ),
        case(
            "http2/6.10/6",
            "CONTINUATION behind DATA",
            [send([
                another,
                last_data(STREAM),
                piece(),
                continuation(0, OPEN, &[long()]),
            ])],
            PROTOCOL,
        ),
    ]
}
