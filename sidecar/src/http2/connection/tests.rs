//! Both roles against each other, and a server against frames that no peer should send, as h2spec sends them.

/// Streams that nobody wants any more.
mod abandoned;

use proptest::prelude::*;

use super::*;
use crate::http2::frame::{Fault, HEAD, Head, PREFACE, flag, kind};
use crate::http2::hpack::Indexing;
use crate::http2::script::{frame, literal};
use crate::http2::stream::Wrong;

const CONFIG: Config = Config {
    stream_window: 65_535,
    connection_window: 1 << 20,
    max_concurrent_streams: 4,
    header_list: Bounds {
        bytes: 16 << 10,
        count: 100,
    },
    reset_memory: 16,
    asks_before_resets: false,
    tolerance: TOLERANCE,
};

const TOLERANCE: Tolerance = Tolerance {
    continuation_frames: 5,
    informational: 8,
    pending_accept_resets: 8,
    library_resets: 8,
    priority_frames: 8,
    window_update_frames: 1,
    ping_frames: 8,
    settings_frames: 8,
    unknown_frames: 8,
    empty_frames: 8,
    premature_resets: 500,
    ends_premature_resets: true,
};

type Fields<'a> = Vec<Outgoing<'a>>;

fn fields<'a>(pairs: &[(&'a str, &'a str)]) -> Fields<'a> {
    let plain = |(name, value): &(&'a str, &'a str)| {
        (name.as_bytes(), value.as_bytes(), Indexing::Incremental)
    };
    pairs.iter().map(plain).collect()
}

fn post<'a>() -> Fields<'a> {
    fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/a.B/C"),
        (":authority", "orders"),
    ])
}

/// An event that outlives what was read.
fn own(event: Event<'_>) -> Event<'static> {
    let leak = |bytes: &[u8]| &*bytes.to_vec().leak();
    match event {
        Event::Data {
            stream,
            data,
            ends_stream,
        } => Event::Data {
            stream,
            data: leak(data),
            ends_stream,
        },
        Event::GoAway {
            last_stream,
            code,
            debug,
        } => Event::GoAway {
            last_stream,
            code,
            debug: leak(debug),
        },
        Event::Request {
            stream,
            request,
            ends_stream,
        } => Event::Request {
            stream,
            request,
            ends_stream,
        },
        Event::Response {
            stream,
            response,
            ends_stream,
        } => Event::Response {
            stream,
            response,
            ends_stream,
        },
        Event::TooLarge { stream, is_grpc } => Event::TooLarge { stream, is_grpc },
        Event::Trailers { stream, trailers } => Event::Trailers { stream, trailers },
        Event::Reset { stream, code } => Event::Reset { stream, code },
        Event::Failed { stream, code, why } => Event::Failed { stream, code, why },
        Event::Room { stream } => Event::Room { stream },
        Event::Untaken { stream } => Event::Untaken { stream },
        Event::Pong(payload) => Event::Pong(payload),
        Event::Met(limit) => Event::Met(limit),
    }
}

/// One end, and what it has not taken yet.
struct Side {
    connection: Connection,
    unread: Vec<u8>,
    now: Instant,
}

impl Side {
    fn new(role: Role, config: Config) -> Self {
        Self {
            connection: Connection::new(role, config),
            unread: Vec::new(),
            now: Instant::now(),
        }
    }

    /// A turn.
    fn hear(&mut self, bytes: &[u8]) -> Result<Vec<Event<'static>>, Fault> {
        let mut events = Vec::new();
        self.hear_into(bytes, &mut events)?;
        Ok(events)
    }

    fn hear_into(&mut self, bytes: &[u8], events: &mut Vec<Event<'static>>) -> Result<(), Fault> {
        self.unread.extend_from_slice(bytes);
        self.connection.begin_turn();
        let taken = self
            .connection
            .receive(&self.unread, self.now, &mut |event| events.push(own(event)))?;
        self.unread.drain(..taken);
        Ok(())
    }

    fn open(&mut self, ends: bool) -> Result<u32, Full> {
        self.connection.open(post(), false, ends, self.now)
    }

    fn written(&mut self) -> Vec<u8> {
        std::mem::take(self.connection.output())
    }
}

