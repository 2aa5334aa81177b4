//! The families of attacks on HTTP/2, each with the frames it is made of and how it may end.

use std::time::Duration;

use outrigger_tests::attacker::{Attack, Manner};
use outrigger_tests::raw::{self, END_HEADERS, END_STREAM, frame, kind};

/// How a connection may end, by GOAWAY's text. Towards our own application a connection that made us reset many streams is drained,
/// which has none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// It is ended, at the edge and towards the application.
    Ended(&'static [&'static str]),
    /// It is ended at the edge; our own application may do so.
    EndedAtEdge(&'static [&'static str]),
    /// It costs nobody anything, though it may be ended.
    Harmless(&'static [&'static str]),
}

const PRIORITY: u8 = 0x20;
const STALL: &str = "/test.Echo/Stall";
const RESETS: &[&str] = &["too_many_internal_resets", "too_many_premature_resets", ""];

fn many(count: u32, each: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(each).collect()
}

fn nothing() -> Vec<u8> {
    Vec::new()
}

fn head_with(stream: u32, path: &str, flags: u8, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = raw::grpc("orders", path);
    fields.extend_from_slice(more);
    frame(
        kind::HEADERS,
        flags | END_HEADERS,
        stream,
        &raw::block(&fields),
    )
}

fn head(stream: u32, path: &str, flags: u8) -> Vec<u8> {
    head_with(stream, path, flags, &[])
}

