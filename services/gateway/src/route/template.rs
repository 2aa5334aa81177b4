//! Path templates of `google.api.http`:
//!
//! ```text
//! Template = "/" [ Segments ] [ Verb ]      Variable  = "{" FieldPath [ "=" Segments ] "}"
//! Segments = Segment { "/" Segment }        FieldPath = IDENT { "." IDENT }
//! Segment  = "*" | "**" | LITERAL | Variable      Verb = ":" LITERAL
//! ```
//!
//! `*` is exactly one segment, `**` any number. After `**` only literals may follow. Variables do not
//! nest and fill whole segments.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::Path;

/// A template with its variables flattened into their segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    segments: Vec<Segment>,
    variables: Vec<Variable>,
    verb: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    Literal(String),
    Single,
    Multi,
}

/// A field that takes its value from a range of segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// The path of the field, outermost first, by proto names.
    pub(crate) field: Vec<String>,
    start: usize,
    end: usize,
}

/// Why a template is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("a template starts with a slash")]
    NoSlash,
    #[error("a segment is empty")]
    EmptySegment,
    #[error("a verb is a literal behind the last segment's colon")]
    Verb,
    #[error("a variable is `{{field}}` or `{{field=segments}}` and fills whole segments")]
    Variable,
    #[error("`{0}` is no literal")]
    Literal(String),
    #[error("only literals may follow `**`")]
    AfterMulti,
    #[error("`{0}` is bound twice")]
    Twice(String),
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let rest = text.strip_prefix('/').ok_or(Error::NoSlash)?;
        let mut parser = Parser::default();
        if rest.is_empty() {
            return Ok(parser.template);
        }
        let pieces = split_outside_braces(rest)?;
        let last = pieces.len() - 1;
        for (index, piece) in pieces.into_iter().enumerate() {
            let piece = if index == last {
                let (piece, verb) = split_verb(piece)?;
                parser.template.verb = verb;
                piece
            } else {
                piece
            };
            parser.piece(piece)?;
        }
        Ok(parser.template)
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(crate) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    pub(crate) fn verb(&self) -> Option<&str> {
        self.verb.as_deref()
    }

    /// What a variable stands for in a path that matches. A slash that was encoded is one character of
    /// the value if the variable is a single segment, and stays encoded otherwise.
    pub(crate) fn capture(&self, variable: &Variable, path: &Path) -> String {
        let pattern = &self.segments[variable.start..variable.end];
        let captured = &path.segments()[self.span(variable, path)];
        if pattern == [Segment::Single] {
            captured.first().map(|one| decode(one)).unwrap_or_default()
        } else {
            captured
                .iter()
                .map(|segment| decode_but_slashes(segment))
                .collect::<Vec<_>>()
                .join("/")
        }
    }

    /// Whether an encoded slash stands in a segment that no variable captures.
    pub(crate) fn hides_a_slash(&self, path: &Path) -> bool {
        path.segments().iter().enumerate().any(|(index, segment)| {
            segment.to_ascii_lowercase().contains("%2f")
                && !self
                    .variables
                    .iter()
                    .any(|variable| self.span(variable, path).contains(&index))
        })
    }

    /// The segments of the path that a variable covers.
    fn span(&self, variable: &Variable, path: &Path) -> std::ops::Range<usize> {
        let multi = self
            .segments
            .iter()
            .position(|segment| *segment == Segment::Multi);
        let length = path.segments().len();
        // Behind `**` positions count from the end.
        let place = |position: usize| match multi {
            Some(multi) if position > multi => length + position - self.segments.len(),
            _ => position,
        };
        place(variable.start)..place(variable.end)
    }

    /// The template as OpenAPI writes it: `/v1/users/{user.id}:go`.
    pub(crate) fn open_api_path(&self) -> String {
        let mut out = String::new();
        let mut index = 0;
        while index < self.segments.len() {
            out.push('/');
            if let Some(variable) = self.variables.iter().find(|v| v.start == index) {
                out.push('{');
                out.push_str(&variable.field.join("."));
                out.push('}');
                index = variable.end.max(index + 1);
            } else {
                out.push_str(&self.segments[index].to_string());
                index += 1;
            }
        }
        if out.is_empty() {
            out.push('/');
        }
        if let Some(verb) = &self.verb {
            out.push(':');
            out.push_str(verb);
        }
        out
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Literal(literal) => literal,
            Self::Single => "*",
            Self::Multi => "**",
        })
    }
}

/// The flattened template: two templates that print the same match the same paths.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segments.is_empty() {
            f.write_str("/")?;
        }
        for segment in &self.segments {
            write!(f, "/{segment}")?;
        }
        match &self.verb {
            Some(verb) => write!(f, ":{verb}"),
            None => Ok(()),
        }
    }
}

struct Parser {
    template: Template,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            template: Template {
                segments: Vec::new(),
                variables: Vec::new(),
                verb: None,
            },
        }
    }
}

