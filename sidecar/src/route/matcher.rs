//! Does a route of a `service-router` match? Path, headers, query and method; all that are given must hold.

use http::{HeaderMap, Method};
use outrigger_consul::config::router::{HeaderMatch, HttpMatch, QueryMatch};
use regex::{Regex, RegexBuilder};

/// A compiled pattern may take this much memory: patterns come from configuration, not from us.
const REGEX_SIZE: usize = 1 << 20;

/// The parts of a call that routes look at.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Without the query.
    pub path: &'a str,
    pub query: &'a str,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
}

/// A match that cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("invalid pattern {pattern:?}: {source}")]
    Regex {
        pattern: String,
        source: Box<regex::Error>,
    },
    #[error("header or query match {0:?} says nothing to compare with")]
    Empty(String),
}

/// A compiled `Match.HTTP`; the default matches everything.
#[derive(Debug, Default)]
pub struct Matcher {
    path: Option<Path>,
    headers: Vec<(String, Text, bool)>,
    query: Vec<(String, Text)>,
    methods: Vec<String>,
}

#[derive(Debug)]
enum Path {
    Exact(String, bool),
    Prefix(String, bool),
    Regex(Regex),
}

#[derive(Debug)]
enum Text {
    Present,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
}

// === impl Matcher ===

impl Matcher {
    pub fn new(http: &HttpMatch) -> Result<Self, Error> {
        let fold = http.case_insensitive;
        let path = if !http.path_exact.is_empty() {
            Some(Path::Exact(http.path_exact.clone(), fold))
        } else if !http.path_prefix.is_empty() {
            Some(Path::Prefix(http.path_prefix.clone(), fold))
        } else if !http.path_regex.is_empty() {
            Some(Path::Regex(full_match(&http.path_regex, fold)?))
        } else {
            None
        };
        let headers = http.header.iter().map(header).collect::<Result<_, _>>()?;
        let query = http
            .query_param
            .iter()
            .map(query)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            path,
            headers,
            query,
            methods: http
                .methods
                .iter()
                .map(|method| method.to_ascii_uppercase())
                .collect(),
        })
    }

    pub fn matches(&self, request: &Request<'_>) -> bool {
        self.path
            .as_ref()
            .is_none_or(|path| path.matches(request.path))
            && (self.methods.is_empty()
                || self
                    .methods
                    .iter()
                    .any(|method| method == request.method.as_str()))
            && self
                .headers
                .iter()
                .all(|(name, text, invert)| header_matches(request.headers, name, text, *invert))
            && self
                .query
                .iter()
                .all(|(name, text)| query_matches(request.query, name, text))
    }

    /// The part of the path that a prefix rewrite replaces.
    pub fn matched_prefix(&self) -> Option<&str> {
        match &self.path {
            Some(Path::Exact(path, _) | Path::Prefix(path, _)) => Some(path),
            Some(Path::Regex(_)) | None => None,
        }
    }
}

// === impl Path ===

impl Path {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact, false) => path == exact,
            Self::Exact(exact, true) => path.eq_ignore_ascii_case(exact),
            Self::Prefix(prefix, false) => path.starts_with(prefix.as_str()),
            Self::Prefix(prefix, true) => path
                .split_at_checked(prefix.len())
                .is_some_and(|(start, _)| start.eq_ignore_ascii_case(prefix)),
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

// === impl Text ===