/// A client and a server that have heard each other's SETTINGS.
struct Pair {
    client: Side,
    server: Side,
}

impl Pair {
    fn new(server: Config) -> Self {
        let mut pair = Self {
            client: Side::new(Role::Client, CONFIG),
            server: Side::new(Role::Server, server),
        };
        pair.reach_server();
        pair.reach_client();
        pair.reach_server();
        pair
    }

    fn reach_server(&mut self) -> Vec<Event<'static>> {
        let bytes = self.client.written();
        self.server.hear(&bytes).unwrap()
    }

    fn reach_client(&mut self) -> Vec<Event<'static>> {
        let bytes = self.server.written();
        self.client.hear(&bytes).unwrap()
    }
}

#[test]
fn a_call_goes_there_and_back() {
    let mut pair = Pair::new(CONFIG);
    let stream = pair.client.open(false).unwrap();
    let sent = pair.client.connection.send_data(stream, b"hello", true);
    assert_eq!(sent, Ok(5));
    let events = pair.reach_server();
    let [Event::Request { request, .. }, Event::Data { data, .. }] = &events[..] else {
        panic!("a request with a body: {events:?}")
    };
    assert_eq!((request.path.as_str(), *data), ("/a.B/C", &b"hello"[..]));
    pair.server.connection.forwarded(stream, 5);

    let server = &mut pair.server.connection;
    for (status, informational) in [("103", true), ("200", false)] {
        let head = fields(&[(":status", status)]);
        server
            .send_fields(stream, head, informational, false)
            .unwrap();
    }
    assert_eq!(server.send_data(stream, b"world", false), Ok(5));
    let trailers = fields(&[("grpc-status", "0")]);
    server.send_fields(stream, trailers, false, true).unwrap();
    let events = pair.reach_client();
    let statuses: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Response { response, .. } => Some(response.status.as_u16()),
            _ => None,
        })
        .collect();
    assert_eq!(statuses, [103, 200]);
    let Some(Event::Trailers { trailers, .. }) = events.last() else {
        panic!("trailers: {events:?}")
    };
    assert_eq!(trailers["grpc-status"], "0");
    pair.client.connection.forwarded(stream, 5);
    let open = [&pair.client, &pair.server].map(|side| side.connection.open_streams());
    assert_eq!(open, [0, 0]);
}

/// However many of them wait; once they left, the next one is a frame of its own.
#[test]
fn small_pieces_that_wait_behind_each_other_share_a_frame() {
    let mut pair = Pair::new(CONFIG);
    let [one, other] = [(); 2].map(|()| pair.client.open(false).unwrap());
    let pieces = [
        (one, &b"a"[..], false),
        (one, b"b", false),
        (other, b"c", false),
        (one, b"d", false),
        (one, b"e", true),
        (other, b"f", false),
    ];
    for (stream, data, ends) in pieces {
        let sent = pair.client.connection.send_data(stream, data, ends);
        assert_eq!(sent, Ok(1));
    }
    let mut events = pair.reach_server();
    let sent = pair.client.connection.send_data(other, b"g", false);
    assert_eq!(sent, Ok(1));
    events.extend(pair.reach_server());
    let data: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Data {
                stream,
                data,
                ends_stream,
            } => Some((*stream, *data, *ends_stream)),
            _ => None,
        })
        .collect();
    let expected = [
        (one, &b"ab"[..], false),
        (other, b"c", false),
        (one, b"de", true),
        (other, b"f", false),
        (other, b"g", false),
    ];
    assert_eq!(data, expected);
}

#[test]
fn pieces_share_no_frame_larger_than_every_peer_takes() {
    let mut pair = Pair::new(CONFIG);
    let stream = pair.client.open(false).unwrap();
    let mut lengths = Vec::new();
    for _ in 0..5 {
        let sent = pair.client.connection.send_data(stream, &[7; 7000], false);
        assert_eq!(sent, Ok(7000));
    }
    for event in pair.reach_server() {
        if let Event::Data { data, .. } = event {
            lengths.push(data.len());
        }
    }
    assert_eq!(lengths, [14_000, 14_000, 7000]);
}

