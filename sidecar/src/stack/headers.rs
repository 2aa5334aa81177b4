//! A request's fields: as they came, shared by all attempts of the call, and what this hop says instead of or beside them. What is
//! said anew at every hop, and at every attempt, costs no copy of the rest.

use std::ops::Deref;
use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Hop count, trace, deadline and attempt number.
const USUAL: usize = 4;

/// Reads as what came; what this hop says is seen by whoever sends it.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    came: Rc<HeaderMap>,
    said: SmallVec<[(HeaderName, HeaderValue); USUAL]>,
}

impl Headers {
    /// What came, to be changed: copied first if another attempt has it too.
    pub fn edit(&mut self) -> &mut HeaderMap {
        Rc::make_mut(&mut self.came)
    }

    /// The next hop is told this, and nothing else under that name.
    pub fn say(&mut self, name: HeaderName, value: HeaderValue) {
        match self.said.iter_mut().find(|(said, _)| *said == name) {
            Some((_, before)) => *before = value,
            None => self.said.push((name, value)),
        }
    }

    /// What the next hop is told.
    pub fn sent(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let is_said = |name: &HeaderName| self.said.iter().any(|(said, _)| said == name);
        let came = self.came.iter().filter(move |(name, _)| !is_said(name));
        came.chain(self.said.iter().map(|(name, value)| (name, value)))
    }

    /// The same as a map.
    pub fn into_sent(self) -> HeaderMap {
        let mut sent = Rc::unwrap_or_clone(self.came);
        for (name, value) in self.said {
            sent.insert(name, value);
        }
        sent
    }
}

impl From<HeaderMap> for Headers {
    fn from(came: HeaderMap) -> Self {
        Self {
            came: Rc::new(came),
            said: SmallVec::new(),
        }
    }
}

impl Deref for Headers {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        &self.came
    }
}

/// A number as a field's value; those that count hops and attempts cost nothing.
pub fn number(number: u32) -> HeaderValue {
    const SMALL: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let small = SMALL.get(number as usize);
    small.map_or_else(
        || HeaderValue::from(number),
        |text| HeaderValue::from_static(text),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    }

    fn sent(headers: &Headers) -> Vec<(&str, &str)> {
        let texts = headers.sent();
        texts
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn what_this_hop_says_stands_in_place_of_what_came() {
        let mut came = HeaderMap::new();
        for (name, value) in [("x-a", "1"), ("x-b", "2"), ("x-a", "3"), ("te", "trailers")] {
            let (name, value) = field(name, value);
            came.append(name, value);
        }
        let mut headers = Headers::from(came);
        let mut say = |name, value| {
            let (name, value) = field(name, value);
            headers.say(name, value);
        };
        say("x-a", "ours");
        say("x-c", "first");
        say("x-c", "last");
        let mut expected = [
            ("x-b", "2"),
            ("te", "trailers"),
            ("x-a", "ours"),
            ("x-c", "last"),
        ];
        assert_eq!(sent(&headers), expected);
        assert_eq!(headers["x-a"], "1", "it reads as it came");
        let whole = Headers::from(headers.into_sent());
        expected.sort_unstable();
        let mut as_map = sent(&whole);
        as_map.sort_unstable();
        assert_eq!(as_map, expected);
    }

    #[test]
    fn a_number_reads_as_it_counts() {
        for value in [0, 1, 9, 10, u32::MAX] {
            assert_eq!(number(value), value.to_string());
        }
    }

    #[test]
    fn an_attempt_changes_nothing_for_the_next() {
        let first = Headers::from(HeaderMap::from_iter([field("x-a", "1")]));
        let mut second = first.clone();
        second.edit().remove("x-a");
        let (name, value) = field("x-b", "2");
        second.say(name, value);
        assert_eq!(sent(&first), [("x-a", "1")]);
        assert_eq!(sent(&second), [("x-b", "2")]);
    }
}
