//! What the bad clients send, in bytes of our own, and what RFC 9113 or gRPC's protocol says to that.

use outrigger_tests::raw::{ACK, END_HEADERS, END_STREAM, block, frame, kind};

/// Codes of RFC 9113, 7.
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const STREAM_CLOSED: u32 = 5;
pub(super) const FRAME_SIZE_ERROR: u32 = 6;
pub(super) const COMPRESSION_ERROR: u32 = 9;

const WHOLE: u8 = END_STREAM | END_HEADERS;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// What a bad client meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The answer on this stream has this `grpc-status`.
    Status(u32, u32),
    /// The answer on this stream has this HTTP status and no `grpc-status`.
    Http(u32, u32),
    /// The stream is reset with this code, and nothing else happens.
    Reset(u32, u32),
    /// GOAWAY with this code, and the end of the connection.
    Goaway(u32),
    /// Nothing: the connection serves on.
    Alive,
    /// The connection's end.
    Closed,
    /// The client is the one who leaves.
    Leaves,
}

use Outcome::{Alive, Goaway, Leaves, Reset, Status};

/// A line of the list: bytes behind the preface and SETTINGS.
pub(super) type Case = (&'static str, Vec<u8>, Outcome);

/// The list, by C-core's names for its parts. Who answers to what is not gRPC is the listener's own.
pub(super) fn list(not_grpc: Outcome) -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("badreq: content type", content_type(not_grpc)),
        ("badreq: te", te()),
        ("badreq: two paths", two_paths()),
        ("badreq: accept-encoding", accept_encoding()),
        ("badreq: encoding", encoding()),
        ("headers: timeout", timeout()),
        ("headers: block", header_block()),
        ("headers: frames", header_frames()),
        ("bad_streaming_id", streaming_id()),
        ("duplicate_header", duplicate_header()),
        ("head_of_line_blocking", head_of_line_blocking()),
        ("initial_settings_frame", settings()),
        ("large_metadata", large_metadata()),
        ("out_of_bounds", out_of_bounds()),
        ("server_registered_method", messages()),
        ("simple_request", simple_request()),
        ("unknown_frame", unknown_frame()),
        ("window_overflow", window_overflow()),
    ]
}

/// A request's head whose fields are C-core's, some of them changed, some added.
fn head(stream: u32, flags: u8, changes: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":path", "/test.Echo/Echo"),
        (":scheme", "http"),
        (":method", "POST"),
        (":authority", "orders"),
        ("content-type", "application/grpc"),
        ("grpc-accept-encoding", "identity,deflate,gzip"),
        ("te", "trailers"),
        ("user-agent", "bad-client grpc-c/0.12.0.0 (linux)"),
    ];
    for change in changes {
        match fields.iter_mut().find(|(name, _)| *name == change.0) {
            Some(field) => *field = *change,
            None => fields.push(*change),
        }
    }
    frame(kind::HEADERS, flags, stream, &block(&fields))
}

fn changed(name: &str, value: &str) -> Vec<u8> {
    head(1, WHOLE, &[(name, value)])
}

fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

/// An open call, and then this.
fn after_head(bytes: &[u8]) -> Vec<u8> {
    [head(1, END_HEADERS, &[]), bytes.to_vec()].concat()
}

fn content_type(not_grpc: Outcome) -> Vec<Case> {
    let bytes = changed("content-type", "text/html");
    vec![("text/html", bytes, not_grpc)]
}

fn te() -> Vec<Case> {
    let bytes = changed("te", "frobnicate");
    vec![("frobnicate", bytes, Reset(1, PROTOCOL_ERROR))]
}

fn two_paths() -> Vec<Case> {
    let mut fields = vec![(":path", "/test.Echo/Echo"), (":path", "/test.Echo/Other")];
    fields.extend([(":scheme", "http"), (":method", "POST")]);
    fields.extend([(":authority", "orders"), ("te", "trailers")]);
    fields.push(("content-type", "application/grpc"));
    let bytes = frame(kind::HEADERS, WHOLE, 1, &block(&fields));
    vec![("both served", bytes, Reset(1, PROTOCOL_ERROR))]
}

/// Codecs are between the two applications.
fn accept_encoding() -> Vec<Case> {
    let bytes = changed("grpc-accept-encoding", "nobody-knows-the-trouble-i-see");
    vec![("unknown", bytes, Status(1, 0))]
}