/// Each has room left by itself.
#[test]
fn all_streams_together_stop_at_the_window_of_the_connection() {
    let wide = Config {
        stream_window: CONFIG.connection_window,
        ..CONFIG
    };
    let mut pair = Pair::new(wide);
    pair.reach_server();
    pair.reach_client();
    let mut sent = 0;
    for _ in 0..3 {
        let stream = pair.client.open(false).unwrap();
        for _ in 0..4 {
            let data = [7; 200_000];
            sent += pair
                .client
                .connection
                .send_data(stream, &data, false)
                .unwrap();
            pair.reach_server();
            pair.reach_client();
        }
    }
    assert_eq!(sent, CONFIG.connection_window as usize);
}

#[test]
fn what_nobody_forwards_stops_its_sender_and_no_other() {
    let mut pair = Pair::new(CONFIG);
    let (slow, fast) = (
        pair.client.open(false).unwrap(),
        pair.client.open(false).unwrap(),
    );
    let data = vec![7; 300_000];
    let send =
        |pair: &mut Pair, stream, data: &[u8]| pair.client.connection.send_data(stream, data, true);
    assert_eq!(send(&mut pair, slow, &data), Ok(65_535));
    assert_eq!(send(&mut pair, slow, &data), Ok(0));
    let (mut sent, mut received) = (0, 0);
    while received < data.len() {
        sent += send(&mut pair, fast, &data[sent..]).unwrap();
        for event in pair.reach_server() {
            if let Event::Data { stream, data, .. } = event
                && stream == fast
            {
                received += data.len();
                let bytes = u32::try_from(data.len()).unwrap();
                pair.server.connection.forwarded(stream, bytes);
            }
        }
        pair.reach_client();
    }
    assert_eq!((sent, received), (data.len(), data.len()));
    // The slow one is given up: the connection has its bytes back.
    pair.server.connection.reset(slow, Code::CANCEL);
    let reset = Event::Reset {
        stream: slow,
        code: Code::CANCEL,
    };
    assert!(pair.reach_client().contains(&reset));
    assert_eq!(pair.server.connection.held(), 0);
    assert_eq!(send(&mut pair, slow, &data), Err(Wrong::Late));
}

#[test]
fn streams_beyond_the_peers_bound_are_not_opened() {
    let mut pair = Pair::new(CONFIG);
    for _ in 0..4 {
        pair.client.open(false).unwrap();
    }
    assert_eq!(pair.client.open(false), Err(Full::Streams));
    pair.reach_server();
    pair.server.connection.reset(1, Code::CANCEL);
    pair.reach_client();
    assert_eq!(pair.client.open(true), Ok(9));
}

#[test]
fn a_smaller_window_holds_for_open_streams() {
    let mut pair = Pair::new(CONFIG);
    let stream = pair.client.open(false).unwrap();
    let sent = pair.client.connection.send_data(stream, &[0; 1000], false);
    assert_eq!(sent, Ok(1000));
    let mut bytes = Vec::new();
    let smaller = Settings {
        initial_window_size: Some(500),
        ..Settings::default()
    };
    frame::settings(&smaller, &mut bytes);
    pair.client.hear(&bytes).unwrap();
    assert_eq!(pair.client.connection.send_data(stream, b"x", true), Ok(0));
    bytes.clear();
    frame::window_update(stream, 501, &mut bytes);
    pair.client.hear(&bytes).unwrap();
    assert_eq!(pair.client.connection.send_data(stream, b"x", true), Ok(1));
}

#[test]
fn after_our_goaway_new_streams_are_refused_and_old_ones_go_on() {
    let mut pair = Pair::new(CONFIG);
    let old = pair.client.open(false).unwrap();
    pair.reach_server();
    pair.server.connection.go_away(Code::NO_ERROR, "bye");
    let late = pair.client.open(true).unwrap();
    assert_eq!(pair.client.connection.send_data(old, b"x", true), Ok(1));
    let events = pair.reach_server();
    assert!(
        events.iter().any(
            |event| matches!(event, Event::Failed { stream, code: Code::REFUSED_STREAM, .. } if *stream == late)
        ) && events
            .iter()
            .any(|event| matches!(event, Event::Data { stream, .. } if *stream == old)),
        "{events:?}"
    );
    let goaway = Event::GoAway {
        last_stream: old,
        code: Code::NO_ERROR,
        debug: b"bye",
    };
    let events = pair.reach_client();
    assert!(events.contains(&goaway));
    assert!(events.contains(&Event::Untaken { stream: late }));
}