fn reset(stream: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

fn window(stream: u32, increment: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// The n-th of the streams of a volley that opens `of` of them.
fn id(volley: u32, of: u32, n: u32) -> u32 {
    2 * (volley * of + n) + 1
}

fn opened() -> Vec<u8> {
    head(1, STALL, 0)
}

/// Streams whose first frame is one too many.
fn each_stream(volley: u32, frames: fn(u32) -> Vec<u8>) -> Vec<u8> {
    many(32, |n| frames(id(volley, 32, n)))
}

fn unwanted(stream: u32) -> Vec<u8> {
    head_with(stream, STALL, END_STREAM, &[("connection", "close")])
}

fn nameless(stream: u32) -> Vec<u8> {
    let mut block = raw::block(&raw::grpc("orders", STALL));
    block.extend([0, 0, 0].repeat(80));
    frame(kind::HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

fn overflowing(stream: u32) -> Vec<u8> {
    [head(stream, STALL, 0), window(stream, (1 << 31) - 1)].concat()
}

fn of_nothing(stream: u32) -> Vec<u8> {
    [head(stream, STALL, 0), window(stream, 0)].concat()
}

fn behind_the_end(stream: u32) -> Vec<u8> {
    [
        head(stream, STALL, END_STREAM),
        frame(kind::DATA, 0, stream, b"late"),
    ]
    .concat()
}

fn on_itself(stream: u32) -> Vec<u8> {
    let mut payload = stream.to_be_bytes().to_vec();
    payload.push(16);
    payload.extend(raw::block(&raw::grpc("orders", STALL)));
    frame(kind::HEADERS, PRIORITY | END_HEADERS, stream, &payload)
}

fn short_priority(stream: u32) -> Vec<u8> {
    [
        head(stream, STALL, 0),
        frame(kind::PRIORITY, 0, stream, &[0; 4]),
    ]
    .concat()
}

fn by_deadline(stream: u32) -> Vec<u8> {
    head_with(stream, STALL, 0, &[("grpc-timeout", "1m")])
}

fn by_error(stream: u32) -> Vec<u8> {
    head_with(stream, STALL, 0, &[("grpc-timeout", "soon")])
}

/// A unary call whose message comes byte by byte.
fn byte_by_byte(volley: u32) -> Vec<u8> {
    let stream = id(volley, 1, 0);
    let mut message = vec![0, 0, 0, 0, 195];
    message.resize(200, b'x');
    let (last, others) = message.split_last().expect("200 bytes");
    let mut frames = head(stream, "/test.Echo/Echo", 0);
    for byte in others {
        frames.extend(frame(kind::DATA, 0, stream, &[*byte]));
    }
    frames.extend(frame(kind::DATA, END_STREAM, stream, &[*last]));
    frames
}

fn narrow() -> Vec<u8> {
    let closed = frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    [closed, head(1, "/test.Echo/Drip", END_STREAM)].concat()
}

fn wide() -> Vec<u8> {
    let open = frame(kind::SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    [open, window(0, 1 << 30)].concat()
}

const fn flood(name: &'static str, opening: fn() -> Vec<u8>, volley: fn(u32) -> Vec<u8>) -> Attack {
    Attack {
        name,
        opening,
        volley,
        manner: Manner::Flood,
    }
}

const fn paced(name: &'static str, volley: fn(u32) -> Vec<u8>) -> Attack {
    Attack {
        name,
        opening: nothing,
        volley,
        manner: Manner::Paced(Duration::from_millis(4)),
    }
}

/// All of them (limits of a connection and what each is known by in the lists of vulnerabilities).
pub(crate) fn all() -> Vec<(Attack, Outcome)> {
    let floods = [
        // 2019-9512.
        (
            flood("ping flood", nothing, |_| {
                many(256, |_| frame(kind::PING, 0, 0, &[7; 8]))
            }),
            Outcome::Ended(&["too_many_pings"]),
        ),
        // 2019-9515.
        (
            flood("settings flood", nothing, |_| {
                many(256, |_| frame(kind::SETTINGS, 0, 0, &[]))
            }),
            Outcome::Ended(&["too_many_settings"]),
        ),
        // 2020-11080.
        (
            flood("very large settings", nothing, |_| {
                frame(kind::SETTINGS, 0, 0, &[0, 9, 0, 0, 0, 1].repeat(2700))
            }),
            Outcome::EndedAtEdge(&["too_many_settings"]),
        ),
        // 2019-9513.
        (
            flood("priority shuffling", opened, |_| {
                many(256, |_| frame(kind::PRIORITY, 0, 1, &[0; 5]))
            }),
            Outcome::Ended(&["too_many_priorities"]),
        ),
        // 2026-27141.
        (
            flood("unknown frames", nothing, |_| {
                many(256, |n| {
                    frame(0x0a + u8::try_from(n % 16).unwrap_or(0), 0, 0, &[])
                })
            }),
            Outcome::Ended(&["too_many_unknown_frames"]),
        ),
        (
            flood("window updates", opened, |_| many(256, |_| window(0, 1))),
            Outcome::Ended(&["too_many_window_updates"]),
        ),
        // 2019-9518.
        (
            flood("empty frames", opened, |_| {
                many(256, |_| frame(kind::DATA, 0, 1, &[]))
            }),
            Outcome::Ended(&["too_many_data_frames"]),
        ),
        // 2024-27919.
        (
            flood(
                "continuation flood",
                || frame(kind::HEADERS, 0, 1, &[]),
                |_| many(256, |_| frame(kind::CONTINUATION, 0, 1, &[])),
            ),
            Outcome::Ended(&["too_many_continuations"]),
        ),
        // 2026-33814.
        (
            flood("frames of no size", nothing, |_| {
                frame(kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 0])
            }),
            Outcome::Ended(&["SETTINGS_MAX_FRAME_SIZE is not within 2^14 and 2^24 - 1"]),
        ),
        (
            flood("oversize frames", opened, |_| {
                frame(kind::DATA, 0, 1, &[0; 16_385])
            }),
            Outcome::Ended(&["a frame larger than we allow"]),
        ),
        (
            flood("goaway flood", nothing, |_| {
                many(256, |_| frame(kind::GOAWAY, 0, 0, &[0; 8]))
            }),
            Outcome::Ended(&["too_many_unknown_frames"]),
        ),
        (
            flood("answers to no ping", nothing, |_| {
                many(256, |_| frame(kind::PING, raw::ACK, 0, &[7; 8]))
            }),
            Outcome::Ended(&["too_many_unknown_frames"]),
        ),
    ];
    [&floods[..], &by_reset()[..], &slow()[..]].concat()
}

fn by_reset() -> [(Attack, Outcome); 12] {
    let made =
        |name, frames: fn(u32) -> Vec<u8>| (flood(name, nothing, frames), Outcome::Ended(RESETS));
    [
        // 2019-9514, 2019-9516.
        made("invalid requests", |volley| each_stream(volley, unwanted)),
        made("zero-length headers", |volley| {
            each_stream(volley, nameless)
        }),
        // 2025-8671: what makes us reset.
        made("window overflow", |volley| each_stream(volley, overflowing)),
        made("zero increments", |volley| each_stream(volley, of_nothing)),
        made("data behind the end", |volley| {
            each_stream(volley, behind_the_end)
        }),
        made("dependence on oneself", |volley| {
            each_stream(volley, on_itself)
        }),
        made("priorities of a wrong length", |volley| {
            each_stream(volley, short_priority)
        }),
        // 2023-44487.
        (
            flood("rapid reset in bursts", nothing, |volley| {
                each_stream(volley, |stream| {
                    [head(stream, STALL, 0), reset(stream)].concat()
                })
            }),
            Outcome::EndedAtEdge(&["too_many_resets", "too_many_premature_resets"]),
        ),
        (
            paced("rapid reset at a pace", |volley| {
                let before = volley.saturating_sub(1);
                let resets = many(20, |n| reset(id(before, 20, n)));
                let heads = many(20, |n| head(id(volley, 20, n), STALL, 0));
                if volley == 0 {
                    heads
                } else {
                    [resets, heads].concat()
                }
            }),
            Outcome::EndedAtEdge(&["too_many_resets", "too_many_premature_resets"]),
        ),
        (
            paced("rapid reset by deadline", |volley| {
                many(20, |n| by_deadline(id(volley, 20, n)))
            }),
            Outcome::EndedAtEdge(RESETS),
        ),
        (
            paced("rapid reset by early error", |volley| {
                many(20, |n| by_error(id(volley, 20, n)))
            }),
            Outcome::EndedAtEdge(RESETS),
        ),
        (
            Attack {
                name: "rapid reset by goaway",
                opening: nothing,
                volley: |_| {
                    let heads = many(50, |n| head(id(0, 0, n), STALL, 0));
                    [heads, frame(kind::GOAWAY, 0, 0, &[0; 8])].concat()
                },
                manner: Manner::HangUp,
            },
            Outcome::Harmless(&[]),
        ),
    ]
}

fn slow() -> [(Attack, Outcome); 3] {
    [
        // 2019-9511.
        (
            flood("data dribble", narrow, |_| many(64, |_| window(1, 1))),
            Outcome::Harmless(&["too_many_window_updates"]),
        ),
        // 2019-9517.
        (
            Attack {
                name: "answers nobody reads",
                opening: wide,
                volley: |volley| match volley {
                    0..5 => many(10, |n| {
                        head(id(volley, 10, n), "/test.Echo/Drip", END_STREAM)
                    }),
                    _ => Vec::new(),
                },
                manner: Manner::Deaf,
            },
            Outcome::Harmless(&[]),
        ),
        // RUSTSEC-2026-0258.
        (
            Attack {
                // Else its answers fill the connection's window after a second, and its streams their bound.
                opening: wide,
                ..paced("tiny data frames", byte_by_byte)
            },
            Outcome::Harmless(&[]),
        ),
    ]
}
