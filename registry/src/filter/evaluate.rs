//! Evaluation, with the odd rules for missing map keys: they are unequal, empty, and match every expression. A struct
//! member that JSON leaves out is there, with its type's zero value.

use outrigger_consul::shape::Shape;
use serde_json::Value;

use super::{Expression, Operator};

pub(super) fn holds(expression: &Expression, value: &Value, shape: Shape) -> bool {
    match expression {
        Expression::Or(a, b) => holds(a, value, shape) || holds(b, value, shape),
        Expression::And(a, b) => holds(a, value, shape) && holds(b, value, shape),
        Expression::Not(inner) => !holds(inner, value, shape),
        Expression::Match(selector, operator, wanted) => {
            select(value, shape, selector, operator, wanted)
        }
    }
}

/// Walks a selector; a list on the way means any of its items.
fn select(value: &Value, shape: Shape, path: &[String], operator: &Operator, wanted: &str) -> bool {
    let Some((name, rest)) = path.split_first() else {
        return match (value, shape) {
            (Value::Null, _) => compare(&zero(shape), operator, wanted),
            (found, _) => compare(found, operator, wanted),
        };
    };
    match shape {
        Shape::List(item) => match value {
            Value::Array(items) => items
                .iter()
                .any(|value| select(value, item(), path, operator, wanted)),
            _ => false,
        },
        Shape::Struct(fields) => {
            let field = fields().into_iter().find(|field| field.name == name);
            let Some(field) = field else {
                return missing(operator);
            };
            let member = value.get(name).unwrap_or(&Value::Null);
            select(member, (field.shape)(), rest, operator, wanted)
        }
        Shape::Map(item) => match value.get(name) {
            Some(member) => select(member, item(), rest, operator, wanted),
            None => missing(operator),
        },
        _ => match value.get(name) {
            Some(member) => select(member, Shape::Any, rest, operator, wanted),
            None => missing(operator),
        },
    }
}

/// What Go holds where nothing was set.
fn zero(shape: Shape) -> Value {
    match shape {
        Shape::Bool => Value::Bool(false),
        Shape::Integer | Shape::Float | Shape::Duration => Value::from(0),
        Shape::Text => Value::String(String::new()),
        Shape::List(_) | Shape::Map(_) | Shape::Struct(_) | Shape::Any => Value::Null,
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
