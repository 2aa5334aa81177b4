//! Evaluation, with the odd rules for missing keys: they are unequal, empty, and match every expression.

use serde_json::Value;

use super::{Expression, Operator};

pub(super) fn holds(expression: &Expression, value: &Value) -> bool {
    match expression {
        Expression::Or(a, b) => holds(a, value) || holds(b, value),
        Expression::And(a, b) => holds(a, value) && holds(b, value),
        Expression::Not(inner) => !holds(inner, value),
        Expression::Match(selector, operator, wanted) => select(value, selector, operator, wanted),
    }
}

/// Walks a selector; a list on the way means any of its items.
fn select(value: &Value, path: &[String], operator: &Operator, wanted: &str) -> bool {
    match (value, path.split_first()) {
        (Value::Array(items), Some(_)) => items
            .iter()
            .any(|item| select(item, path, operator, wanted)),
        (Value::Object(members), Some((name, rest))) => match members.get(name) {
            Some(member) => select(member, rest, operator, wanted),
            None => missing(operator),
        },
        (_, Some(_)) => missing(operator),
        (found, None) => compare(found, operator, wanted),
    }
}

fn missing(operator: &Operator) -> bool {
    match operator {
        Operator::Equal | Operator::Contains | Operator::IsNotEmpty => false,
        Operator::NotEqual
        | Operator::NotContains
        | Operator::IsEmpty
        | Operator::Matches(_)
        | Operator::NotMatches(_) => true,
    }
}

fn compare(found: &Value, operator: &Operator, wanted: &str) -> bool {
    match operator {
        Operator::Equal => equal(found, wanted),
        Operator::NotEqual => !equal(found, wanted),
        Operator::Contains => contains(found, wanted),
        Operator::NotContains => !contains(found, wanted),
        Operator::IsEmpty => is_empty(found),
        Operator::IsNotEmpty => !is_empty(found),
        Operator::Matches(regex) => regex.is_match(&text(found)),
        Operator::NotMatches(regex) => !regex.is_match(&text(found)),
    }
}

fn text(found: &Value) -> String {
    match found {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn equal(found: &Value, wanted: &str) -> bool {
    match found {
        Value::Null => wanted.is_empty(),
        Value::String(text) => text == wanted,
        Value::Bool(flag) => wanted.parse() == Ok(*flag),
        Value::Number(number) => wanted
            .parse::<f64>()
            .is_ok_and(|wanted| number.as_f64() == Some(wanted)),
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn contains(found: &Value, wanted: &str) -> bool {
    match found {
        Value::String(text) => text.contains(wanted),
        Value::Array(items) => items.iter().any(|item| equal(item, wanted)),
        Value::Object(members) => members.contains_key(wanted),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_empty(found: &Value) -> bool {
    match found {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