/// `:method GET`, `:scheme http`, `:path /`, by their static indices.
const GET: &[u8] = &[0x82, 0x86, 0x84];

fn get(stream: u32, flags: u8) -> Vec<u8> {
    frame(kind::HEADERS, flags | flag::END_HEADERS, stream, GET)
}

/// What a server makes of these frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fine,
    /// GOAWAY with this code.
    Ends(Code),
    /// RST_STREAM with this code.
    Resets(Code),
}

use Outcome::{Ends, Fine, Resets};

const PROTOCOL: Code = Code::PROTOCOL_ERROR;
const CLOSED: Code = Code::STREAM_CLOSED;
const FLOW: Code = Code::FLOW_CONTROL_ERROR;
const SIZE: Code = Code::FRAME_SIZE_ERROR;

/// The frames behind preface and SETTINGS, and their outcome.
#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<(&'static str, Vec<Vec<u8>>, Outcome)> {
    let end = flag::END_STREAM;
    let with = |fields: &[Vec<u8>]| {
        let block = [GET, &fields.concat()].concat();
        vec![frame(kind::HEADERS, end | flag::END_HEADERS, 1, &block)]
    };
    vec![
        ("a request", vec![get(1, end)], Fine),
        (
            "an unknown frame",
            vec![frame(0x1f, 0xff, 0, b"x"), get(1, end)],
            Fine,
        ),
        (
            "settings again",
            vec![frame(kind::SETTINGS, 0, 0, &[]), get(1, end)],
            Fine,
        ),
        (
            "priority of nothing",
            vec![frame(kind::PRIORITY, 0, 3, &[0; 5]), get(1, end)],
            Fine,
        ),
        (
            "data on an idle stream",
            vec![frame(kind::DATA, 0, 1, b"x")],
            Ends(PROTOCOL),
        ),
        (
            "reset of an idle stream",
            vec![frame(kind::RST_STREAM, 0, 1, &[0; 4])],
            Ends(PROTOCOL),
        ),
        (
            "window of an idle stream",
            vec![frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])],
            Ends(PROTOCOL),
        ),
        (
            "continuation of nothing",
            vec![frame(kind::CONTINUATION, 0, 1, GET)],
            Ends(PROTOCOL),
        ),
        ("an even stream", vec![get(2, end)], Ends(PROTOCOL)),
        (
            "a lower stream",
            vec![get(5, end), get(3, end)],
            Ends(PROTOCOL),
        ),
        (
            "data behind the end",
            vec![get(1, end), frame(kind::DATA, end, 1, b"x")],
            Resets(CLOSED),
        ),
        (
            "headers behind the end",
            vec![get(1, end), get(1, end)],
            Resets(CLOSED),
        ),
        (
            "trailers that do not end",
            vec![get(1, 0), get(1, 0)],
            Resets(PROTOCOL),
        ),
        (
            "a frame inside a block",
            vec![
                frame(kind::HEADERS, end, 1, &GET[..1]),
                frame(kind::PING, 0, 0, &[0; 8]),
            ],
            Ends(PROTOCOL),
        ),
        (
            "another stream inside a block",
            vec![
                frame(kind::HEADERS, end, 1, &GET[..1]),
                frame(kind::CONTINUATION, flag::END_HEADERS, 3, &GET[1..]),
            ],
            Ends(PROTOCOL),
        ),
        (
            "a block in pieces",
            vec![
                frame(kind::HEADERS, end, 1, &GET[..1]),
                frame(kind::CONTINUATION, flag::END_HEADERS, 1, &GET[1..]),
            ],
            Fine,
        ),
        (
            "an index of nothing",
            vec![frame(kind::HEADERS, end | flag::END_HEADERS, 1, &[0xbf])],
            Ends(Code::COMPRESSION_ERROR),
        ),
        (
            "a large frame",
            vec![frame(kind::DATA, 0, 1, &vec![0; 16_385])],
            Ends(SIZE),
        ),
        (
            "the connection's window past its end",
            vec![frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])],
            Ends(FLOW),
        ),
        (
            "a stream's window past its end",
            vec![
                get(1, 0),
                frame(kind::WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
            ],
            Resets(FLOW),
        ),
        (
            "a window of nothing",
            vec![get(1, 0), frame(kind::WINDOW_UPDATE, 0, 1, &[0; 4])],
            Resets(PROTOCOL),
        ),
        (
            "a name in capitals",
            with(&[literal("X-a", "1")]),
            Resets(PROTOCOL),
        ),
        (
            "an unknown pseudo field",
            with(&[literal(":x", "1")]),
            Resets(PROTOCOL),
        ),
        (
            "a pseudo field of responses",
            with(&[literal(":status", "200")]),
            Resets(PROTOCOL),
        ),
        (
            "a pseudo field behind others",
            with(&[literal("x-a", "1"), literal(":authority", "a")]),
            Resets(PROTOCOL),
        ),
        (
            "a pseudo field twice",
            with(&[literal(":path", "/")]),
            Resets(PROTOCOL),
        ),
        (
            "a field of connections",
            with(&[literal("connection", "close")]),
            Resets(PROTOCOL),
        ),
        (
            "a head that depends on itself",
            vec![frame(
                kind::HEADERS,
                end | flag::END_HEADERS | flag::PRIORITY,
                1,
                &[&[0, 0, 0, 1, 16], GET].concat(),
            )],
            Resets(PROTOCOL),
        ),
        ("te", with(&[literal("te", "gzip")]), Resets(PROTOCOL)),
        (
            "no method",
            vec![frame(kind::HEADERS, end | flag::END_HEADERS, 1, &GET[1..])],
            Resets(PROTOCOL),
        ),
        (
            "a body that is missing",
            with(&[literal("content-length", "1")]),
            Resets(PROTOCOL),
        ),
        (
            "a body that is too long",
            vec![
                frame(
                    kind::HEADERS,
                    flag::END_HEADERS,
                    1,
                    &[GET, &literal("content-length", "1")].concat(),
                ),
                frame(kind::DATA, end, 1, b"xx"),
            ],
            Resets(PROTOCOL),
        ),
        (
            "a body that is too short",
            vec![
                frame(
                    kind::HEADERS,
                    flag::END_HEADERS,
                    1,
                    &[GET, &literal("content-length", "3")].concat(),
                ),
                frame(kind::DATA, end, 1, b"xx"),
            ],
            Resets(PROTOCOL),
        ),
        (
            "more streams than are allowed",
            (0..5).map(|number| get(number * 2 + 1, 0)).collect(),
            Resets(Code::REFUSED_STREAM),
        ),
        (
            "data behind the peer's own reset",
            vec![
                get(1, 0),
                frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]),
                frame(kind::DATA, 0, 1, b"x"),
            ],
            Resets(CLOSED),
        ),
    ]
}