fn encoding() -> Vec<Case> {
    let bytes = changed("grpc-encoding", "you-dont-know-how-to-do-this");
    vec![("unknown", bytes, Status(1, 0))]
}

fn timeout() -> Vec<Case> {
    let changes = [("grpc-timeout", "15 seconds")];
    let twice = [head(1, WHOLE, &changes), head(3, WHOLE, &changes)].concat();
    vec![
        ("15 seconds", head(1, WHOLE, &changes), Status(1, 13)),
        ("15 seconds, twice", twice, Status(3, 13)),
    ]
}

fn header_block() -> Vec<Case> {
    let of = |bytes: &[u8]| frame(kind::HEADERS, END_HEADERS, 1, bytes);
    let bad = |what, bytes: &[u8]| (what, of(bytes), Goaway(COMPRESSION_ERROR));
    let malformed = |what, bytes: &[u8]| (what, of(bytes), Reset(1, PROTOCOL_ERROR));
    vec![
        bad("an index beyond the tables", b"\xfe"),
        bad("a name's index beyond, indexed", b"\x7f\x7f\x01a"),
        bad("a name's index beyond, literal", b"\x0f\x7f\x01a"),
        bad("a name's index beyond, never indexed", b"\x1f\x7f\x01a"),
        malformed("a pseudo field alone, literal", b"\x01\x01a"),
        malformed("a pseudo field alone, never indexed", b"\x11\x01a"),
        bad("index 0", b"\x80"),
        bad("a long index", b"\xff\x00"),
        bad("a longer index", b"\xff\x80\x00"),
        bad("an index of 4 bytes", b"\xff\x80\x80\x00"),
        bad("an index of 5 bytes", b"\xff\x80\x80\x80\x00"),
        bad("an index of 6 bytes", b"\xff\x80\x80\x80\x80\x00"),
        bad("an index of 7 bytes", b"\xff\x80\x80\x80\x80\x80\x00"),
        bad("an index of 8 bytes", b"\xff\x80\x80\x80\x80\x80\x80\x00"),
        bad("overflow on byte 4", b"\xff\x80\x80\x80\x80\x7f"),
        bad("overflow on byte 5", b"\xff\xff\xff\xff\xff\x0f"),
        bad("overflow after byte 4", b"\xff\x80\x80\x80\x80\x80\x80\x02"),
        bad("an end within a field", b"\x01"),
        malformed("the table's default size, and no field", b"\x3f\xe1\x1f"),
        bad("a table too large", b"\x3f\xf1\x1f"),
        malformed("the table's size twice", b"\x20\x3f\xe1\x1f"),
    ]
}

fn header_frames() -> Vec<Case> {
    let of = |flags, bytes: &[u8]| frame(kind::HEADERS, flags, 1, bytes);
    let none = |kind, flags, stream| frame(kind, flags, stream, &[]);
    let mut cases = vec![
        (
            "a priority of 1 byte",
            of(END_HEADERS | PRIORITY, &[0]),
            Goaway(FRAME_SIZE_ERROR),
        ),
        (
            "a priority of 4 bytes",
            of(END_HEADERS | PRIORITY, &[0; 4]),
            Goaway(FRAME_SIZE_ERROR),
        ),
        (
            "a priority and no field",
            of(END_HEADERS | PRIORITY, &[0; 5]),
            Reset(1, PROTOCOL_ERROR),
        ),
        (
            "no field, a continuation of none",
            [
                none(kind::HEADERS, 0, 1),
                none(kind::CONTINUATION, END_HEADERS, 1),
            ]
            .concat(),
            Reset(1, PROTOCOL_ERROR),
        ),
        (
            "DATA within a block",
            [none(kind::HEADERS, 0, 1), none(kind::DATA, END_HEADERS, 1)].concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "a continuation for another stream",
            [
                head(1, END_HEADERS, &[]),
                none(kind::HEADERS, 0, 3),
                none(kind::CONTINUATION, END_HEADERS, 1),
            ]
            .concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "a continuation of nothing",
            none(kind::CONTINUATION, END_HEADERS, 1),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "three heads without a field",
            none(kind::HEADERS, END_HEADERS, 1).repeat(3),
            Reset(1, PROTOCOL_ERROR),
        ),
        // Found by fuzzing: odd flags and no byte, on a stream far away.
        (
            "padding and priority that are not there",
            frame(kind::HEADERS, 0x39, 0x67ed_1d64 & !1, &[]),
            Goaway(FRAME_SIZE_ERROR),
        ),
    ];
    let whole = of(END_HEADERS, b"\xff\x80\x80\x80");
    cases.extend((1..whole.len()).map(|length| {
        let bytes = whole.get(..length).unwrap_or_default().to_vec();
        ("a part of a frame", bytes, Leaves)
    }));
    cases
}

