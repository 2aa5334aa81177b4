//! Bytes to frames.

use super::{Code, Fault, Frame, Head, LARGEST, LARGEST_MAX_SIZE, SMALLEST_MAX_SIZE, Settings};
use super::{flag, kind};

/// Looks at a whole payload; whether its length is allowed was asked before it was read.
pub fn parse(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    match head.kind {
        kind::DATA => data(head, payload),
        kind::HEADERS => headers(head, payload),
        kind::PRIORITY => priority(head, payload),
        kind::RST_STREAM => reset(head, payload),
        kind::SETTINGS => settings(head, payload),
        kind::PUSH_PROMISE => Err(protocol("nobody may push: we never allow it")),
        kind::PING => ping(head, payload),
        kind::GOAWAY => go_away(head, payload),
        kind::WINDOW_UPDATE => window_update(head, payload),
        kind::CONTINUATION => continuation(head, payload),
        _ => Ok(Frame::Unknown),
    }
}

fn protocol(why: &'static str) -> Fault {
    Fault::Connection(Code::PROTOCOL_ERROR, why)
}

fn size(why: &'static str) -> Fault {
    Fault::Connection(Code::FRAME_SIZE_ERROR, why)
}

fn on_a_stream(head: Head, why: &'static str) -> Result<u32, Fault> {
    match head.stream {
        0 => Err(protocol(why)),
        stream => Ok(stream),
    }
}

fn on_the_connection(head: Head, why: &'static str) -> Result<(), Fault> {
    match head.stream {
        0 => Ok(()),
        _ => Err(protocol(why)),
    }
}

/// RFC 9113, 6.1: what is left without the padding's length and the padding.
fn unpadded(head: Head, payload: &[u8]) -> Result<&[u8], Fault> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let (padding, rest) = payload
        .split_first()
        .ok_or_else(|| size("a padded frame without the length of its padding"))?;
    let kept = rest.len().checked_sub(usize::from(*padding));
    kept.and_then(|kept| rest.get(..kept))
        .ok_or_else(|| protocol("padding as long as its frame"))
}

fn data(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    Ok(Frame::Data {
        stream: on_a_stream(head, "DATA on stream 0")?,
        data: unpadded(head, payload)?,
        charged: head.length,
        ends_stream: head.has(flag::END_STREAM),
    })
}

fn headers(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    let stream = on_a_stream(head, "HEADERS on stream 0")?;
    let mut fragment = unpadded(head, payload)?;
    let mut depends_on_itself = false;
    if head.has(flag::PRIORITY) {
        let (priority, rest) = fragment
            .split_first_chunk::<5>()
            .ok_or_else(|| size("HEADERS too short for the priority it has"))?;
        depends_on_itself = depends_on(*priority) == stream;
        fragment = rest;
    }
    Ok(Frame::Headers {
        stream,
        fragment,
        depends_on_itself,
        ends_stream: head.has(flag::END_STREAM),
        ends_block: head.has(flag::END_HEADERS),
    })
}

fn continuation(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    Ok(Frame::Continuation {
        stream: on_a_stream(head, "CONTINUATION on stream 0")?,
        fragment: payload,
        ends_block: head.has(flag::END_HEADERS),
    })
}

/// The stream that a priority names; whether it does so alone is its highest bit.
fn depends_on([a, b, c, d, _]: [u8; 5]) -> u32 {
    number([a, b, c, d]) & LARGEST
}

fn priority(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    let stream = on_a_stream(head, "PRIORITY on stream 0")?;
    let Some(priority) = payload.as_array() else {
        let why = "PRIORITY is not five bytes";
        return Err(Fault::Stream(stream, Code::FRAME_SIZE_ERROR, why));
    };
    if depends_on(*priority) == stream {
        let why = "a stream depends on itself";
        return Err(Fault::Stream(stream, Code::PROTOCOL_ERROR, why));
    }
    Ok(Frame::Priority)
}

fn reset(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    let stream = on_a_stream(head, "RST_STREAM on stream 0")?;
    let code = payload.as_array().copied();
    let code = code.ok_or_else(|| size("RST_STREAM is not four bytes"))?;
    Ok(Frame::Reset {
        stream,
        code: Code(number(code)),
    })
}

fn settings(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    on_the_connection(head, "SETTINGS on a stream")?;
    if head.has(flag::ACK) {
        return match payload {
            [] => Ok(Frame::SettingsAck),
            _ => Err(size("an acknowledgement of SETTINGS with a payload")),
        };
    }
    let (entries, []) = payload.as_chunks::<6>() else {
        return Err(size("SETTINGS is not a multiple of six bytes"));
    };
    let mut settings = Settings::default();
    for [a, b, value @ ..] in entries {
        set(&mut settings, u16::from_be_bytes([*a, *b]), number(*value))?;
    }
    Ok(Frame::Settings(settings))
}

/// The last of several entries with one name holds.
fn set(settings: &mut Settings, name: u16, value: u32) -> Result<(), Fault> {
    match name {
        1 => settings.header_table_size = Some(value),
        2 => {
            if value > 1 {
                return Err(protocol("SETTINGS_ENABLE_PUSH is neither 0 nor 1"));
            }
            settings.enable_push = Some(value == 1);
        }
        3 => settings.max_concurrent_streams = Some(value),
        4 => {
            if value > LARGEST {
                let why = "SETTINGS_INITIAL_WINDOW_SIZE is above 2^31 - 1";
                return Err(Fault::Connection(Code::FLOW_CONTROL_ERROR, why));
            }
            settings.initial_window_size = Some(value);
        }
        5 => {
            if !(SMALLEST_MAX_SIZE..=LARGEST_MAX_SIZE).contains(&value) {
                return Err(protocol(
                    "SETTINGS_MAX_FRAME_SIZE is not within 2^14 and 2^24 - 1",
                ));
            }
            settings.max_frame_size = Some(value);
        }
        6 => settings.max_header_list_size = Some(value),
        _ => {}
    }
    Ok(())
}

fn ping(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    on_the_connection(head, "PING on a stream")?;
    let payload = payload.as_array().copied();
    Ok(Frame::Ping {
        payload: payload.ok_or_else(|| size("PING is not eight bytes"))?,
        is_answer: head.has(flag::ACK),
    })
}

fn go_away(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    on_the_connection(head, "GOAWAY on a stream")?;
    let Some(([a, b, c, d, code @ ..], debug)) = payload.split_first_chunk::<8>() else {
        return Err(size("GOAWAY is shorter than eight bytes"));
    };
    Ok(Frame::GoAway {
        last_stream: number([*a, *b, *c, *d]) & LARGEST,
        code: Code(number(*code)),
        debug,
    })
}

fn window_update(head: Head, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    let increment = payload.as_array().copied();
    let increment = increment.ok_or_else(|| size("WINDOW_UPDATE is not four bytes"))?;
    match (head.stream, number(increment) & LARGEST) {
        (0, 0) => Err(protocol("WINDOW_UPDATE of nothing")),
        (stream, 0) => {
            let why = "WINDOW_UPDATE of nothing";
            Err(Fault::Stream(stream, Code::PROTOCOL_ERROR, why))
        }
        (stream, increment) => Ok(Frame::WindowUpdate { stream, increment }),
    }
}

fn number(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes)
}
