//! The same bytes into our server and into the `h2` crate's: the same requests come out, with the same fields and bodies, the same
//! streams are reset and the same connections end, by code. Where we differ on purpose stands in [`AGREED`], with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::HeaderMap;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::connection::{Config, Connection, Event, Role};
use super::frame::{HEAD, Head, PREFACE, flag, kind};
use super::hpack::Bounds;
use super::meter::Tolerance;
use super::script::{frame, literal};

/// What a server made of what it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// By stream: fields, path among them; the bytes of the body; whether it ended.
    requests: BTreeMap<u32, (BTreeSet<String>, usize, bool)>,
    resets: BTreeMap<u32, u32>,
    goaway: Option<u32>,
}

/// What both servers allow; wide, so that what is compared is the protocol and not our bounds.
const STREAMS: u32 = 8;
const WINDOW: u32 = 65_535;

const CONFIG: Config = Config {
    stream_window: WINDOW,
    connection_window: WINDOW,
    max_concurrent_streams: STREAMS,
    header_list: Bounds {
        bytes: 16 << 10,
        count: 100,
    },
    reset_memory: 100,
    asks_before_resets: false,
    tolerance: Tolerance {
        continuation_frames: 100,
        informational: 8,
        pending_accept_resets: 100,
        library_resets: 100,
        priority_frames: 100,
        window_update_frames: 100,
        ping_frames: 100,
        settings_frames: 100,
        unknown_frames: 100,
        empty_frames: 100,
        premature_resets: 500,
        ends_premature_resets: false,
    },
};

/// One thing a peer does.
#[derive(Clone, Debug)]
enum Step {
    /// A request, with one field more; its block in so many pieces.
    Open {
        stream: u32,
        field: usize,
        ends: bool,
        pieces: usize,
    },
    Data {
        stream: u32,
        length: usize,
        ends: bool,
        padding: Option<u8>,
    },
    Trailers {
        stream: u32,
        ends: bool,
    },
    Reset {
        stream: u32,
    },
    Window {
        stream: u32,
        increment: u32,
    },
    Settings {
        window: Option<u32>,
    },
    Ping,
    Priority {
        stream: u32,
        on: u32,
    },
    Unknown {
        stream: u32,
    },
}

/// Fields a request may have besides its pseudo fields; some are malformed.
const FIELDS: [(&str, &str); 12] = [
    ("x-a", "1"),
    ("te", "trailers"),
    ("content-length", "5"),
    ("content-length", "0"),
    ("accept", "*/*"),
    ("x-empty", ""),
    ("connection", "close"),
    ("te", "gzip"),
    ("X-Upper", "1"),
    (":status", "200"),
    (":unknown", "1"),
    ("transfer-encoding", "chunked"),
];

impl Step {
    fn stream(&self) -> u32 {
        match self {
            Self::Open { stream, .. }
            | Self::Data { stream, .. }
            | Self::Trailers { stream, .. }
            | Self::Reset { stream }
            | Self::Window { stream, .. }
            | Self::Priority { stream, .. }
            | Self::Unknown { stream } => *stream,
            Self::Settings { .. } | Self::Ping => 0,
        }
    }

    fn bytes(&self, number: usize) -> Vec<u8> {
        let end = |ends: bool| if ends { flag::END_STREAM } else { 0 };
        match self {
            Self::Open {
                stream,
                field,
                ends,
                pieces,
            } => {
                let (name, value) = FIELDS[*field];
                let mut block = vec![0x83, 0x86];
                block.extend(literal(":path", &format!("/{number}")));
                block.extend(literal(name, value));
                in_pieces(*stream, &block, end(*ends), *pieces)
            }
            Self::Data {
                stream,
                length,
                ends,
                padding,
            } => {
                let data = vec![7; *length];
                match padding {
                    None => frame(kind::DATA, end(*ends), *stream, &data),
                    Some(padding) => {
                        let payload =
                            [&[*padding], &data[..], &vec![0; usize::from(*padding)]].concat();
                        frame(kind::DATA, end(*ends) | flag::PADDED, *stream, &payload)
                    }
                }
            }
            Self::Trailers { stream, ends } => {
                let block = literal("x-trailer", "1");
                frame(
                    kind::HEADERS,
                    flag::END_HEADERS | end(*ends),
                    *stream,
                    &block,
                )
            }
            Self::Reset { stream } => frame(kind::RST_STREAM, 0, *stream, &[0, 0, 0, 8]),
            Self::Window { stream, increment } => {
                frame(kind::WINDOW_UPDATE, 0, *stream, &increment.to_be_bytes())
            }
            Self::Settings { window } => {
                let entry = window.map(|window| [&[0, 4][..], &window.to_be_bytes()].concat());
                frame(kind::SETTINGS, 0, 0, &entry.unwrap_or_default())
            }
            Self::Ping => frame(kind::PING, 0, 0, &[7; 8]),
            Self::Priority { stream, on } => {
                let payload = [&on.to_be_bytes()[..], &[16]].concat();
                frame(kind::PRIORITY, 0, *stream, &payload)
            }
            Self::Unknown { stream } => frame(0x1f, 0, *stream, b"unknown"),
        }
    }
}

