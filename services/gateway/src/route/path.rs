//! The path of a request, parsed once: the same bytes decide the route, bind the variables and are
//! logged. What could be read in two ways is refused here.

use percent_encoding::percent_decode_str;

/// A canonical path, split at its literal slashes and still encoded but for unreserved characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    segments: Vec<String>,
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("the path must start with a slash")]
    Relative,
    #[error("the path holds a character that must be percent-encoded")]
    Raw,
    #[error("the path holds a percent sign without two hexadecimal digits behind it")]
    Escape,
    #[error("the path holds an encoded control character or backslash")]
    Control,
    #[error("the path holds an empty segment")]
    Empty,
    #[error("the path holds a dot segment")]
    Dots,
    #[error("the path is not UTF-8")]
    Utf8,
}

impl Path {
    pub(crate) fn parse(raw: &str) -> Result<Self, Error> {
        let rest = raw.strip_prefix('/').ok_or(Error::Relative)?;
        if rest.is_empty() {
            return Ok(Self {
                segments: Vec::new(),
            });
        }
        let parts: Vec<&str> = rest.split('/').collect();
        let last = parts.len() - 1;
        let mut segments = Vec::with_capacity(parts.len());
        for (index, part) in parts.into_iter().enumerate() {
            // An empty last segment is a trailing slash: another path, which no template matches.
            if part.is_empty() && index != last {
                return Err(Error::Empty);
            }
            segments.push(canonical(part)?);
        }
        Ok(Self { segments })
    }

    /// The segments; the last one is empty if the path ends in a slash.
    pub(crate) fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The path without a verb behind the last colon, and that verb.
    pub(crate) fn split_verb(&self) -> Option<(Self, &str)> {
        let (last, before) = self.segments.split_last()?;
        let (rest, verb) = last.rsplit_once(':')?;
        let mut segments = before.to_vec();
        segments.push(rest.to_owned());
        Some((Self { segments }, verb))
    }
}

/// Checks one segment and decodes its unreserved characters.
fn canonical(segment: &str) -> Result<String, Error> {
    let bytes = segment.as_bytes();
    let mut out = String::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        if !matches!(byte, 0x21..=0x7e) || matches!(byte, b'#' | b'\\' | b';') {
            return Err(Error::Raw);
        }
        if byte != b'%' {
            out.push(char::from(byte));
            index += 1;
            continue;
        }
        let escape = bytes.get(index..index + 3).ok_or(Error::Escape)?;
        let decoded = decode_escape(escape).ok_or(Error::Escape)?;
        match decoded {
            0..0x20 | 0x7f | b'\\' => return Err(Error::Control),
            b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                out.push(char::from(decoded));
            }
            _ => out.extend(escape.iter().map(|byte| char::from(*byte))),
        }
        index += 3;
    }
    if matches!(out.as_str(), "." | "..") {
        return Err(Error::Dots);
    }
    if percent_decode_str(&out).decode_utf8().is_err() {
        return Err(Error::Utf8);
    }
    Ok(out)
}

fn decode_escape(escape: &[u8]) -> Option<u8> {
    let [b'%', high, low] = *escape else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_paths_are_refused() {
        for (raw, expected) in [
            ("", Error::Relative),
            ("a", Error::Relative),
            ("/a b", Error::Raw),
            ("/a\u{7f}", Error::Raw),
            ("/é", Error::Raw),
            ("/a\\b", Error::Raw),
            ("/a;b", Error::Raw),
            ("/a#b", Error::Raw),
            ("/a%00", Error::Control),
            ("/a%0a", Error::Control),
            ("/a%5Cb", Error::Control),
            ("/a%5cb", Error::Control),
            ("/a%7F", Error::Control),
            ("/a%", Error::Escape),
            ("/a%2", Error::Escape),
            ("/a%zz", Error::Escape),
            ("//", Error::Empty),
            ("//a", Error::Empty),
            ("/a//b", Error::Empty),
            ("/.", Error::Dots),
            ("/a/..", Error::Dots),
            ("/a/../b", Error::Dots),
            ("/a/%2e%2E/b", Error::Dots),
            ("/a/.%2e/b", Error::Dots),
            ("/a%ff", Error::Utf8),
            ("/a%C3", Error::Utf8),
        ] {
            assert_eq!(Path::parse(raw), Err(expected), "{raw}");
        }
    }

    #[test]
    fn unreserved_characters_are_decoded_and_others_kept() {
        for (raw, expected) in [
            ("/", vec![]),
            ("/a", vec!["a"]),
            ("/a/", vec!["a", ""]),
            ("/%61%2D/b", vec!["a-", "b"]),
            ("/a%2fb/%C3%A9", vec!["a%2fb", "%C3%A9"]),
            ("/a%3Ago", vec!["a%3Ago"]),
            ("/a%25", vec!["a%25"]),
        ] {
            assert_eq!(Path::parse(raw).unwrap().segments(), expected, "{raw}");
        }
    }
}
