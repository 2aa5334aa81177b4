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

impl Operator {
    const fn name(&self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::NotEqual => "Not Equal",
            Self::Contains => "In",
            Self::NotContains => "Not In",
            Self::IsEmpty => "Is Empty",
            Self::IsNotEmpty => "Is Not Empty",
            Self::Matches(_) => "Matches",
            Self::NotMatches(_) => "Not Matches",
        }
    }

    /// Whether something of this shape can be compared so.
    const fn fits(&self, shape: Shape) -> bool {
        match (shape, self) {
            (Shape::Any, _) => true,
            (_, Self::Equal | Self::NotEqual) => {
                !matches!(shape, Shape::List(_) | Shape::Map(_) | Shape::Struct(_))
            }
            (
                Shape::Text,
                Self::Contains | Self::NotContains | Self::Matches(_) | Self::NotMatches(_),
            ) => true,
            (Shape::List(_) | Shape::Map(_), _) => {
                !matches!(self, Self::Matches(_) | Self::NotMatches(_))
            }
            _ => false,
        }
    }
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
    #[error("a regular expression in the filter is longer than {0} bytes")]
    RegexTooLong(usize),
    #[error("Failed to coerce value {value:?} for selector {selector:?}: {reason}")]
    Value {
        selector: String,
        value: String,
        reason: String,
    },
    #[error("Invalid match operator {operator:?} for selector {selector:?}")]
    Operator {
        selector: String,
        operator: &'static str,
    },
}

impl Error {
    /// The bound that was passed, if it was one.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        match self {
            Self::TooLong(_) => Some("filter_bytes"),
            Self::TooDeep(_) => Some("filter_depth"),
            Self::RegexTooLong(_) => Some("regex_bytes"),
            Self::Syntax(..)
            | Self::Selector(_)
            | Self::Regex(_)
            | Self::Value { .. }
            | Self::Operator { .. } => None,
        }
    }
}

/// A parsed expression.
#[derive(Debug, Clone)]
pub struct Filter {
    root: Expression,
    /// Of what is filtered; `Any` where only the syntax was looked at.
    shape: Shape,
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
        Ok(Self {
            root,
            shape: Shape::Any,
        })
    }

    /// Parses an expression over `T`: every selector must exist in it.
    pub(crate) fn over<T: Shaped>(text: &str, limits: &Limits) -> Result<Self, Error> {
        let mut filter = Self::parse_within(text, limits)?;
        filter.shape = T::shape();
        filter.check(filter.shape)?;
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
        evaluate::holds(&self.root, value, self.shape)
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
    let mut in_map = false;
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
            Shape::Map(item) => {
                in_map = true;
                item()
            }
            Shape::Any => return Ok(()),
            _ => return Err(unknown()),
        };
    }
    let selector = selector.join(".");
    // A map's value may be missing, which the two tell.
    let may_miss = in_map && matches!(operator, Operator::IsEmpty | Operator::IsNotEmpty);
    if !may_miss && !operator.fits(shape) {
        let operator = operator.name();
        return Err(Error::Operator { selector, operator });
    }
    let parser = match shape {
        Shape::Integer if value.parse::<i64>().is_err() => "ParseInt",
        Shape::Float if value.parse::<f64>().is_err() => "ParseFloat",
        Shape::Bool if value.parse::<bool>().is_err() => "ParseBool",
        _ => return Ok(()),
    };
    Err(Error::Value {
        selector,
        value: value.to_owned(),
        reason: format!("strconv.{parser}: parsing {value:?}: invalid syntax"),
    })
}

#[cfg(test)]
mod tests;
