//! What each frame may be, as tables; what is written is what is read.

use proptest::prelude::*;

use super::*;

use Breaks::{Connection, Stream};

fn head(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Head {
    Head {
        length: u32::try_from(payload.len()).unwrap(),
        kind,
        flags,
        stream,
    }
}

/// What a wrong frame breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaks {
    Connection(Code),
    Stream(Code),
}

const PROTOCOL: Code = Code::PROTOCOL_ERROR;
const SIZE: Code = Code::FRAME_SIZE_ERROR;

/// A name, the frame, and what it breaks.
type Row = (&'static str, u8, u8, u32, &'static [u8], Breaks);

/// RFC 9113, 6.1 to 6.10, the sentences with MUST.
#[rustfmt::skip]
const WRONG: [Row; 28] = [
    ("data", kind::DATA, 0, 0, b"x", Connection(PROTOCOL)),
    ("padding is all", kind::DATA, flag::PADDED, 7, &[1], Connection(PROTOCOL)),
    ("padding is more", kind::DATA, flag::PADDED, 7, &[5, 0, 0], Connection(PROTOCOL)),
    ("no padding", kind::DATA, flag::PADDED, 7, &[], Connection(SIZE)),
    ("headers", kind::HEADERS, 0, 0, b"x", Connection(PROTOCOL)),
    ("padded headers", kind::HEADERS, flag::PADDED, 7, &[2, 0], Connection(PROTOCOL)),
    ("short priority", kind::HEADERS, flag::PRIORITY, 7, &[0; 4], Connection(SIZE)),
    ("priority", kind::PRIORITY, 0, 0, &[0; 5], Connection(PROTOCOL)),
    ("priority's size", kind::PRIORITY, 0, 7, &[0; 4], Stream(SIZE)),
    ("on itself", kind::PRIORITY, 0, 7, &[0, 0, 0, 7, 0], Stream(PROTOCOL)),
    ("reset", kind::RST_STREAM, 0, 0, &[0; 4], Connection(PROTOCOL)),
    ("reset's size", kind::RST_STREAM, 0, 7, &[0; 5], Connection(SIZE)),
    ("settings", kind::SETTINGS, 0, 7, &[], Connection(PROTOCOL)),
    ("settings' size", kind::SETTINGS, 0, 0, &[0; 5], Connection(SIZE)),
    ("an answer's payload", kind::SETTINGS, flag::ACK, 0, &[0; 6], Connection(SIZE)),
    ("push", kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2], Connection(PROTOCOL)),
    ("window", kind::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0], Connection(Code::FLOW_CONTROL_ERROR)),
    ("small frames", kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff], Connection(PROTOCOL)),
    ("large frames", kind::SETTINGS, 0, 0, &[0, 5, 1, 0, 0, 0], Connection(PROTOCOL)),
    ("promise", kind::PUSH_PROMISE, 0, 7, &[0; 4], Connection(PROTOCOL)),
    ("ping", kind::PING, 0, 7, &[0; 8], Connection(PROTOCOL)),
    ("ping's size", kind::PING, 0, 0, &[0; 6], Connection(SIZE)),
    ("goaway", kind::GOAWAY, 0, 7, &[0; 8], Connection(PROTOCOL)),
    ("goaway's size", kind::GOAWAY, 0, 0, &[0; 7], Connection(SIZE)),
    ("window's size", kind::WINDOW_UPDATE, 0, 7, &[0; 3], Connection(SIZE)),
    ("no window", kind::WINDOW_UPDATE, 0, 0, &[0; 4], Connection(PROTOCOL)),
    ("no stream window", kind::WINDOW_UPDATE, 0, 7, &[0x80, 0, 0, 0], Stream(PROTOCOL)),
    ("continuation", kind::CONTINUATION, 0, 0, b"x", Connection(PROTOCOL)),
];

#[test]
fn a_frame_that_is_wrong_by_itself_is_told_from_one_that_breaks_its_stream() {
    for (name, kind, flags, stream, payload, expected) in WRONG {
        let found = parse(head(kind, flags, stream, payload), payload);
        let breaks = match found.expect_err(name) {
            Fault::Connection(code, _) => Connection(code),
            Fault::Stream(stream, code, _) => {
                assert_eq!(stream, 7, "{name}");
                Stream(code)
            }
            Fault::Excess(limit) => panic!("{name}: one frame is past {limit:?}"),
        };
        assert_eq!(breaks, expected, "{name}");
    }
}

#[test]
fn padding_is_charged_and_not_data() {
    let payload = [2, b'a', b'b', 0, 0];
    let head = head(kind::DATA, flag::PADDED | flag::END_STREAM, 7, &payload);
    let expected = Frame::Data {
        stream: 7,
        data: b"ab",
        charged: 5,
        ends_stream: true,
    };
    assert_eq!(parse(head, &payload), Ok(expected));
}

