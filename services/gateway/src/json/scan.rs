//! One pass over JSON text, before it is parsed, beside the contract: depth, names that come twice or that nobody
//! knows, numbers that would be rounded, spellings that the parser would bend. What is no JSON at all is left to the
//! parser.

use std::collections::BTreeSet;

use prost_reflect::MessageDescriptor;

use super::expected::Expected;
use super::spelling;
use crate::error::Refusal;
use crate::limit::Limit;

/// Checks the text of a message of this kind.
pub(super) fn check(kind: &MessageDescriptor, text: &[u8], deepest: usize) -> Result<(), Refusal> {
    let text = std::str::from_utf8(text)
        .map_err(|_| Refusal::new("JSON_INVALID", "the body is not UTF-8"))?;
    let mut scan = Scan {
        text: text.as_bytes(),
        at: 0,
        deepest,
        whole: Expected::message(kind),
        open: Vec::new(),
    };
    scan.run()
}

/// A container that has been entered.
struct Open {
    expected: Expected,
    names: BTreeSet<String>,
    at_name: bool,
    /// The current name, or the index of the current element.
    place: Place,
}

enum Place {
    Name(String),
    Index(usize),
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    deepest: usize,
    whole: Expected,
    open: Vec<Open>,
}

impl Scan<'_> {
    fn run(&mut self) -> Result<(), Refusal> {
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => self.string()?,
                b'{' => self.enter(Place::Name(String::new()))?,
                b'[' => self.enter(Place::Index(0))?,
                b'}' | b']' => {
                    self.open.pop();
                    self.at += 1;
                }
                b',' => self.comma(),
                b'-' | b'0'..=b'9' => self.number()?,
                b'n' => self.null()?,
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    fn comma(&mut self) {
        self.at += 1;
        if let Some(open) = self.open.last_mut() {
            match &mut open.place {
                Place::Name(_) => open.at_name = true,
                Place::Index(index) => *index += 1,
            }
        }
    }

    fn enter(&mut self, place: Place) -> Result<(), Refusal> {
        if self.open.len() == self.deepest {
            let message = format!("the body is nested deeper than {} levels", self.deepest);
            return Err(Refusal::new("JSON_INVALID", message).past(Limit::JsonDepth));
        }
        let at_name = matches!(place, Place::Name(_));
        let expected = self.expected();
        self.open.push(Open {
            // A list where an object stands, or the other way round, is the parser's to refuse.
            expected: if expected.is_object() == at_name {
                expected
            } else {
                Expected::Free
            },
            names: BTreeSet::new(),
            at_name,
            place,
        });
        self.at += 1;
        Ok(())
    }

    /// What the contract wants where we stand.
    fn expected(&self) -> Expected {
        let Some(open) = self.open.last() else {
            return self.whole.clone();
        };
        let name = match &open.place {
            Place::Name(name) => name.as_str(),
            Place::Index(_) => "",
        };
        open.expected.inside(name)
    }

    fn string(&mut self) -> Result<(), Refusal> {
        let start = self.at;
        self.at += 1;
        while let Some(&byte) = self.text.get(self.at) {
            self.at += match byte {
                b'\\' => 2,
                b'"' => break,
                _ => 1,
            };
        }
        self.at += 1;
        let quoted = self.text.get(start..self.at).unwrap_or_default();
        // What is no string is the parser's to say.
        let Ok(value) = serde_json::from_slice::<String>(quoted) else {
            return Ok(());
        };
        let is_name = match self.open.last_mut() {
            Some(open) => std::mem::take(&mut open.at_name),
            None => false,
        };
        if is_name {
            return self.name(value);
        }
        if value.contains('\0') {
            return Err(self.refused("holds a zero character"));
        }
        let fault = spelling::of_text(&self.expected(), &value);
        fault.map_or(Ok(()), |fault| Err(self.refused(fault)))
    }

    /// Notes a name; both names of a field are the same.
    fn name(&mut self, name: String) -> Result<(), Refusal> {
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        let known = open.expected.canonical(&name);
        open.place = Place::Name(name);
        let Some(known) = known else {
            return Err(self.refused("is no field of the request"));
        };
        if open_names(&mut self.open).insert(known) {
            return Ok(());
        }
        let place = self.place();
        Err(
            Refusal::new("DUPLICATE_FIELD", format!("{place} is given twice"))
                .with_field(&place, &"is given twice"),
        )
    }

    fn number(&mut self) -> Result<(), Refusal> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .count();
        let spelt = std::str::from_utf8(rest.get(..length).unwrap_or_default()).unwrap_or_default();
        self.at += length.max(1);
        let fault = spelling::of_number(&self.expected(), spelt);
        fault.map_or(Ok(()), |fault| Err(self.refused(fault)))
    }

    fn null(&mut self) -> Result<(), Refusal> {
        self.at += "null".len();
        let element = self.open.last();
        if element.is_some_and(|open| open.expected.holds_elements()) && !self.expected().is_free()
        {
            return Err(self.refused("must not be null"));
        }
        Ok(())
    }

    fn refused(&self, fault: &'static str) -> Refusal {
        let place = self.place();
        Refusal::new("JSON_INVALID", format!("{place} {fault}")).with_field(&place, &fault)
    }

    /// `items[0].price`
    fn place(&self) -> String {
        let mut text = String::new();
        for open in &self.open {
            match &open.place {
                Place::Name(name) if text.is_empty() => text.push_str(name),
                Place::Name(name) => text.extend([".", name]),
                Place::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }
}

fn open_names(open: &mut [Open]) -> &mut BTreeSet<String> {
    &mut open.last_mut().expect("a name stands in an object").names
}

#[cfg(test)]
mod tests;
