//! Message framing: counts the messages in a stream of bytes without keeping any of them.

use std::cell::Cell;
use std::rc::Rc;

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
    /// The body is not gRPC: only its bytes are counted.
    is_opaque: bool,
}

/// A count: kept by its owner, or kept for it where the bytes no longer pass it.
#[derive(Clone, Debug)]
pub enum Tally {
    Own(Counter),
    /// Whoever lets them pass counts them.
    Kept(Rc<Cell<Counter>>),
}

// === impl Counter ===

impl Counter {
    pub fn new(is_grpc: bool) -> Self {
        Self {
            is_opaque: !is_grpc,
            ..Self::default()
        }
    }

    /// Looks at the next piece of the stream; pieces may cut messages anywhere.
    pub fn see(&mut self, mut piece: &[u8]) {
        self.bytes += piece.len() as u64;
        if self.is_opaque {
            return;
        }
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

    /// Whether the stream stands between two messages.
    pub fn is_whole(&self) -> bool {
        self.seen == 0 && self.left == 0
    }
}

// === impl Tally ===

impl Default for Tally {
    fn default() -> Self {
        Self::Own(Counter::default())
    }
}

impl Tally {
    pub fn new(is_grpc: bool) -> Self {
        Self::Own(Counter::new(is_grpc))
    }

    /// Looks at the next piece, unless somebody else does.
    pub fn see(&mut self, piece: &[u8]) {
        if let Self::Own(counter) = self {
            counter.see(piece);
        }
    }

    pub fn count(&self) -> Counter {
        match self {
            Self::Own(counter) => *counter,
            Self::Kept(kept) => kept.get(),
        }
    }

    /// From now on the count is kept in `place`, which begins with what was counted here.
    pub fn move_to(&mut self, place: &Rc<Cell<Counter>>) {
        place.set(self.count());
        *self = Self::Kept(Rc::clone(place));
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
    fn a_count_that_is_kept_elsewhere_goes_on_there() {
        let bytes = stream(&[3, 300, 1]);
        let (first, rest) = bytes.split_at(20);
        let mut tallies = [Tally::new(true), Tally::new(true)];
        let place = Rc::default();
        for tally in &mut tallies {
            tally.see(first);
            tally.move_to(&place);
        }
        let mut counter = place.get();
        counter.see(rest);
        place.set(counter);
        for tally in &mut tallies {
            tally.see(b"what is seen twice is counted once");
            let count = tally.count();
            assert_eq!(
                (count.messages, count.bytes, count.is_whole()),
                (3, bytes.len() as u64, true)
            );
        }
    }

    #[test]
    fn bytes_that_are_no_messages_are_counted_as_bytes() {
        let mut counter = Counter::new(false);
        counter.see(&stream(&[1, 2]));
        assert_eq!((counter.messages, counter.bytes), (0, 13));
        assert!(counter.is_whole());
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
