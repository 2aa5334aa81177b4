//! The grammar: `or` < `and` < `not`, parentheses, one comparison.

use super::{Error, Expression, Operator, Selector};
use crate::limit::Limits;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// Quoted or raw: never a keyword, never a selector.
    Quoted(String),
    Open,
    Close,
    Equal,
    NotEqual,
}

pub(super) struct Parser<'a> {
    text: &'a str,
    position: usize,
    depth: usize,
    limits: &'a Limits,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str, limits: &'a Limits) -> Self {
        Self {
            text,
            position: 0,
            depth: 0,
            limits,
        }
    }

    pub(super) fn parse(mut self) -> Result<Expression, Error> {
        let root = self.or()?;
        match self.peek()? {
            None => Ok(root),
            Some(_) => Err(self.fail("nothing more was expected")),
        }
    }

    fn fail(&self, what: &'static str) -> Error {
        Error::Syntax(self.position, what)
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth += 1;
        if self.depth > self.limits.filter_depth {
            return Err(Error::TooDeep(self.limits.filter_depth));
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn or(&mut self) -> Result<Expression, Error> {
        let left = self.and()?;
        if self.keyword("or")? {
            let right = self.nested(Self::or)?;
            return Ok(Expression::Or(Box::new(left), Box::new(right)));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, Error> {
        let left = self.not()?;
        if self.keyword("and")? {
            let right = self.nested(Self::and)?;
            return Ok(Expression::And(Box::new(left), Box::new(right)));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expression, Error> {
        if self.keyword("not")? {
            let inner = self.nested(Self::not)?;
            return Ok(Expression::Not(Box::new(inner)));
        }
        if self.peek()? == Some(Token::Open) {
            self.next()?;
            let inner = self.nested(Self::or)?;
            return match self.next()? {
                Some(Token::Close) => Ok(inner),
                _ => Err(self.fail("a closing parenthesis was expected")),
            };
        }
        self.comparison()
    }

    /// `selector op value`, `value in selector`, `selector is empty`.
    fn comparison(&mut self) -> Result<Expression, Error> {
        let start = self.position;
        let first = self.next()?;
        if self.keyword("in")? {
            let value = text_of(first).ok_or(Error::Syntax(start, "a value was expected"))?;
            return Ok(Expression::Match(
                self.selector()?,
                Operator::Contains,
                value,
            ));
        }
        let before = self.position;
        if self.keyword("not")? && self.keyword("in")? {
            let value = text_of(first).ok_or(Error::Syntax(start, "a value was expected"))?;
            return Ok(Expression::Match(
                self.selector()?,
                Operator::NotContains,
                value,
            ));
        }
        self.position = before;
        self.position = start;
        let selector = self.selector()?;
        if self.keyword("is")? {
            let negated = self.keyword("not")?;
            if !self.keyword("empty")? {
                return Err(self.fail("`empty` was expected"));
            }
            let operator = if negated {
                Operator::IsNotEmpty
            } else {
                Operator::IsEmpty
            };
            return Ok(Expression::Match(selector, operator, String::new()));
        }
        let negated = self.keyword("not")?;
        if self.keyword("contains")? {
            let operator = if negated {
                Operator::NotContains
            } else {
                Operator::Contains
            };
            return Ok(Expression::Match(selector, operator, self.value()?));
        }
        if self.keyword("matches")? {
            let value = self.value()?;
            let regex = self.regex(&value)?;
            let operator = if negated {
                Operator::NotMatches(regex)
            } else {
                Operator::Matches(regex)
            };
            return Ok(Expression::Match(selector, operator, value));
        }
        match self.next()? {
            Some(Token::Equal) if !negated => {
                Ok(Expression::Match(selector, Operator::Equal, self.value()?))
            }
            Some(Token::NotEqual) if !negated => Ok(Expression::Match(
                selector,
                Operator::NotEqual,
                self.value()?,
            )),
            _ => Err(self.fail("an operator was expected")),
        }
    }

    fn regex(&self, value: &str) -> Result<regex::Regex, Error> {
        let refused = || Error::Regex(value.to_owned());
        if value.len() > self.limits.regex_bytes {
            return Err(Error::RegexTooLong(self.limits.regex_bytes));
        }
        regex::RegexBuilder::new(value)
            .size_limit(1 << 20)
            .build()
            .map_err(|_| refused())
    }

    fn value(&mut self) -> Result<String, Error> {
        let start = self.position;
        text_of(self.next()?).ok_or(Error::Syntax(start, "a value was expected"))
    }

    fn keyword(&mut self, word: &str) -> Result<bool, Error> {
        let before = self.position;
        if self.next()? == Some(Token::Word(word.to_owned())) {
            return Ok(true);
        }
        self.position = before;
        Ok(false)
    }

    /// `Ident(.Ident | ["key"])*`
    fn selector(&mut self) -> Result<Selector, Error> {
        self.skip_space();
        let mut path = vec![self.ident()?];
        loop {
            let rest = self.rest();
            if let Some(after) = rest.strip_prefix("[\"") {
                let end = after.find("\"]").ok_or(self.fail("`\"]` was expected"))?;
                path.push(after.get(..end).unwrap_or_default().to_owned());
                self.position += end + 4;
            } else if rest.starts_with('.') {
                self.position += 1;
                path.push(self.ident()?);
            } else {
                return Ok(path);
            }
        }
    }

    fn ident(&mut self) -> Result<String, Error> {
        let rest = self.rest();
        if !rest.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(self.fail("a selector was expected"));
        }
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        self.position += end;
        Ok(rest.get(..end).unwrap_or_default().to_owned())
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start().len();
    }

    fn peek(&mut self) -> Result<Option<Token>, Error> {
        let before = self.position;
        let token = self.next();
        self.position = before;
        token
    }

    fn next(&mut self) -> Result<Option<Token>, Error> {
        self.skip_space();
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(None);
        };
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '=' if rest.starts_with("==") => (Token::Equal, 2),
            '!' if rest.starts_with("!=") => (Token::NotEqual, 2),
            '"' => self.quoted(rest)?,
            '`' => {
                let raw = rest.get(1..).unwrap_or_default();
                let end = raw
                    .find('`')
                    .ok_or(self.fail("a closing backtick was expected"))?;
                (
                    Token::Quoted(raw.get(..end).unwrap_or_default().to_owned()),
                    end + 2,
                )
            }
            first if first.is_ascii_alphabetic() => {
                let before = self.position;
                self.selector()?;
                let end = self.position;
                self.position = before;
                (
                    Token::Word(self.text.get(before..end).unwrap_or_default().to_owned()),
                    end - before,
                )
            }
            first if first.is_ascii_digit() || first == '-' => {
                let digits = |c: char| !c.is_ascii_digit() && c != '.' && c != '-';
                let end = rest.find(digits).unwrap_or(rest.len());
                let number = rest.get(..end).unwrap_or_default();
                if number.parse::<f64>().is_err() {
                    return Err(self.fail("a number was expected"));
                }
                (Token::Word(number.to_owned()), end)
            }
            _ => return Err(self.fail("this character has no place here")),
        };
        let word = matches!(token, Token::Word(_));
        let follows = rest.get(length..).unwrap_or_default().chars().next();
        if word && follows.is_some_and(|next| !next.is_whitespace() && !"()=!".contains(next)) {
            self.position += length;
            return Err(self.fail("a space or an operator was expected"));
        }
        self.position += length;
        Ok(Some(token))
    }

    fn quoted(&self, rest: &str) -> Result<(Token, usize), Error> {
        let mut value = String::new();
        let mut escaped = false;
        for (position, c) in rest.char_indices().skip(1) {
            match c {
                _ if escaped => {
                    value.push(match c {
                        'n' => '\n',
                        't' => '\t',
                        other => other,
                    });
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => return Ok((Token::Quoted(value), position + 1)),
                c => value.push(c),
            }
        }
        Err(self.fail("a closing quote was expected"))
    }
}

fn text_of(token: Option<Token>) -> Option<String> {
    match token {
        Some(Token::Word(text) | Token::Quoted(text)) => Some(text),
        _ => None,
    }
}
