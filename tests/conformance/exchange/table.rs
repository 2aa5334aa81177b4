//! The lines: what both ends say, what the caller has to see, what the application has to hear.

use outrigger_tests::grpc;
use outrigger_tests::raw::{
    END_HEADERS, END_STREAM, Frame, Heard, PADDED, block, frame, kind, padded, reset, window_update,
};

use super::Exchange;
use crate::answers::{HEAD, answer, early, head, in_pieces, message, ok, trailers_only};
use crate::case::{STREAM, Step};
use crate::frames::{self, WHOLE, data, headers, send, window};

/// The request's end.
fn end() -> Vec<u8> {
    data(STREAM, END_STREAM, b"")
}

fn ends() -> Vec<Step> {
    vec![send([end()])]
}

fn goes_on() -> Vec<Step> {
    Vec::new()
}

fn is_head(frame: &Frame) -> bool {
    frame.field(":status") == Some("200")
}

fn is_data(frame: &Frame) -> bool {
    frame.kind == kind::DATA
}

/// Together larger than a frame.
fn large() -> [(&'static str, &'static str); 5] {
    [frames::long(); 5]
}

/// Says it once the call has begun.
macro_rules! at_once {
    ($stream:ident => $($frame:expr),+) => {
        |heard, $stream| match heard {
            Heard::Begun => [$($frame),+].concat(),
            _ => Vec::new(),
        }
    };
}

/// Says it once the caller has said all.
macro_rules! at_the_end {
    ($stream:ident => $($frame:expr),+) => {
        |heard, $stream| match heard {
            Heard::Ended => [$($frame),+].concat(),
            _ => Vec::new(),
        }
    };
}