fn in_pieces(stream: u32, block: &[u8], flags: u8, pieces: usize) -> Vec<u8> {
    let size = block.len().div_ceil(pieces);
    let chunks: Vec<_> = block.chunks(size).collect();
    let mut bytes = Vec::new();
    for (index, chunk) in chunks.iter().enumerate() {
        let last = if index + 1 == chunks.len() {
            flag::END_HEADERS
        } else {
            0
        };
        bytes.extend(match index {
            0 => frame(kind::HEADERS, flags | last, stream, chunk),
            _ => frame(kind::CONTINUATION, last, stream, chunk),
        });
    }
    bytes
}

fn step() -> impl Strategy<Value = Step> {
    let stream = prop_oneof![8 => prop::sample::select(vec![1_u32, 3, 5, 7]), 1 => prop::sample::select(vec![0_u32, 2, 9])];
    let ends = any::<bool>;
    prop_oneof![
        5 => (stream.clone(), 0..FIELDS.len(), ends(), 1..4_usize)
            .prop_map(|(stream, field, ends, pieces)| Step::Open { stream, field, ends, pieces }),
        5 => (stream.clone(), 0..8_usize, ends(), prop::option::weighted(0.2, 0..9_u8))
            .prop_map(|(stream, length, ends, padding)| Step::Data { stream, length, ends, padding }),
        2 => (stream.clone(), prop::bool::weighted(0.8)).prop_map(|(stream, ends)| Step::Trailers { stream, ends }),
        2 => stream.clone().prop_map(|stream| Step::Reset { stream }),
        1 => (stream.clone(), prop::sample::select(vec![0, 1, 1000, (1 << 31) - 1]))
            .prop_map(|(stream, increment)| Step::Window { stream, increment }),
        1 => prop::option::of(prop::sample::select(vec![0, 100, (1 << 31) - 1, 1 << 31])).prop_map(|window| Step::Settings { window }),
        1 => Just(Step::Ping),
        1 => (stream.clone(), stream.clone()).prop_map(|(stream, on)| Step::Priority { stream, on }),
        1 => stream.prop_map(|stream| Step::Unknown { stream }),
    ]
}

fn listed(path: &str, headers: &HeaderMap) -> BTreeSet<String> {
    let fields = headers.iter();
    let path = std::iter::once(path.to_owned());
    path.chain(
        fields
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))),
    )
    .collect()
}

/// What a server wrote: resets and the code of GOAWAY.
fn read_output(mut written: &[u8], seen: &mut Seen) {
    while let Some((head, rest)) = written.split_first_chunk::<HEAD>() {
        let head = Head::parse(*head);
        let (payload, rest) = rest.split_at(head.length as usize);
        let code = |from: usize| u32::from_be_bytes(payload[from..from + 4].try_into().unwrap());
        match head.kind {
            kind::RST_STREAM => {
                seen.resets.entry(head.stream).or_insert(code(0));
            }
            kind::GOAWAY => seen.goaway = Some(code(4)),
            _ => {}
        }
        written = rest;
    }
}

fn ours(bytes: &[u8]) -> Seen {
    let mut connection = Connection::new(Role::Server, CONFIG);
    let mut seen = Seen::default();
    let received = connection.receive(bytes, Instant::now(), &mut |event| match event {
        Event::Request {
            stream,
            request,
            ends_stream,
        } => {
            let fields = listed(request.path.as_str(), &request.headers);
            seen.requests.insert(stream, (fields, 0, ends_stream));
        }
        Event::Data {
            stream,
            data,
            ends_stream,
        } => {
            let request = seen.requests.get_mut(&stream).expect("DATA of a request");
            (request.1, request.2) = (request.1 + data.len(), ends_stream);
        }
        Event::Trailers { stream, .. } => {
            let request = seen.requests.get_mut(&stream);
            request.expect("trailers of a request").2 = true;
        }
        _ => {}
    });
    if let Err(fault) = received {
        connection.give_up(fault);
    }
    read_output(connection.output(), &mut seen);
    seen
}

