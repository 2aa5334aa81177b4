//! Streams that wait for what all of a connection share: its window, and the room before its socket.
//!
//! Those that got nothing when they were last woken come first, in the order in which they came; so each gets some before another gets
//! more. No more are woken than there may be room for, or a thousand would run for what the first of them takes.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::connection::ById;
use super::mailbox::Mailbox;

/// Of so many bytes each stream that is woken is expected to take its part.
const EACH: usize = 512;
/// And so many are woken however little room there is.
const FEW: usize = 16;

/// When a stream's turn is: those that got some come behind.
type Place = (bool, u64);

#[derive(Debug, Default)]
pub(super) struct Waiting {
    places: ById<Place>,
    queue: BTreeMap<Place, (u32, Rc<Mailbox>)>,
    next: u64,
}

// === impl Waiting ===

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// A stream wants to send more; whether it just could send some. Who waits already keeps its place.
    pub(super) fn insert(&mut self, stream: u32, mailbox: &Rc<Mailbox>, got_some: bool) {
        if self.places.contains_key(&stream) {
            return;
        }
        let place = (got_some, self.next);
        self.next += 1;
        self.places.insert(stream, place);
        self.queue.insert(place, (stream, Rc::clone(mailbox)));
    }

    pub(super) fn remove(&mut self, stream: u32) {
        if let Some(place) = self.places.remove(&stream) {
            self.queue.remove(&place);
        }
    }

    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.queue.clear();
    }

    /// Wakes those whose turn it is, for so many bytes.
    pub(super) fn wake(&mut self, room: usize) {
        for _ in 0..FEW + room / EACH {
            let Some((_, (stream, mailbox))) = self.queue.pop_first() else {
                return;
            };
            self.places.remove(&stream);
            mailbox.room();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(waiting: &Waiting) -> Vec<u32> {
        let streams = waiting.queue.values();
        streams.map(|(stream, _)| *stream).collect()
    }

    #[test]
    fn who_got_nothing_comes_before_who_got_some() {
        let mut waiting = Waiting::default();
        for (stream, got_some) in [(1, true), (3, false), (5, true), (7, false), (1, false)] {
            waiting.insert(stream, &Rc::default(), got_some);
        }
        assert_eq!(order(&waiting), [3, 7, 1, 5]);
        waiting.remove(7);
        assert_eq!(order(&waiting), [3, 1, 5]);
        waiting.clear();
        assert!(waiting.is_empty() && waiting.places.is_empty());
    }

    #[test]
    fn no_more_are_woken_than_there_is_room_for() {
        let mut waiting = Waiting::default();
        for stream in 0..100 {
            waiting.insert(stream, &Rc::default(), false);
        }
        waiting.wake(0);
        assert_eq!(order(&waiting)[0], 16);
        waiting.wake(EACH);
        assert_eq!(order(&waiting)[0], 33);
        waiting.wake(1 << 20);
        assert!(waiting.is_empty() && waiting.places.is_empty());
    }
}
