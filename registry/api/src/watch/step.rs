//! Where a watch continues after an answer.

use super::Blocking;
use crate::client::Answer;

/// What the next request blocks on; the default blocks on nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) index: u64,
    pub(super) hash: Option<String>,
}

/// An index that went back starts the watch over: the server was restored, or the last instance vanished. A missing
/// index makes it a plain poll, which only the token bucket slows down.
pub(super) fn after_answer<T>(
    blocking: Blocking,
    position: &Position,
    answer: &Answer<T>,
) -> Position {
    match blocking {
        Blocking::Hash => Position {
            index: 0,
            hash: answer.hash.clone(),
        },
        Blocking::Index => {
            let index = match answer.index {
                None => 0,
                Some(new) if new.max(1) < position.index => 0,
                Some(new) => new.max(1),
            };
            Position { index, hash: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_moves_on_or_starts_over() {
        for (held, answered, expected) in [
            (0, Some(7), 7),
            (7, Some(7), 7),
            (7, Some(9), 9),
            (7, Some(3), 0),
            (0, Some(0), 1),
            (7, Some(0), 0),
            (7, None, 0),
        ] {
            let answer = Answer {
                value: (),
                index: answered,
                hash: None,
                default_policy: None,
            };
            let next = after_answer(
                Blocking::Index,
                &Position {
                    index: held,
                    hash: None,
                },
                &answer,
            );
            assert_eq!(next.index, expected, "held {held}, answered {answered:?}");
        }
    }
}