async fn theirs(bytes: &[u8]) -> Seen {
    let (near, far) = tokio::io::duplex(1 << 20);
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(16 << 10);
    let requests = std::rc::Rc::new(std::cell::RefCell::new(BTreeMap::new()));
    let served = {
        let requests = std::rc::Rc::clone(&requests);
        async move {
            let Ok(mut connection) = builder.handshake::<_, bytes::Bytes>(far).await else {
                return;
            };
            let mut kept = Vec::new();
            let mut bodies = tokio::task::JoinSet::new();
            while let Some(accepted) = connection.accept().await {
                let Ok((request, respond)) = accepted else {
                    break;
                };
                let (head, mut body) = request.into_parts();
                let fields = listed(head.uri.path(), &head.headers);
                let stream = respond.stream_id().as_u32();
                kept.push(respond);
                let ended = body.is_end_stream();
                requests.borrow_mut().insert(stream, (fields, 0, ended));
                let requests = std::rc::Rc::clone(&requests);
                bodies.spawn_local(async move {
                    while let Some(Ok(data)) = body.data().await {
                        let _ = body.flow_control().release_capacity(data.len());
                        let ends = body.is_end_stream();
                        let mut requests = requests.borrow_mut();
                        let request = requests.get_mut(&stream).unwrap();
                        (request.1, request.2) = (request.1 + data.len(), ends);
                    }
                    if let Ok(Some(_)) = body.trailers().await {
                        requests.borrow_mut().get_mut(&stream).unwrap().2 = true;
                    }
                    if body.is_end_stream() {
                        requests.borrow_mut().get_mut(&stream).unwrap().2 = true;
                    }
                    std::future::pending::<()>().await;
                });
            }
        }
    };
    let (mut reader, mut writer) = tokio::io::split(near);
    let mut written = Vec::new();
    let exchanged = async {
        writer.write_all(bytes).await.unwrap();
        // Answered once all before it was looked at; what that came to is written before the second answer.
        for payload in [b"the end?", b"the end!"] {
            let _ = writer.write_all(&frame(kind::PING, 0, 0, payload)).await;
            let answer = frame(kind::PING, flag::ACK, 0, payload);
            while !written.windows(answer.len()).any(|window| window == answer) {
                match reader.read_buf(&mut written).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
        }
        // The bodies' tasks run once more.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    };
    let both = async {
        tokio::select! {
            biased;
            () = exchanged => {}
            () = async { served.await; std::future::pending::<()>().await } => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(5), both)
        .await
        .expect("an answer");
    let mut seen = Seen {
        requests: requests.borrow().clone(),
        ..Seen::default()
    };
    read_output(&written, &mut seen);
    seen
}

type Rule = fn(&[Step], &Seen, &Seen) -> bool;

/// Where we differ on purpose, and why.
const AGREED: [(&str, Rule); 7] = [
    (
        "RFC 9113, 5.1: nothing but PRIORITY may be sent on an idle stream, so what would reset it ends the connection; the crate resets it",
        |steps, ours, _| {
            let is_own =
                |step: &Step| matches!(step, Step::Priority { stream, on } if stream == on);
            ours.goaway == Some(1) && steps.iter().any(is_own)
        },
    ),
    (
        "RFC 9113, 5.1.1: fields on an even stream, or on one below another that was opened, end the connection, whatever else is wrong",
        |steps, ours, _| {
            let opens = |step: &Step| matches!(step, Step::Open { .. } | Step::Trailers { .. });
            let ids: Vec<_> = steps
                .iter()
                .filter(|step| opens(step))
                .map(Step::stream)
                .collect();
            ours.goaway == Some(1) && (!ids.is_sorted() || ids.iter().any(|id| id % 2 == 0))
        },
    ),
    (
        "RFC 9113, 5.1: what a peer sends behind its own reset is answered STREAM_CLOSED or let pass; the crate ends the connection",
        |steps, ours, theirs| {
            let behind = |(place, step): (usize, &Step)| {
                let reset = matches!(step, Step::Reset { .. });
                reset
                    && steps
                        .iter()
                        .skip(place + 1)
                        .any(|later| later.stream() == step.stream())
            };
            let found = steps.iter().enumerate().any(behind);
            found && ours.goaway.is_none() && matches!(theirs.goaway, Some(1 | 5))
        },
    ),
    (
        "RFC 9113, 6.9: an increment of 0 on a stream is its stream's fault; the crate ends the connection",
        |steps, _, theirs| {
            let is_nothing = |step: &Step| {
                matches!(
                    step,
                    Step::Window {
                        stream: 1..,
                        increment: 0
                    }
                )
            };
            steps.iter().any(is_nothing) && theirs.goaway == Some(1)
        },
    ),
    (
        "RFC 9113, 5.1: a frame behind END_STREAM is its stream's fault, STREAM_CLOSED; the crate says PROTOCOL_ERROR or ends the connection",
        |_, ours, theirs| {
            let said = |stream: &u32| theirs.resets.get(stream).copied().or(theirs.goaway);
            let mut closed = ours.resets.iter().filter(|(_, code)| **code == 5);
            ours.goaway.is_none() && closed.any(|(stream, _)| matches!(said(stream), Some(1 | 5)))
        },
    ),
    (
        "a field that is no field is its stream's fault (RFC 9113, 8.1.1), not its neighbours'; the crate's decoder ends the connection",
        |steps, _, theirs| {
            let is_no_field = |step: &Step| matches!(step, Step::Open { field: 8 | 10, .. });
            steps.iter().any(is_no_field) && theirs.goaway == Some(1)
        },
    ),
    (
        "RFC 9113, 6.5.2: a window above 2^31 - 1 is a FLOW_CONTROL_ERROR; the crate says PROTOCOL_ERROR",
        |steps, ours, theirs| {
            let is_wide = |step: &Step| matches!(step, Step::Settings { window: Some(window) } if window >> 31 == 1);
            steps.iter().any(is_wide) && (ours.goaway, theirs.goaway) == (Some(3), Some(1))
        },
    ),
];

/// A stream that the peer resets itself needs no reset of ours: who is first is a matter of timing.
fn without_races(steps: &[Step], mut ours: Seen, mut theirs: Seen) -> (Seen, Seen) {
    // Of a stream that was reset it does not matter how much of its body had been seen.
    let reset: BTreeSet<_> = ours
        .resets
        .keys()
        .chain(theirs.resets.keys())
        .copied()
        .collect();
    for seen in [&mut ours, &mut theirs] {
        for (stream, request) in &mut seen.requests {
            if reset.contains(stream) {
                (request.1, request.2) = (0, true);
            }
        }
    }
    for step in steps
        .iter()
        .filter(|step| matches!(step, Step::Reset { .. }))
    {
        let stream = step.stream();
        let found = ours
            .resets
            .get(&stream)
            .or(theirs.resets.get(&stream))
            .copied();
        if let Some(code) = found {
            ours.resets.entry(stream).or_insert(code);
            theirs.resets.entry(stream).or_insert(code);
        }
    }
    (ours, theirs)
}

fn agree(steps: &[Step], ours: &Seen, theirs: &Seen) -> bool {
    // A connection that ends: the crate then hands out nothing of what came in the same read.
    if ours.goaway.is_some() && ours.goaway == theirs.goaway {
        return true;
    }
    ours == theirs || AGREED.iter().any(|(_, rule)| rule(steps, ours, theirs))
}

fn compared(steps: &[Step]) -> (Seen, Seen) {
    let mut bytes = [&PREFACE[..], &frame(kind::SETTINGS, 0, 0, &[])].concat();
    let mut opened = BTreeSet::new();
    for (number, step) in steps.iter().enumerate() {
        bytes.extend(match step {
            // The crate leaves pseudo fields out of trailers; we refuse them, and a test of their own says so.
            Step::Open { stream, ends, .. } if !opened.insert(*stream) => {
                let (stream, ends) = (*stream, *ends);
                Step::Trailers { stream, ends }.bytes(number)
            }
            step => step.bytes(number),
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    without_races(steps, ours(&bytes), runtime.block_on(theirs(&bytes)))
}

proptest! {
    #[test]
    fn we_and_the_h2_crate_see_the_same(steps in prop::collection::vec(step(), 1..10)) {
        let (ours, theirs) = compared(&steps);
        prop_assert!(agree(&steps, &ours, &theirs), "ours   {:?}\ntheirs {:?}", ours, theirs);
    }
}
