//! One rule and the value it is held against.

use prost_reflect::{EnumDescriptor, Value};
use regex::Regex;

#[derive(Clone, Debug)]
pub(super) enum Rule {
    Const(Value),
    In(Vec<Value>),
    NotIn(Vec<Value>),
    /// Lengths count characters, as the rules define them.
    Len(u64),
    MinLen(u64),
    MaxLen(u64),
    Pattern(Regex),
    Email,
    Uuid,
    Gt(i128),
    Gte(i128),
    Lt(i128),
    Lte(i128),
    MinItems(u64),
    MaxItems(u64),
    Unique,
    DefinedOnly(EnumDescriptor),
}

impl Rule {
    /// What a value that breaks the rule must be told.
    pub(super) fn broken_by(&self, value: &Value) -> Option<String> {
        let (holds, demand) = match self {
            Self::Const(expected) => (value == expected, format!("must be {}", show(expected))),
            Self::In(allowed) => (
                allowed.contains(value),
                format!("must be {}", list(allowed)),
            ),
            Self::NotIn(banned) => (
                !banned.contains(value),
                format!("must not be {}", list(banned)),
            ),
            Self::Len(length) => (
                chars(value) == *length,
                format!("must have {length} characters"),
            ),
            Self::MinLen(least) => (
                chars(value) >= *least,
                format!("must have at least {least} characters"),
            ),
            Self::MaxLen(most) => (
                chars(value) <= *most,
                format!("must have at most {most} characters"),
            ),
            Self::Pattern(pattern) => (
                value.as_str().is_some_and(|text| pattern.is_match(text)),
                format!("must match {pattern}"),
            ),
            Self::Email => (
                value.as_str().is_some_and(is_email),
                "must be an e-mail address".to_owned(),
            ),
            Self::Uuid => (
                value.as_str().is_some_and(is_uuid),
                "must be a UUID".to_owned(),
            ),
            Self::Gt(bound) => (
                integer(value) > *bound,
                format!("must be greater than {bound}"),
            ),
            Self::Gte(bound) => (
                integer(value) >= *bound,
                format!("must be at least {bound}"),
            ),
            Self::Lt(bound) => (
                integer(value) < *bound,
                format!("must be less than {bound}"),
            ),
            Self::Lte(bound) => (integer(value) <= *bound, format!("must be at most {bound}")),
            Self::MinItems(least) => (
                count(value) >= *least,
                format!("must have at least {least} entries"),
            ),
            Self::MaxItems(most) => (
                count(value) <= *most,
                format!("must have at most {most} entries"),
            ),
            Self::Unique => (is_unique(value), "must not repeat an entry".to_owned()),
            Self::DefinedOnly(kind) => {
                let known = value
                    .as_enum_number()
                    .is_some_and(|number| kind.get_value(number).is_some());
                (known, "must be a value of the enum".to_owned())
            }
        };
        (!holds).then_some(demand)
    }
}

pub(super) fn integer(value: &Value) -> i128 {
    match value {
        Value::I32(number) | Value::EnumNumber(number) => i128::from(*number),
        Value::I64(number) => i128::from(*number),
        Value::U32(number) => i128::from(*number),
        Value::U64(number) => i128::from(*number),
        _ => 0,
    }
}

fn chars(value: &Value) -> u64 {
    value.as_str().map_or(0, |text| text.chars().count() as u64)
}

fn count(value: &Value) -> u64 {
    match value {
        Value::List(items) => items.len() as u64,
        Value::Map(entries) => entries.len() as u64,
        _ => 0,
    }
}

fn is_unique(value: &Value) -> bool {
    let items = value.as_list().unwrap_or_default();
    items
        .iter()
        .enumerate()
        .all(|(at, item)| !items.iter().take(at).any(|other| other == item))
}

/// Letters, digits and hyphens, one `@`, labels of at most 63; the HTML
/// specification's rule, as `buf.validate` prescribes it.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let local_ok = !local.is_empty()
        && local
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte));
    local_ok && !domain.is_empty() && domain.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

fn list(values: &[Value]) -> String {
    let values: Vec<_> = values.iter().map(show).collect();
    match values.as_slice() {
        [one] => one.clone(),
        many => format!("one of {}", many.join(", ")),
    }
}

fn show(value: &Value) -> String {
    match value.as_str() {
        Some(text) => format!("{text:?}"),
        None => value
            .as_bool()
            .map_or_else(|| integer(value).to_string(), |value| value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_addresses_are_told_from_other_text() {
        for (text, expected) in [
            ("alice@example.com", true),
            ("a.b+c@x", true),
            ("alice", false),
            ("@example.com", false),
            ("alice@", false),
            ("alice@-example.com", false),
            ("a b@example.com", false),
            ("alice@example..com", false),
            ("alice@a@b", false),
        ] {
            assert_eq!(is_email(text), expected, "{text}");
        }
    }

    #[test]
    fn rules_hold_up_to_their_bound() {
        let text = |text: &str| Value::String(text.to_owned());
        for (rule, value, holds) in [
            (Rule::Gte(1), Value::I32(1), true),
            (Rule::Gte(1), Value::I32(0), false),
            (Rule::Gt(0), Value::U64(u64::MAX), true),
            (Rule::Lt(5), Value::I64(5), false),
            (Rule::Lte(5), Value::I64(5), true),
            (Rule::MaxLen(3), text("äöü"), true),
            (Rule::MinLen(4), text("äöü"), false),
            (Rule::Len(3), text("äöü"), true),
            (Rule::NotIn(vec![Value::I32(0)]), Value::I32(0), false),
            (Rule::In(vec![text("a"), text("b")]), text("b"), true),
            (Rule::Const(text("a")), text("b"), false),
            (
                Rule::Uuid,
                text("0197b2c4-7d3e-7c11-9a52-1f0c8e4b6a10"),
                true,
            ),
            (Rule::Uuid, text("0197b2c47d3e7c119a521f0c8e4b6a10"), false),
            (
                Rule::Unique,
                Value::List(vec![Value::I32(1), Value::I32(1)]),
                false,
            ),
            (
                Rule::MaxItems(1),
                Value::List(vec![Value::I32(1), Value::I32(1)]),
                false,
            ),
        ] {
            assert_eq!(
                rule.broken_by(&value).is_none(),
                holds,
                "{rule:?} {value:?}"
            );
        }
    }
}