pub(super) fn exchanges() -> Vec<Exchange> {
    [
        early_answers(),
        half_closed(),
        no_messages(),
        informational(),
        several_frames(),
        full_windows(),
        padding(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// RFC 9113, 8.1: a server may answer before the request has ended, and then asks for the rest not to be sent.
fn early_answers() -> Vec<Exchange> {
    let more: fn() -> Vec<Step> = || {
        let answered = Step::Until(|frame| frame.stream == STREAM && frame.ends_stream());
        vec![answered, send([data(STREAM, 0, &[1; 100]), end()])]
    };
    vec![
        Exchange {
            id: "early/1",
            does: "a refusal of one frame before the request has ended, and RST_STREAM of no error",
            caller: goes_on,
            application: at_once!(stream => trailers_only(stream, "3"), reset(stream, 0)),
            sees: "200 status 3, reset 0",
            hears: "begun",
        },
        Exchange {
            id: "early/2",
            does: "a whole answer before the request has ended, and RST_STREAM of no error",
            caller: goes_on,
            application: at_once!(stream => answer(stream), reset(stream, 0)),
            sees: "200, 15 bytes, status 0, reset 0",
            hears: "begun",
        },
        Exchange {
            id: "early/3",
            does: "a whole answer before the request has ended, and nothing more",
            caller: goes_on,
            application: at_once!(stream => answer(stream)),
            sees: "200, 15 bytes, status 0, reset 0",
            hears: "begun, reset 8",
        },
        Exchange {
            id: "early/4",
            does: "the rest of a request that has been answered is nobody's",
            caller: more,
            application: at_once!(stream => answer(stream), reset(stream, 0)),
            sees: "200, 15 bytes, status 0, reset 0",
            hears: "begun",
        },
    ]
}

fn half_closed() -> Vec<Exchange> {
    let after_head: fn() -> Vec<Step> = || vec![Step::Until(is_head), send([end()])];
    vec![
        Exchange {
            id: "half/1",
            does: "the request ends, then the answer begins",
            caller: ends,
            application: at_the_end!(stream => answer(stream)),
            sees: "200, 15 bytes, status 0",
            hears: "begun, end",
        },
        Exchange {
            id: "half/2",
            does: "the request ends between the answer's head and its message",
            caller: after_head,
            application: |heard, stream| match heard {
                Heard::Begun => head(stream),
                Heard::Ended => [message(stream), ok(stream)].concat(),
                _ => Vec::new(),
            },
            sees: "200, 15 bytes, status 0",
            hears: "begun, end",
        },
        Exchange {
            id: "half/3",
            does: "the request ends with bytes",
            caller: || vec![send([data(STREAM, END_STREAM, &grpc::frame(b"rest"))])],
            application: at_the_end!(stream => answer(stream)),
            sees: "200, 15 bytes, status 0",
            hears: "begun, 9 bytes, end",
        },
        Exchange {
            id: "half/4",
            does: "the request ends with trailers",
            caller: || vec![send([headers(STREAM, WHOLE, &[("x-checksum", "1")])])],
            application: at_the_end!(stream => answer(stream)),
            sees: "200, 15 bytes, status 0",
            hears: "begun, end",
        },
    ]
}

fn no_messages() -> Vec<Exchange> {
    vec![
        Exchange {
            id: "none/1",
            does: "head and trailers",
            caller: ends,
            application: at_the_end!(stream => head(stream), ok(stream)),
            sees: "200, status 0",
            hears: "begun, end",
        },
        Exchange {
            id: "none/2",
            does: "trailers only",
            caller: ends,
            application: at_the_end!(stream => trailers_only(stream, "0")),
            sees: "200 status 0",
            hears: "begun, end",
        },
        Exchange {
            id: "none/3",
            does: "an empty DATA between them",
            caller: ends,
            application: at_the_end!(stream => head(stream), data(stream, 0, b""), ok(stream)),
            sees: "200, status 0",
            hears: "begun, end",
        },
        Exchange {
            id: "none/4",
            does: "the head long before the trailers",
            caller: || vec![Step::Until(is_head), send([end()])],
            application: |heard, stream| match heard {
                Heard::Begun => head(stream),
                Heard::Ended => ok(stream),
                _ => Vec::new(),
            },
            sees: "200, status 0",
            hears: "begun, end",
        },
    ]
}

/// RFC 9110, 15.2.
fn informational() -> Vec<Exchange> {
    vec![
        Exchange {
            id: "1xx/1",
            does: "103 in front of the answer",
            caller: ends,
            application: at_the_end!(stream => early(stream, "103"), answer(stream)),
            sees: "103, 200, 15 bytes, status 0",
            hears: "begun, end",
        },
        Exchange {
            id: "1xx/2",
            does: "100 while the request goes on",
            caller: || {
                vec![
                    Step::Until(|frame| frame.field(":status") == Some("100")),
                    send([end()]),
                ]
            },
            application: |heard, stream| match heard {
                Heard::Begun => early(stream, "100"),
                Heard::Ended => answer(stream),
                _ => Vec::new(),
            },
            sees: "100, 200, 15 bytes, status 0",
            hears: "begun, end",
        },
        Exchange {
            id: "1xx/3",
            does: "as many as are allowed",
            caller: ends,
            application: at_the_end!(stream => early(stream, "102").repeat(8), answer(stream)),
            sees: "102, 102, 102, 102, 102, 102, 102, 102, 200, 15 bytes, status 0",
            hears: "begun, end",
        },
        Exchange {
            id: "1xx/4",
            does: "103 in front of trailers only",
            caller: ends,
            application: at_the_end!(stream => early(stream, "103"), trailers_only(stream, "5")),
            sees: "103, 200 status 5",
            hears: "begun, end",
        },
    ]
}

fn several_frames() -> Vec<Exchange> {
    vec![
        Exchange {
            id: "frames/1",
            does: "trailers of two frames",
            caller: ends,
            application: at_the_end!(stream => head(stream), message(stream), {
                let fields = [&[("grpc-status", "0")][..], &large()].concat();
                in_pieces(stream, END_STREAM, &fields, &[10_000])
            }),
            sees: "200, 15 bytes, status 0 and 20000 more",
            hears: "begun, end",
        },
        Exchange {
            id: "frames/2",
            does: "trailers of five frames, one of them empty, cut inside of fields",
            caller: ends,
            application: at_the_end!(stream => head(stream), message(stream), {
                let fields = [&[("grpc-status", "0")][..], &large()].concat();
                in_pieces(stream, END_STREAM, &fields, &[1, 5, 0, 4_000])
            }),
            sees: "200, 15 bytes, status 0 and 20000 more",
            hears: "begun, end",
        },
        Exchange {
            id: "frames/3",
            does: "a head of two frames",
            caller: ends,
            application: at_the_end!(stream => {
                let fields = [&HEAD[..], &large()].concat();
                in_pieces(stream, 0, &fields, &[9_000])
            }, message(stream), ok(stream)),
            sees: "200 and 20000 more, 15 bytes, status 0",
            hears: "begun, end",
        },
        Exchange {
            id: "frames/4",
            does: "trailers only, of two frames",
            caller: ends,
            application: at_the_end!(stream => {
                let fields = [&HEAD[..], &[("grpc-status", "9")], &large()].concat();
                in_pieces(stream, END_STREAM, &fields, &[9_000])
            }),
            sees: "200 status 9 and 20000 more",
            hears: "begun, end",
        },
    ]
}

/// RFC 9113, 5.2: DATA alone waits for a window; what stands behind it waits too.
fn full_windows() -> Vec<Exchange> {
    vec![
        Exchange {
            id: "window/1",
            does: "trailers wait behind a message that waits for its window",
            caller: || {
                let opens = send([window_update(STREAM, 15)]);
                vec![send([window(0), end()]), Step::Until(is_head), opens]
            },
            application: at_the_end!(stream => answer(stream)),
            sees: "200, 15 bytes, status 0",
            hears: "begun, end",
        },
        Exchange {
            id: "window/2",
            does: "trailers wait behind the last byte",
            caller: || {
                let opens = send([window_update(STREAM, 14)]);
                let last = send([window_update(STREAM, 1)]);
                vec![
                    send([window(0), end()]),
                    Step::Until(is_head),
                    opens,
                    Step::Until(is_data),
                    last,
                ]
            },
            application: at_the_end!(stream => answer(stream)),
            sees: "200, 15 bytes, status 0",
            hears: "begun, end",
        },
        Exchange {
            id: "window/3",
            does: "an answer without bytes waits for no window",
            caller: || vec![send([window(0), end()])],
            application: at_the_end!(stream => head(stream), ok(stream)),
            sees: "200, status 0",
            hears: "begun, end",
        },
    ]
}

/// RFC 9113, 6.1: padding is nobody's but the windows'.
fn padding() -> Vec<Exchange> {
    // More than a stream's window, of which the bytes are the smallest part.
    let much: fn() -> Vec<Step> = || {
        let pieces = |count: usize| {
            let piece = frame(kind::DATA, PADDED, STREAM, &padded(&[7; 5], 255));
            piece.repeat(count)
        };
        let has_room =
            Step::Until(|frame| frame.kind == kind::WINDOW_UPDATE && frame.stream == STREAM);
        vec![send([pieces(200)]), has_room, send([pieces(150), end()])]
    };
    vec![
        Exchange {
            id: "padding/1",
            does: "bytes of the request between padding",
            caller: || {
                let data = frame(
                    kind::DATA,
                    PADDED | END_STREAM,
                    STREAM,
                    &padded(&[7; 5], 100),
                );
                vec![send([data])]
            },
            application: at_the_end!(stream => answer(stream)),
            sees: "200, 15 bytes, status 0",
            hears: "begun, 5 bytes, end",
        },
        Exchange {
            id: "padding/2",
            does: "every frame of the answer with padding",
            caller: ends,
            application: at_the_end!(stream =>
                frame(kind::HEADERS, PADDED | END_HEADERS, stream, &padded(&block(&HEAD), 9)),
                frame(kind::DATA, PADDED, stream, &padded(&grpc::frame(&[7; 10]), 255)),
                frame(kind::HEADERS, PADDED | WHOLE, stream, &padded(&block(&[("grpc-status", "0")]), 1))
            ),
            sees: "200, 15 bytes, status 0",
            hears: "begun, end",
        },
        Exchange {
            id: "padding/3",
            does: "more padding than a window, in both directions",
            caller: much,
            application: at_the_end!(stream =>
                head(stream),
                frame(kind::DATA, PADDED, stream, &padded(&[7; 5], 255)).repeat(240),
                ok(stream)
            ),
            sees: "200, 1200 bytes, status 0",
            hears: "begun, 1750 bytes, end",
        },
    ]
}
