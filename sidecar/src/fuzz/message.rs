//! gRPC's framing (five bytes, then a message): cut anywhere, a stream has the same messages.

use crate::grpc::message::Counter;

pub(super) fn run(bytes: &[u8]) {
    let Some((step, stream)) = bytes.split_first() else {
        return;
    };
    let mut counter = Counter::default();
    for piece in stream.chunks(usize::from(*step).max(1)) {
        counter.see(piece);
    }
    assert_eq!(counter.bytes, stream.len() as u64);
    let (messages, is_whole) = count(stream);
    assert_eq!((counter.messages, counter.is_whole()), (messages, is_whole));
}

/// The same, with the whole stream at hand.
fn count(mut stream: &[u8]) -> (u64, bool) {
    let mut messages = 0;
    while let Some((prefix, rest)) = stream.split_first_chunk::<5>() {
        let [_, length @ ..] = *prefix;
        messages += 1;
        match rest.get(u32::from_be_bytes(length) as usize..) {
            Some(behind) => stream = behind,
            None => return (messages, false),
        }
    }
    (messages, stream.is_empty())
}