fn opening() -> Vec<u8> {
    [&PREFACE[..], &frame(kind::SETTINGS, 0, 0, &[])].concat()
}

/// The last RST_STREAM of what a server wrote.
fn resets(mut written: &[u8]) -> Option<Code> {
    let mut found = None;
    while let Some((head, rest)) = written.split_first_chunk::<HEAD>() {
        let head = Head::parse(*head);
        let (payload, rest) = rest.split_at(head.length as usize);
        if head.kind == kind::RST_STREAM {
            found = Some(Code(u32::from_be_bytes(payload.try_into().unwrap())));
        }
        written = rest;
    }
    found
}

fn outcome(frames: &[Vec<u8>]) -> Outcome {
    let mut server = Side::new(Role::Server, CONFIG);
    let bytes = [opening(), frames.concat()].concat();
    match server.hear(&bytes) {
        Err(Fault::Connection(code, _)) => Ends(code),
        Err(Fault::Excess(_)) => Ends(Code::ENHANCE_YOUR_CALM),
        Err(Fault::Stream(..)) => panic!("a stream's fault left the connection"),
        Ok(_) => resets(&server.written()).map_or(Fine, Resets),
    }
}

#[test]
fn wrong_frames_end_their_stream_or_the_connection() {
    for (name, frames, expected) in cases() {
        assert_eq!(outcome(&frames), expected, "{name}");
    }
}

