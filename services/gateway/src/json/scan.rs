//! One pass over JSON text, before it is parsed: depth, names that come twice, numbers that would be rounded, strings
//! that would break what reads them.

use std::collections::BTreeSet;

use crate::error::Refusal;

const DEEPEST: usize = 64;
/// From here on a double no longer holds every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Checks the text; what is no JSON at all is left to the parser.
pub(super) fn check(text: &[u8]) -> Result<(), Refusal> {
    let text = std::str::from_utf8(text)
        .map_err(|_| Refusal::new("JSON_INVALID", "the body is not UTF-8"))?;
    let mut scan = Scan {
        text: text.as_bytes(),
        at: 0,
        open: Vec::new(),
    };
    scan.run()
}

/// A container that has been entered: an object's names so far, or an array.
enum Open {
    Object {
        names: BTreeSet<String>,
        at_name: bool,
    },
    Array,
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    open: Vec<Open>,
}

impl Scan<'_> {
    fn run(&mut self) -> Result<(), Refusal> {
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => self.string()?,
                b'{' => self.enter(Open::Object {
                    names: BTreeSet::new(),
                    at_name: true,
                })?,
                b'[' => self.enter(Open::Array)?,
                b'}' | b']' => {
                    self.open.pop();
                    self.at += 1;
                }
                b',' => {
                    if let Some(Open::Object { at_name, .. }) = self.open.last_mut() {
                        *at_name = true;
                    }
                    self.at += 1;
                }
                b'-' | b'0'..=b'9' => self.number()?,
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    fn enter(&mut self, container: Open) -> Result<(), Refusal> {
        if self.open.len() == DEEPEST {
            return Err(Refusal::new(
                "JSON_INVALID",
                format!("the body is nested deeper than {DEEPEST} levels"),
            ));
        }
        self.open.push(container);
        self.at += 1;
        Ok(())
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
        if value.contains('\0') {
            return Err(Refusal::new(
                "JSON_INVALID",
                "a string holds a zero character",
            ));
        }
        self.name(&value)
    }

    /// Notes a name, under its one spelling: both names of a field are the same.
    fn name(&mut self, value: &str) -> Result<(), Refusal> {
        let Some(Open::Object { names, at_name }) = self.open.last_mut() else {
            return Ok(());
        };
        if !std::mem::take(at_name) || names.insert(camel(value)) {
            return Ok(());
        }
        Err(
            Refusal::new("DUPLICATE_FIELD", format!("`{value}` is given twice"))
                .with_field(value, &"is given twice"),
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
        if is_exact(spelt) {
            return Ok(());
        }
        Err(Refusal::new(
            "JSON_INVALID",
            format!("the number {spelt} cannot be kept exactly; write it as a string"),
        ))
    }
}

/// Whole numbers fit their type; whole numbers written with a point or an exponent fit a double.
fn is_exact(spelt: &str) -> bool {
    if spelt.contains(['.', 'e', 'E']) {
        let value: f64 = spelt.parse().unwrap_or(f64::INFINITY);
        return value.is_finite() && (value.fract() != 0.0 || value.abs() < EXACT);
    }
    spelt.parse::<u64>().is_ok() || spelt.parse::<i64>().is_ok()
}

/// `product_id` as JSON spells it: `productId`.
fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for char in name.chars() {
        if char == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            out.extend(char.to_uppercase());
        } else {
            out.push(char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_bent_or_dropped_is_refused() {
        for (text, expected) in [
            (r#"{"a":1,"b":[1,{"a":2}],"a_b":"x"}"#, None),
            (r#"{"a":"{\"a\":1,\"a\":2}"}"#, None),
            (r#"{"a":"a","b":"a"}"#, None),
            (r#"{"a":1.0,"b":1e2,"c":-3}"#, None),
            (r#"{"a":1,"a":2}"#, Some("DUPLICATE_FIELD")),
            (r#"{"x":{"a_b":1,"aB":2}}"#, Some("DUPLICATE_FIELD")),
            (r#"{"a":9007199254740993.0}"#, Some("JSON_INVALID")),
            (r#"{"a":18446744073709551616}"#, Some("JSON_INVALID")),
            (r#"{"a":1e400}"#, Some("JSON_INVALID")),
            (r#"{"a":"\u0000"}"#, Some("JSON_INVALID")),
        ] {
            let refused = check(text.as_bytes()).err().map(|refusal| refusal.reason());
            assert_eq!(refused, expected, "{text}");
        }
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(check(deep(DEEPEST).as_bytes()).is_ok());
        assert!(check(deep(DEEPEST + 1).as_bytes()).is_err());
        assert!(check(&[b'"', 0xff, b'"']).is_err());
    }
}