fn streaming_id() -> Vec<Case> {
    let [one, two, three] = [1, 2, 3].map(|stream| head(stream, WHOLE, &[]));
    vec![
        ("1", one.clone(), Status(1, 0)),
        ("2", two, Goaway(PROTOCOL_ERROR)),
        // RFC 9113, 5.1: its caller has ended it, its answer has not come yet.
        (
            "1 again after 3",
            [one.clone(), three, one].concat(),
            Reset(1, STREAM_CLOSED),
        ),
    ]
}

/// RFC 9113, 8.1: a second head is trailers, and these end the stream.
fn duplicate_header() -> Vec<Case> {
    let head = head(1, END_HEADERS, &[]);
    let body = data(1, END_STREAM, &[0; 5]);
    [2, 3]
        .map(|times| {
            let bytes = [head.repeat(times), body.clone()].concat();
            ("once more", bytes, Reset(1, PROTOCOL_ERROR))
        })
        .into()
}

/// A message announced on stream 1 never comes; the one on stream 3 does.
fn head_of_line_blocking() -> Vec<Case> {
    let announced = [1, 0, 0, 0x27, 0x10];
    let mut bytes = Vec::new();
    for stream in [1, 3] {
        bytes.extend(head(stream, END_HEADERS, &[]));
        bytes.extend(data(stream, 0, &announced));
    }
    for flags in [[0; 9].as_slice(), &[END_STREAM]].concat() {
        bytes.extend(data(3, flags, &[b'a'; 1000]));
    }
    vec![("stream 3 behind stream 1", bytes, Status(3, 0))]
}

fn settings() -> Vec<Case> {
    let of = |flags, stream, bytes: &[u8]| frame(kind::SETTINGS, flags, stream, bytes);
    let mut cases: Vec<Case> = (1..6)
        .map(|length| {
            let bytes = of(0, 0, &vec![0; length]);
            ("not a multiple of six", bytes, Goaway(FRAME_SIZE_ERROR))
        })
        .collect();
    cases.extend([
        ("on stream 1", of(0, 1, &[]), Goaway(PROTOCOL_ERROR)),
        (
            "on a stream far away",
            of(0, 0x4000_0000, &[]),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "largest frame 0",
            of(0, 0, &[0, 5, 0, 0, 0, 0]),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "largest list without bound",
            of(0, 0, &[0, 6, 255, 255, 255, 255]),
            Alive,
        ),
        ("another window", of(0, 0, &[0, 4, 0, 1, 0, 0]), Alive),
        (
            "an acknowledgement with data",
            of(ACK, 0, &[0]),
            Goaway(FRAME_SIZE_ERROR),
        ),
        // C-core closes; RFC 9113, 4.1: a flag without meaning is ignored.
        ("a flag without meaning", of(0x10, 0, &[]), Alive),
        ("an unknown one", of(0, 0, &[0, 0x99, 0, 0, 0, 0]), Alive),
    ]);
    let whole = of(0, 0, &[0, 4, 0, 1, 0, 0]);
    cases.extend((1..whole.len()).map(|length| {
        let bytes = whole.get(..length).unwrap_or_default().to_vec();
        ("a part of a frame", bytes, Leaves)
    }));
    cases
}

/// More than any listener takes; a gRPC caller is told so.
fn large_metadata() -> Vec<Case> {
    let long = "a".repeat(126);
    let names: Vec<_> = (0..150).map(|n| format!("user-header{n:03}")).collect();
    let changes: Vec<_> = names.iter().map(|name| (&**name, &*long)).collect();
    let fields = head(1, WHOLE, &changes);
    // The block is longer than a frame may be.
    let (_, block) = fields.split_at(9);
    let mut bytes = Vec::new();
    let pieces: Vec<_> = block.chunks(16_384).collect();
    for (n, piece) in pieces.iter().enumerate() {
        let end = if n + 1 == pieces.len() {
            END_HEADERS
        } else {
            0
        };
        bytes.extend(match n {
            0 => frame(kind::HEADERS, END_STREAM | end, 1, piece),
            _ => frame(kind::CONTINUATION, end, 1, piece),
        });
    }
    vec![("150 fields of 140 bytes", bytes, Status(1, 8))]
}

