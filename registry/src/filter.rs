//! Filter expressions (`?filter=` and subset filters): parsed once, checked against the shape of what they filter,
//! evaluated on its JSON.

mod evaluate;
mod parse;

use outrigger_consul::shape::{Shape, Shaped};
use serde_json::Value;

use crate::limit::Limits;

/// What a selector leads through: `Service`, `Meta`, `version`.
pub type Selector = Vec<String>;

#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Or(Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Match(Selector, Operator, String),
}

#[derive(Debug, Clone)]
enum Operator {
    Equal,
    NotEqual,
    /// The value is in the selected list, map or string.
    Contains,
    NotContains,
    IsEmpty,
    IsNotEmpty,
    Matches(regex::Regex),
    NotMatches(regex::Regex),
}

impl PartialEq for Operator {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Matches(a), Self::Matches(b)) | (Self::NotMatches(a), Self::NotMatches(b)) => {
                a.as_str() == b.as_str()
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// Why an expression is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("failed to parse the filter at byte {0}: {1}")]
    Syntax(usize, &'static str),
    #[error("Selector {0:?} is not valid")]
    Selector(String),
    #[error("the filter is longer than {0} bytes")]
    TooLong(usize),
    #[error("the filter is nested deeper than {0} levels")]
    TooDeep(usize),
    #[error("{0:?} is not a regular expression this registry takes")]
    Regex(String),
    #[error("{value:?} is not a value for selector {selector:?}")]
    Value { selector: String, value: String },
}

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    root: Expression,
}

impl Filter {
    /// Checks the syntax alone; that is all a subset filter gets when it is written.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::parse_within(text, &Limits::default())
    }

    pub(crate) fn parse_within(text: &str, limits: &Limits) -> Result<Self, Error> {
        if text.len() > limits.filter_bytes {
            return Err(Error::TooLong(limits.filter_bytes));
        }
        let root = parse::Parser::new(text, limits).parse()?;
        Ok(Self { root })
    }

    /// Parses an expression over `T`: every selector must exist in it.
    pub(crate) fn over<T: Shaped>(text: &str, limits: &Limits) -> Result<Self, Error> {
        let filter = Self::parse_within(text, limits)?;
        filter.check(T::shape())?;
        Ok(filter)
    }

    fn check(&self, shape: Shape) -> Result<(), Error> {
        let mut rest = vec![&self.root];
        while let Some(expression) = rest.pop() {
            match expression {
                Expression::Or(a, b) | Expression::And(a, b) => rest.extend([&**a, &**b]),
                Expression::Not(inner) => rest.push(inner),
                Expression::Match(selector, operator, value) => {
                    check_match(selector, operator, value, shape)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a value, as JSON, is let through.
    pub(crate) fn matches(&self, value: &Value) -> bool {
        evaluate::holds(&self.root, value)
    }
}

fn check_match(
    selector: &Selector,
    operator: &Operator,
    value: &str,
    shape: Shape,
) -> Result<(), Error> {
    let unknown = || Error::Selector(selector.join("."));
    let mut shape = shape;
    for name in selector {
        // A selector into a list applies to any of its items.
        while let Shape::List(item) = shape {
            shape = item();
        }
        shape = match shape {
            Shape::Struct(fields) => {
                let field = fields()
                    .into_iter()
                    .find(|field| field.name == name)
                    .ok_or_else(unknown)?;
                (field.shape)()
            }
            Shape::Map(item) => item(),
            Shape::Any => return Ok(()),
            _ => return Err(unknown()),
        };
    }
    let scalar = matches!(operator, Operator::Equal | Operator::NotEqual);
    let fits = match shape {
        Shape::Struct(_) => false,
        Shape::Integer if scalar => value.parse::<i64>().is_ok(),
        Shape::Float if scalar => value.parse::<f64>().is_ok(),
        Shape::Bool if scalar => value.parse::<bool>().is_ok(),
        Shape::List(_) | Shape::Map(_) => !scalar,
        _ => true,
    };
    if matches!(shape, Shape::Struct(_)) {
        return Err(unknown());
    }
    if fits {
        Ok(())
    } else {
        Err(Error::Value {
            selector: selector.join("."),
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