#[test]
fn a_priority_in_front_of_a_block_is_skipped() {
    let payload = [1, 0, 0, 0, 3, 9, b'b', 0];
    let flags = flag::PADDED | flag::PRIORITY | flag::END_HEADERS;
    let expected = Frame::Headers {
        stream: 7,
        fragment: b"b",
        depends_on_itself: false,
        ends_stream: false,
        ends_block: true,
    };
    assert_eq!(
        parse(head(kind::HEADERS, flags, 7, &payload), &payload),
        Ok(expected)
    );
}

#[test]
fn what_nobody_defined_is_no_error() {
    assert_eq!(parse(head(0x1f, 0xff, 7, b"x"), b"x"), Ok(Frame::Unknown));
    let payload = [0xff, 0xff, 0, 0, 0, 1];
    let settings = parse(head(kind::SETTINGS, 0, 0, &payload), &payload);
    assert_eq!(settings, Ok(Frame::Settings(Settings::default())));
    let code = [0, 0, 1, 0];
    let reset = parse(head(kind::RST_STREAM, 0, 7, &code), &code);
    assert_eq!(
        reset,
        Ok(Frame::Reset {
            stream: 7,
            code: Code(256)
        })
    );
}

#[test]
fn the_reserved_bit_says_nothing() {
    let head = Head::parse([0, 0, 4, kind::RST_STREAM, 0, 0x80, 0, 0, 7]);
    assert_eq!(head.stream, 7);
    let bytes = [0x80, 0, 0, 1];
    let update = parse(self::head(kind::WINDOW_UPDATE, 0, 7, &bytes), &bytes);
    assert_eq!(
        update,
        Ok(Frame::WindowUpdate {
            stream: 7,
            increment: 1
        })
    );
}

/// The frames of these bytes.
fn frames(mut bytes: &[u8]) -> Vec<(Head, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() {
        let head = Head::parse(*head);
        let (payload, rest) = rest.split_at(head.length as usize);
        frames.push((head, payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    frames
}

#[test]
fn every_frame_is_read_as_it_was_written() {
    let changed = Settings {
        header_table_size: Some(1),
        enable_push: Some(false),
        max_concurrent_streams: Some(3),
        initial_window_size: Some(4),
        max_frame_size: Some(1 << 15),
        max_header_list_size: Some(6),
    };
    let mut bytes = Vec::new();
    settings(&changed, &mut bytes);
    settings_ack(&mut bytes);
    ping([1; 8], false, &mut bytes);
    ping([2; 8], true, &mut bytes);
    reset(7, Code::CANCEL, &mut bytes);
    window_update(0, LARGEST, &mut bytes);
    go_away(9, Code::ENHANCE_YOUR_CALM, "why", &mut bytes);
    bytes.extend_from_slice(&data_head(7, 2, true));
    bytes.extend_from_slice(b"ab");
    let frames = frames(&bytes);
    let read: Vec<_> = frames
        .iter()
        .map(|(head, payload)| parse(*head, payload).unwrap())
        .collect();
    let expected = [
        Frame::Settings(changed),
        Frame::SettingsAck,
        Frame::Ping {
            payload: [1; 8],
            is_answer: false,
        },
        Frame::Ping {
            payload: [2; 8],
            is_answer: true,
        },
        Frame::Reset {
            stream: 7,
            code: Code::CANCEL,
        },
        Frame::WindowUpdate {
            stream: 0,
            increment: LARGEST,
        },
        Frame::GoAway {
            last_stream: 9,
            code: Code::ENHANCE_YOUR_CALM,
            debug: b"why",
        },
        Frame::Data {
            stream: 7,
            data: b"ab",
            charged: 2,
            ends_stream: true,
        },
    ];
    assert_eq!(read, expected);
}

proptest! {
    #[test]
    fn a_block_is_cut_and_joined(block: Vec<u8>, largest in 1_usize..50, ends_stream: bool) {
        let mut bytes = Vec::new();
        continued_headers(7, &block, ends_stream, largest, &mut bytes);
        let frames = frames(&bytes);
        let mut joined = Vec::new();
        for (index, (head, payload)) in frames.iter().enumerate() {
            prop_assert!(payload.len() <= largest);
            let (fragment, ends_block) = match parse(*head, payload).unwrap() {
                Frame::Headers { fragment, ends_block, ends_stream: ends, .. } => {
                    prop_assert_eq!((index, ends), (0, ends_stream));
                    (fragment, ends_block)
                }
                Frame::Continuation { fragment, ends_block, .. } => {
                    prop_assert!(index > 0);
                    (fragment, ends_block)
                }
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(ends_block, index + 1 == frames.len());
            joined.extend_from_slice(fragment);
        }
        prop_assert_eq!(joined, block);
    }

    #[test]
    fn no_bytes_make_it_panic(kind in 0_u8..12, flags: u8, stream in 0_u32..3, payload: Vec<u8>) {
        let _ = parse(head(kind, flags, stream, &payload), &payload);
    }
}
