//! Frames to bytes, appended to what waits to be written.

use super::{Code, HEAD, Head, LARGEST, Settings, flag, kind};

fn head(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEAD] {
    let length =
        u32::try_from(length).expect("payloads are cut to the peer's SETTINGS_MAX_FRAME_SIZE");
    Head {
        length,
        kind,
        flags,
        stream,
    }
    .bytes()
}

/// The head of a DATA frame; the payload is appended by who has it.
pub fn data_head(stream: u32, length: usize, ends_stream: bool) -> [u8; HEAD] {
    let flags = if ends_stream { flag::END_STREAM } else { 0 };
    head(length, kind::DATA, flags, stream)
}

/// A whole block: HEADERS, and as many CONTINUATION as the peer's largest payload asks for.
pub fn continued_headers(
    stream: u32,
    block: &[u8],
    ends_stream: bool,
    largest: usize,
    out: &mut Vec<u8>,
) {
    let end = if ends_stream { flag::END_STREAM } else { 0 };
    let (mut kind, mut flags) = (kind::HEADERS, end);
    let mut rest = block;
    loop {
        let (fragment, behind) = rest.split_at(largest.min(rest.len()));
        if behind.is_empty() {
            flags |= flag::END_HEADERS;
        }
        out.extend_from_slice(&head(fragment.len(), kind, flags, stream));
        out.extend_from_slice(fragment);
        if behind.is_empty() {
            return;
        }
        (kind, flags, rest) = (kind::CONTINUATION, 0, behind);
    }
}

pub fn reset(stream: u32, code: Code, out: &mut Vec<u8>) {
    out.extend_from_slice(&head(4, kind::RST_STREAM, 0, stream));
    out.extend_from_slice(&code.0.to_be_bytes());
}

pub fn settings(settings: &Settings, out: &mut Vec<u8>) {
    let entries = [
        (1_u16, settings.header_table_size),
        (2, settings.enable_push.map(u32::from)),
        (3, settings.max_concurrent_streams),
        (4, settings.initial_window_size),
        (5, settings.max_frame_size),
        (6, settings.max_header_list_size),
    ];
    let entries = entries.map(|(name, value)| value.map(|value| (name, value)));
    let count = entries.iter().flatten().count();
    out.extend_from_slice(&head(count * 6, kind::SETTINGS, 0, 0));
    for (name, value) in entries.into_iter().flatten() {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub fn settings_ack(out: &mut Vec<u8>) {
    out.extend_from_slice(&head(0, kind::SETTINGS, flag::ACK, 0));
}

pub fn ping(payload: [u8; 8], is_answer: bool, out: &mut Vec<u8>) {
    let flags = if is_answer { flag::ACK } else { 0 };
    out.extend_from_slice(&head(8, kind::PING, flags, 0));
    out.extend_from_slice(&payload);
}

/// `debug`: a few words for the peer's log.
pub fn go_away(last_stream: u32, code: Code, debug: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&head(8 + debug.len(), kind::GOAWAY, 0, 0));
    out.extend_from_slice(&(last_stream & LARGEST).to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(debug.as_bytes());
}

/// `increment`: 1 to 2^31 - 1.
pub fn window_update(stream: u32, increment: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&head(4, kind::WINDOW_UPDATE, 0, stream));
    out.extend_from_slice(&increment.to_be_bytes());
}