fn out_of_bounds() -> Vec<Case> {
    let size = |what, kind, stream, length| {
        let bytes = frame(kind, 0, stream, &vec![0x11; length]);
        (what, bytes, Goaway(FRAME_SIZE_ERROR))
    };
    vec![
        size("DATA of 64 KiB", kind::DATA, 1, 1 << 16),
        size("PRIORITY of 3 bytes, idle", kind::PRIORITY, 1, 3),
        // RFC 9113, 6.3: of the stream alone, once there is one.
        (
            "PRIORITY of 3 bytes",
            after_head(&frame(kind::PRIORITY, 0, 1, &[0x11; 3])),
            Reset(1, FRAME_SIZE_ERROR),
        ),
        size("RST_STREAM of 2 bytes", kind::RST_STREAM, 1, 2),
        size("SETTINGS of 5 bytes", kind::SETTINGS, 0, 5),
        size("PING of 5 bytes", kind::PING, 0, 5),
        size("WINDOW_UPDATE of 1 byte", kind::WINDOW_UPDATE, 0, 1),
    ]
}

/// Whole messages arrive; a client that leaves within one takes nothing with it.
fn messages() -> Vec<Case> {
    let ended = |what, bytes: &[u8]| (what, after_head(&data(1, END_STREAM, bytes)), Status(1, 0));
    let mut cases = vec![
        ended("empty", &[0, 0, 0, 0, 0]),
        ended("1 byte", &[0, 0, 0, 0, 1, 0]),
        ended("2 bytes", &[0, 0, 0, 0, 2, 0, 0]),
    ];
    for part in [
        &[][..],
        &[0],
        &[0, 0],
        &[0; 3],
        &[0; 4],
        &[0, 0, 0, 0, 2, 0],
    ] {
        cases.push(("a part", after_head(&data(1, 0, part)), Leaves));
    }
    cases
}

fn simple_request() -> Vec<Case> {
    let of = |kind, flags, bytes: &[u8]| after_head(&frame(kind, flags, 1, bytes));
    let size = Goaway(FRAME_SIZE_ERROR);
    let unusual = |content_type| {
        let changes = [("content-type", content_type), ("grpc-timeout", "10S")];
        head(1, WHOLE, &changes)
    };
    let goaway = |length: usize| after_head(&frame(kind::GOAWAY, 0, 0, &vec![0; length]));
    vec![
        ("usual", head(1, WHOLE, &[]), Status(1, 0)),
        (
            "of a codec",
            unusual("application/grpc+this-is-valid"),
            Status(1, 0),
        ),
        (
            "with a parameter",
            unusual("application/grpc;this-is-valid"),
            Status(1, 0),
        ),
        (
            "DATA with a flag without meaning",
            of(kind::DATA, 0x02, &[]),
            Alive,
        ),
        (
            "DATA with padding that is not there",
            of(kind::DATA, PADDED, &[1]),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "WINDOW_UPDATE of 1 byte",
            of(kind::WINDOW_UPDATE, 0, &[0]),
            size,
        ),
        (
            "WINDOW_UPDATE of none",
            of(kind::WINDOW_UPDATE, 0x10, &[]),
            size,
        ),
        (
            "WINDOW_UPDATE by 0",
            of(kind::WINDOW_UPDATE, 0, &[0; 4]),
            Reset(1, PROTOCOL_ERROR),
        ),
        ("GOAWAY of 4 bytes", goaway(4), size),
        (
            "a part of a GOAWAY",
            goaway(0x112).get(..200).unwrap_or_default().to_vec(),
            Leaves,
        ),
        ("RST_STREAM of 1 byte", of(kind::RST_STREAM, 0, &[0]), size),
        ("RST_STREAM of none", of(kind::RST_STREAM, 0x10, &[]), size),
    ]
}

/// RFC 9113, 4.1: ignored, all of them.
fn unknown_frame() -> Vec<Case> {
    let bytes = (10..=255).flat_map(|kind| frame(kind, 0, 1, &[])).collect();
    vec![("10 to 255", bytes, Alive)]
}

/// 4 MiB of empty messages at once to an application that reads none and has room for 1 MiB.
fn window_overflow() -> Vec<Case> {
    let mut bytes = head(1, END_HEADERS, &[(":path", "/test.Echo/Stall")]);
    bytes.extend(data(1, 0, &[0; 16_380]).repeat(257));
    vec![("4 MiB", bytes, Reset(1, FLOW_CONTROL_ERROR))]
}