impl Text {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(exact) => value == exact,
            Self::Prefix(prefix) => value.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => value.ends_with(suffix.as_str()),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// Patterns match the whole text.
fn full_match(pattern: &str, fold: bool) -> Result<Regex, Error> {
    let anchored = format!("^(?:{pattern})$");
    RegexBuilder::new(&anchored)
        .case_insensitive(fold)
        .size_limit(REGEX_SIZE)
        .build()
        .map_err(|source| Error::Regex {
            pattern: pattern.to_owned(),
            source: Box::new(source),
        })
}

fn header(given: &HeaderMatch) -> Result<(String, Text, bool), Error> {
    let text = if given.present {
        Text::Present
    } else if !given.exact.is_empty() {
        Text::Exact(given.exact.clone())
    } else if !given.prefix.is_empty() {
        Text::Prefix(given.prefix.clone())
    } else if !given.suffix.is_empty() {
        Text::Suffix(given.suffix.clone())
    } else if !given.regex.is_empty() {
        Text::Regex(full_match(&given.regex, false)?)
    } else {
        return Err(Error::Empty(given.name.clone()));
    };
    Ok((given.name.to_ascii_lowercase(), text, given.invert))
}

fn query(given: &QueryMatch) -> Result<(String, Text), Error> {
    let text = if given.present {
        Text::Present
    } else if !given.exact.is_empty() {
        Text::Exact(given.exact.clone())
    } else if !given.regex.is_empty() {
        Text::Regex(full_match(&given.regex, false)?)
    } else {
        return Err(Error::Empty(given.name.clone()));
    };
    Ok((given.name.clone(), text))
}

/// Each value is tried alone, and all of them joined by commas. Bytes outside visible ASCII fail a positive match. A condition on a
/// missing header is false even when inverted, except `Present`.
fn header_matches(headers: &HeaderMap, name: &str, text: &Text, invert: bool) -> bool {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    if let Text::Present = text {
        return values.is_empty() == invert;
    }
    if values.is_empty() {
        return false;
    }
    let Some(readable) = values
        .iter()
        .map(|value| value.to_str().ok())
        .collect::<Option<Vec<_>>>()
    else {
        return false;
    };
    let holds = readable.iter().any(|value| text.matches(value))
        || (readable.len() > 1 && text.matches(&readable.join(",")));
    holds != invert
}

fn query_matches(query: &str, name: &str, text: &Text) -> bool {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .any(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            decode(key) == name && text.matches(&decode(value))
        })
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn check(
        http: &HttpMatch,
        path: &str,
        query: &str,
        headers: &[(&'static str, &'static str)],
        expected: bool,
    ) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let request = Request {
            path,
            query,
            method: &Method::POST,
            headers: &headers,
        };
        assert_eq!(
            Matcher::new(http).unwrap().matches(&request),
            expected,
            "{http:?} {path}?{query} {headers:?}"
        );
    }

    #[test]
    fn paths() {
        let exact = HttpMatch {
            path_exact: "/a".to_owned(),
            ..HttpMatch::default()
        };
        let prefix = HttpMatch {
            path_prefix: "/a".to_owned(),
            ..HttpMatch::default()
        };
        let regex = HttpMatch {
            path_regex: "/a/[0-9]+".to_owned(),
            ..HttpMatch::default()
        };
        let folded = HttpMatch {
            path_prefix: "/Ab".to_owned(),
            case_insensitive: true,
            ..HttpMatch::default()
        };
        for (http, path, expected) in [
            (&HttpMatch::default(), "/anything", true),
            (&exact, "/a", true),
            (&exact, "/ab", false),
            (&exact, "/A", false),
            (&prefix, "/ab", true),
            (&prefix, "/b", false),
            (&regex, "/a/17", true),
            (&regex, "/a/17/x", false),
            (&regex, "x/a/17", false),
            (&folded, "/aBc", true),
            (&folded, "/a", false),
        ] {
            check(http, path, "", &[], expected);
        }
    }

    #[test]
    fn headers() {
        let of = |change: fn(&mut HeaderMatch)| {
            let mut header = HeaderMatch {
                name: "X-A".to_owned(),
                ..HeaderMatch::default()
            };
            change(&mut header);
            HttpMatch {
                header: vec![header],
                ..HttpMatch::default()
            }
        };
        let present = of(|header| header.present = true);
        let absent = of(|header| (header.present, header.invert) = (true, true));
        let exact = of(|header| header.exact = "1".to_owned());
        let not_exact = of(|header| (header.exact, header.invert) = ("1".to_owned(), true));
        let joined = of(|header| header.exact = "1,2".to_owned());
        for (http, headers, expected) in [
            (&present, &[("x-a", "9")][..], true),
            (&present, &[], false),
            (&absent, &[], true),
            (&absent, &[("x-a", "9")], false),
            (&exact, &[("x-a", "1")], true),
            (&exact, &[("x-a", "2"), ("x-a", "1")], true),
            (&exact, &[], false),
            (&not_exact, &[("x-a", "2")], true),
            (&not_exact, &[], false),
            (&joined, &[("x-a", "1"), ("x-a", "2")], true),
        ] {
            check(http, "/", "", headers, expected);
        }
    }

    #[test]
    fn query_and_method() {
        let query = HttpMatch {
            query_param: vec![QueryMatch {
                name: "a b".to_owned(),
                exact: "1".to_owned(),
                ..QueryMatch::default()
            }],
            ..HttpMatch::default()
        };
        check(&query, "/", "x=2&a%20b=1", &[], true);
        check(&query, "/", "a+b=1", &[], true);
        check(&query, "/", "a+b=2", &[], false);
        check(&query, "/", "", &[], false);
        check(
            &HttpMatch {
                methods: vec!["get".to_owned()],
                ..HttpMatch::default()
            },
            "/",
            "",
            &[],
            false,
        );
        check(
            &HttpMatch {
                methods: vec!["get".to_owned(), "POST".to_owned()],
                ..HttpMatch::default()
            },
            "/",
            "",
            &[],
            true,
        );
    }

    #[test]
    fn what_cannot_be_evaluated_is_an_error() {
        assert!(
            Matcher::new(&HttpMatch {
                path_regex: "(".to_owned(),
                ..HttpMatch::default()
            })
            .is_err()
        );
        assert!(
            Matcher::new(&HttpMatch {
                header: vec![HeaderMatch {
                    name: "x".to_owned(),
                    ..HeaderMatch::default()
                }],
                ..HttpMatch::default()
            })
            .is_err()
        );
    }
}
