//! Message framing: counts the messages in a stream of bytes without keeping any of them.

/// Reads the five-byte prefixes that pass by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    /// Messages whose prefix was complete.
    pub messages: u64,
    /// All bytes seen, prefixes included.
    pub bytes: u64,
    prefix: [u8; 4],
    /// How many of the five prefix bytes were seen.
    seen: u8,
    /// Bytes of the current message still to come.
    left: u32,
}

impl Counter {
    /// Looks at the next piece of the stream; pieces may cut messages anywhere.
    pub fn see(&mut self, mut piece: &[u8]) {
        self.bytes += piece.len() as u64;
        while !piece.is_empty() {
            if self.left > 0 {
                let step = piece.len().min(self.left as usize);
                self.left -= u32::try_from(step).unwrap_or(self.left);
                piece = piece.split_at(step).1;
                continue;
            }
            let (byte, rest) = (piece[0], piece.split_at(1).1);
            if self.seen > 0 {
                self.prefix[usize::from(self.seen) - 1] = byte;
            }
            self.seen += 1;
            piece = rest;
            if self.seen == 5 {
                self.left = u32::from_be_bytes(self.prefix);
                self.seen = 0;
                self.messages += 1;
            }
        }
    }

    /// Bytes of a body that is not gRPC.
    pub fn see_opaque(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
    }

    /// Whether the stream stands between two messages.
    pub fn is_whole(&self) -> bool {
        self.seen == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(sizes: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for size in sizes {
            bytes.push(0);
            bytes.extend(u32::try_from(*size).unwrap().to_be_bytes());
            bytes.extend(std::iter::repeat_n(0xff, *size));
        }
        bytes
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let bytes = stream(&[0, 3, 0, 300, 1]);
        for step in 1..=bytes.len() {
            let mut counter = Counter::default();
            for piece in bytes.chunks(step) {
                counter.see(piece);
            }
            assert_eq!(
                (counter.messages, counter.bytes, counter.is_whole()),
                (5, bytes.len() as u64, true),
                "cut every {step}"
            );
        }
    }

    #[test]
    fn a_stream_cut_inside_a_message_is_not_whole() {
        let bytes = stream(&[4]);
        for end in 1..bytes.len() {
            let mut counter = Counter::default();
            counter.see(&bytes[..end]);
            assert!(!counter.is_whole(), "{end}");
        }
    }
}