/// A good call beside each fault of a stream is answered.
#[test]
fn the_fault_of_a_stream_stays_with_it() {
    for (name, mut frames, expected) in cases() {
        if let Resets(_) = expected {
            frames.push(get(101, flag::END_STREAM));
            let roomy = Config {
                max_concurrent_streams: 5,
                ..CONFIG
            };
            let mut server = Side::new(Role::Server, roomy);
            let bytes = [opening(), frames.concat()].concat();
            let events = server.hear(&bytes).unwrap();
            let good = events
                .iter()
                .any(|event| matches!(event, Event::Request { stream: 101, .. }));
            assert!(
                good || name.starts_with("more streams"),
                "{name}: {events:?}"
            );
        }
    }
}

#[test]
fn nothing_goes_before_the_preface_and_settings() {
    for (bytes, why) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "another protocol"),
        ([&PREFACE[..], &get(1, 0)].concat(), "no settings"),
        (
            [&PREFACE[..], &frame(kind::SETTINGS, flag::ACK, 0, &[])].concat(),
            "an answer first",
        ),
    ] {
        let fault = Side::new(Role::Server, CONFIG).hear(&bytes).unwrap_err();
        assert!(
            matches!(fault, Fault::Connection(PROTOCOL, _)),
            "{why}: {fault}"
        );
    }
}

#[test]
fn a_head_past_its_bounds_is_told() {
    let block: Vec<u8> = (0..200)
        .flat_map(|number| literal(&format!("x-{number}"), "1"))
        .collect();
    let head = frame(kind::HEADERS, flag::END_HEADERS, 1, &[GET, &block].concat());
    let mut server = Side::new(Role::Server, CONFIG);
    let events = server.hear(&[opening(), head].concat()).unwrap();
    let told = [
        Event::Met(Limit::HeaderCount),
        Event::TooLarge {
            stream: 1,
            is_grpc: false,
        },
    ];
    assert_eq!(events, told);
    let status = fields(&[(":status", "431")]);
    server
        .connection
        .send_fields(1, status, false, true)
        .unwrap();
}

/// Exactly at the bound the connection lives; one past it, it ends.
#[test]
fn what_a_peer_repeats_is_bounded() {
    let end = flag::END_STREAM;
    let many = |count: usize, frames: &dyn Fn(u32) -> Vec<u8>| -> Vec<Vec<u8>> {
        (0..u32::try_from(count).unwrap()).map(frames).collect()
    };
    let request = |number: u32| get(2 * number + 1, 0);
    let opened_and_reset = |number: u32| {
        let reset = frame(kind::RST_STREAM, 0, 2 * number + 1, &[0, 0, 0, 8]);
        [request(number), reset].concat()
    };
    let malformed = |number: u32| {
        let block = [GET, &literal("te", "gzip")].concat();
        frame(
            kind::HEADERS,
            end | flag::END_HEADERS,
            2 * number + 1,
            &block,
        )
    };
    let continued = |count: usize| -> Vec<Vec<u8>> {
        let mut frames = vec![frame(kind::HEADERS, end, 1, GET)];
        frames.extend((1..count).map(|_| frame(kind::CONTINUATION, 0, 1, &[])));
        frames.push(frame(kind::CONTINUATION, flag::END_HEADERS, 1, &[]));
        frames
    };
    type Frames<'a> = &'a dyn Fn(usize) -> Vec<Vec<u8>>;
    let table: [(Limit, usize, Frames<'_>); 8] = [
        (Limit::ContinuationFrames, 5, &continued),
        (Limit::PendingAcceptResets, 8, &|count| {
            many(count, &opened_and_reset)
        }),
        (Limit::LibraryResets, 8, &|count| many(count, &malformed)),
        (Limit::PriorityFrames, 8, &|count| {
            many(count, &|_| frame(kind::PRIORITY, 0, 3, &[0; 5]))
        }),
        (Limit::WindowUpdateFrames, 5, &|count| {
            many(count, &|_| frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))
        }),
        // The first SETTINGS counts.
        (Limit::SettingsFrames, 7, &|count| {
            many(count, &|_| frame(kind::SETTINGS, 0, 0, &[]))
        }),
        (Limit::UnknownFrames, 8, &|count| {
            many(count, &|_| frame(0x1f, 0, 0, &[]))
        }),
        (Limit::EmptyFrames, 8, &|count| {
            [
                vec![get(1, 0)],
                many(count, &|_| frame(kind::DATA, 0, 1, &[])),
            ]
            .concat()
        }),
    ];
    for (limit, most, frames) in table {
        let hear = |count| {
            let bytes = [opening(), frames(count).concat()].concat();
            Side::new(Role::Server, CONFIG).hear(&bytes).map(|_| ())
        };
        assert_eq!(hear(most), Ok(()), "{limit:?}");
        assert_eq!(hear(most + 1), Err(Fault::Excess(limit)), "{limit:?}");
    }
}

