//! What a call's head costs while we have it, and whether there is room for it. Many fields are a byte each on the wire (RFC 7541, 6.1)
//! and a place of their own in a map, so bytes of text say little.

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::account::{Account, Held};

/// A place of a map: hash, name, value, links to further values.
const PLACE: usize = 104;
/// Its share of the index, of which a quarter stays free.
const INDEX: usize = 6;
/// A further value of the same name.
const FURTHER: usize = 72;

/// The room that a call's head has of the process's. Attempts share it as they share the head. It is given back with the head, not with
/// the call: a call that was sent on has no head any more.
#[derive(Clone, Debug, Default)]
pub enum Room {
    /// Nobody has asked for it yet.
    #[default]
    Unasked,
    Held(Rc<Held>),
    /// There was none: the head is gone, and the call is to be refused.
    Refused,
}

// === impl Room ===

impl Room {
    /// For this head, and `beside` bytes that came with it; `is_known`: on a connection that has been served before.
    pub(crate) fn ask(
        account: &Arc<Account>,
        headers: &HeaderMap,
        beside: usize,
        is_known: bool,
    ) -> Self {
        let bytes = cost(headers, beside);
        let held = match is_known {
            true => account.hold(bytes),
            false => account.hold_unknown(bytes),
        };
        held.map_or(Self::Refused, |held| Self::Held(Rc::new(held)))
    }
}

/// Bytes of memory, those of names and values as if nobody shared them.
fn cost(headers: &HeaderMap, beside: usize) -> u64 {
    let text = |(name, value): (&http::HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    let texts = headers.iter().map(text).sum::<usize>();
    let further = headers.len() - headers.keys_len();
    let further = if further == 0 {
        0
    } else {
        further.next_power_of_two()
    };
    let map = headers.capacity() * (PLACE + INDEX) + further * FURTHER;
    (map + texts + beside) as u64
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(names: usize, values: usize) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in 0..names {
            let name = HeaderName::try_from(format!("x-{name:02}")).unwrap();
            for _ in 0..values {
                headers.append(name.clone(), HeaderValue::from_static("12"));
            }
        }
        headers
    }

    #[test]
    fn a_map_costs_its_places_and_not_only_its_texts() {
        for (names, values, beside, expected) in [
            (0, 0, 0, 0),
            (0, 0, 50, 50),
            (1, 1, 0, 6 * 110 + 6),
            (96, 1, 0, 96 * 110 + 96 * 6),
            (97, 1, 0, 192 * 110 + 97 * 6),
            (1, 98, 10, 6 * 110 + 128 * 72 + 98 * 6 + 10),
        ] {
            let cost = cost(&headers(names, values), beside);
            assert_eq!(cost, expected, "{names} names of {values}");
        }
    }

    #[test]
    fn what_a_place_takes_is_what_is_counted() {
        assert!(size_of::<(u16, Option<[usize; 2]>, HeaderName, HeaderValue)>() <= PLACE);
        assert!(size_of::<(HeaderValue, [[usize; 2]; 2])>() <= FURTHER);
    }

    #[test]
    fn room_is_given_back_with_the_last_who_has_the_head() {
        let account = Account::new(1000);
        let room = Room::ask(&account, &HeaderMap::new(), 900, true);
        assert!(matches!(room, Room::Held(_)));
        let again = room.clone();
        assert_eq!(account.used(), 900);
        let none = Room::ask(&account, &HeaderMap::new(), 101, true);
        assert!(matches!(none, Room::Refused));
        drop(none);
        drop(room);
        assert_eq!(account.used(), 900);
        drop(again);
        assert_eq!(account.used(), 0);
    }
}