impl Parser {
    fn piece(&mut self, piece: &str) -> Result<(), Error> {
        let Some(inner) = piece.strip_prefix('{') else {
            return self.segment(piece);
        };
        let inner = inner.strip_suffix('}').ok_or(Error::Variable)?;
        if inner.contains(['{', '}', ':']) {
            return Err(Error::Variable);
        }
        let (field, pattern) = inner.split_once('=').unwrap_or((inner, "*"));
        let field: Vec<String> = field.split('.').map(str::to_owned).collect();
        if !field.iter().all(|part| is_identifier(part)) {
            return Err(Error::Variable);
        }
        if self.template.variables.iter().any(|v| v.field == field) {
            return Err(Error::Twice(field.join(".")));
        }
        let start = self.template.segments.len();
        for segment in pattern.split('/') {
            self.segment(segment)?;
        }
        if start != self.template.segments.len()
            && self.template.segments[..start].contains(&Segment::Multi)
        {
            return Err(Error::AfterMulti);
        }
        self.template.variables.push(Variable {
            field,
            start,
            end: self.template.segments.len(),
        });
        Ok(())
    }

    fn segment(&mut self, text: &str) -> Result<(), Error> {
        let segment = match text {
            "" => return Err(Error::EmptySegment),
            "*" => Segment::Single,
            "**" => Segment::Multi,
            literal => Segment::Literal(parse_literal(literal)?),
        };
        let after_multi = self.template.segments.contains(&Segment::Multi);
        if after_multi && !matches!(segment, Segment::Literal(_)) {
            return Err(Error::AfterMulti);
        }
        self.template.segments.push(segment);
        Ok(())
    }
}

fn parse_literal(literal: &str) -> Result<String, Error> {
    let refused = || Error::Literal(literal.to_owned());
    if literal.contains(['{', '}', '*', ':', '=']) {
        return Err(refused());
    }
    let path = Path::parse(&format!("/{literal}")).map_err(|_| refused())?;
    match path.segments() {
        [one] => Ok(one.clone()),
        _ => Err(refused()),
    }
}

/// Splits at the slashes that are not inside a variable.
fn split_outside_braces(text: &str) -> Result<Vec<&str>, Error> {
    let mut pieces = Vec::new();
    let mut depth = 0_u32;
    let mut rest = text;
    let mut offset = 0;
    while let Some(found) = rest
        .get(offset..)
        .and_then(|tail| tail.find(['/', '{', '}']))
    {
        let at = offset + found;
        let (before, after) = rest.split_at(at);
        match after.as_bytes().first() {
            Some(b'{') => depth += 1,
            Some(b'}') => depth = depth.checked_sub(1).ok_or(Error::Variable)?,
            _ if depth == 0 => {
                pieces.push(before);
                rest = after.strip_prefix('/').unwrap_or(after);
                offset = 0;
                continue;
            }
            _ => {}
        }
        offset = at + 1;
    }
    if depth != 0 {
        return Err(Error::Variable);
    }
    pieces.push(rest);
    Ok(pieces)
}

fn split_verb(piece: &str) -> Result<(&str, Option<String>), Error> {
    let behind_braces = piece.rfind('}').map_or(0, |at| at + 1);
    let (head, tail) = piece.split_at(behind_braces);
    let Some((segment_end, verb)) = tail.rsplit_once(':') else {
        return Ok((piece, None));
    };
    let segment = piece
        .get(..head.len() + segment_end.len())
        .unwrap_or_default();
    if segment.is_empty() || verb.is_empty() {
        return Err(Error::Verb);
    }
    Ok((segment, Some(parse_literal(verb)?)))
}

fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    characters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|other| other.is_ascii_alphanumeric() || other == '_')
}

fn decode(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

fn decode_but_slashes(segment: &str) -> String {
    let mut out = String::new();
    let mut rest = segment;
    while let Some(at) = rest.to_ascii_lowercase().find("%2f") {
        let (before, after) = rest.split_at(at);
        let (slash, behind) = after.split_at(3);
        out.push_str(&decode(before));
        out.push_str(slash);
        rest = behind;
    }
    out.push_str(&decode(rest));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_templates_are_refused() {
        for text in [
            "",
            "a",
            "{x}",
            "a/b",
            "//",
            "/a/",
            "/a//b",
            "/{}",
            "/{",
            "/a/{x",
            "/a/{x.",
            "/a{x}",
            "/{x}b",
            "/a/{x}b",
            "/a/b{x}c",
            "/{x}a{y}",
            "/a/{x=/b}",
            "/{x=a/{y=b}}",
            "/a/{x=b:verb}",
            ":v",
            "/:v",
            "/a/:v",
            "/a:",
            "/{x}:",
            "/**:",
            "/a/**/*",
            "/a/**/**",
            "/a/{x=b/**}/{y}",
            "/a/{x}/{x}",
            "/a/}",
            "/a:b/c",
            "/{x=}",
            "/{1x}",
            "/a b",
            "/a/**/{y=b}",
        ] {
            assert!(Template::parse(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn templates_flatten_to_their_segments() {
        for (text, flat) in [
            ("/", "/"),
            ("/a", "/a"),
            ("/%61", "/a"),
            ("/a/{x}", "/a/*"),
            ("/a/{x=**}", "/a/**"),
            ("/{x=a/*}/b/{y=*}/c", "/a/*/b/*/c"),
            ("/{n=**}:go", "/**:go"),
            ("/a/{user.id}:go", "/a/*:go"),
            ("/p/{x=**}/q", "/p/**/q"),
            ("/.well-known/jwks.json", "/.well-known/jwks.json"),
            ("/v1/products:batchGet", "/v1/products:batchGet"),
        ] {
            assert_eq!(Template::parse(text).unwrap().to_string(), flat, "{text}");
        }
        let template = Template::parse("/v1/users/{user.id}/a:go").unwrap();
        assert_eq!(template.open_api_path(), "/v1/users/{user.id}/a:go");
    }
}