/// Those that were reset meanwhile do not count, and what else comes behind the last one waits with it.
#[test]
fn a_turn_takes_no_more_requests_than_it_is_allowed() {
    let mut server = Side::new(Role::Server, CONFIG);
    server.hear(&opening()).unwrap();
    let reset = frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    let heads = [1, 3, 5, 7].map(|stream| get(stream, flag::END_HEADERS | flag::END_STREAM));
    let ping = frame(kind::PING, 0, 0, &[7; 8]);
    let [first, second, third, fourth] = heads;
    server.connection.allow_requests(2);
    let bytes = [first, reset, second, third, fourth, ping].concat();
    let requests = |events: &[Event<'_>]| {
        let is_request = |event: &&Event<'_>| matches!(event, Event::Request { .. });
        events.iter().filter(is_request).count()
    };
    let came = server.hear(&bytes).unwrap();
    assert_eq!((requests(&came), server.connection.has_enough()), (3, true));
    server.written();
    let came = server.hear(&[]).unwrap();
    assert_eq!(
        (requests(&came), server.connection.has_enough()),
        (1, false)
    );
    assert_eq!(server.written().len(), HEAD + 8, "the ping is answered");
}

#[test]
fn streams_that_had_begun_may_be_reset_any_number_at_once() {
    let mut server = Side::new(Role::Server, CONFIG);
    server.hear(&opening()).unwrap();
    for number in 0..100 {
        server.hear(&get(2 * number + 1, 0)).unwrap();
        let reset = frame(kind::RST_STREAM, 0, 2 * number + 1, &[0, 0, 0, 8]);
        server.hear(&reset).unwrap();
    }
    assert_eq!(server.connection.open_streams(), 0);
}

/// What was on its way when we reset a stream costs nobody anything, as long as we remember; later it costs a reset.
#[test]
fn late_frames_of_streams_that_we_reset_are_no_fault() {
    let mut server = Side::new(Role::Server, CONFIG);
    server.hear(&opening()).unwrap();
    for number in 0..20 {
        let stream = 2 * number + 1;
        server.hear(&get(stream, 0)).unwrap();
        server.connection.reset(stream, Code::CANCEL);
    }
    server.written();
    let data = |stream| frame(kind::DATA, 0, stream, b"late");
    server.hear(&data(39)).unwrap();
    assert_eq!(resets(&server.written()), None);
    server.hear(&data(1)).unwrap();
    assert_eq!(resets(&server.written()), Some(CLOSED));
    assert_eq!(server.connection.held(), 0);
}

proptest! {
    #[test]
    fn it_does_not_matter_how_bytes_are_cut(case in 0..cases().len(), cut in 1_usize..40) {
        let (name, frames, _) = cases().swap_remove(case);
        let bytes = [opening(), frames.concat()].concat();
        let run = |size: usize| {
            let mut server = Side::new(Role::Server, CONFIG);
            let mut events = Vec::new();
            let outcome = bytes.chunks(size).try_for_each(|piece| server.hear_into(piece, &mut events));
            (events, outcome, server.written())
        };
        prop_assert_eq!(run(cut), run(bytes.len()), "{}", name);
    }

    #[test]
    fn no_frames_make_it_panic(frames in prop::collection::vec(
        (0_u8..11, any::<u8>(), 0_u32..6, prop::collection::vec(any::<u8>(), 0..40)), 0..20,
    )) {
        let mut server = Side::new(Role::Server, CONFIG);
        let frames: Vec<_> = frames.iter().map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload)).collect();
        let bytes = [opening(), frames.concat()].concat();
        let _ = server.hear(&bytes);
        prop_assert!(server.connection.open_streams() <= CONFIG.max_concurrent_streams as usize + 1);
    }
}
