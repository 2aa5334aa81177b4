//! The `buf.validate` rules of a request, checked before its handler runs.
//!
//! Supported: `required`, `const`, `in`, `not_in`, string lengths, `pattern`,
//! `email`, `uuid`, integer ranges, repeated `min_items`, `max_items`,
//! `unique`, enum `defined_only`, map sizes. Any other rule, CEL included, is
//! refused when the server is put together, so none is silently ignored.

mod compile;
mod layer;
mod rule;

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _, Value};

pub use compile::UnsupportedRule;
pub(crate) use layer::{Decoded, call};

use crate::Failure;
use compile::FieldRules;

/// A request with this many wrong fields has made its point.
const MAX_VIOLATIONS: usize = 20;

/// The rules of every message a server's methods take, by full name.
#[derive(Debug, Default)]
pub struct Validator(HashMap<String, Vec<FieldRules>>);

impl Validator {
    /// Reads the rules of `messages` and of all they contain.
    pub fn new<'a>(
        messages: impl IntoIterator<Item = &'a MessageDescriptor>,
    ) -> Result<Self, UnsupportedRule> {
        let mut validator = Self::default();
        for message in messages {
            compile::message(message, &mut validator.0)?;
        }
        Ok(validator)
    }

    pub fn check(&self, message: &DynamicMessage) -> Result<(), Failure> {
        let mut violations = Vec::new();
        self.collect(message, "", &mut violations);
        let mut violations = violations.into_iter().take(MAX_VIOLATIONS);
        let Some((field, description)) = violations.next() else {
            return Ok(());
        };
        Err(violations.fold(
            Failure::field(field, description),
            |failure, (field, description)| failure.violation(field, description),
        ))
    }

    fn collect(&self, message: &DynamicMessage, path: &str, found: &mut Vec<(String, String)>) {
        if let Some(rules) = self.0.get(message.descriptor().full_name()) {
            for field in rules {
                if let Some(description) = field.broken_by(message) {
                    found.push((join(path, field.name()), description));
                }
            }
        }
        for (field, value) in message.fields() {
            if found.len() >= MAX_VIOLATIONS {
                return;
            }
            let path = join(path, field.name());
            match value {
                Value::Message(inner) => self.collect(inner, &path, found),
                Value::List(items) => {
                    for (index, item) in items.iter().enumerate() {
                        if let Value::Message(inner) = item {
                            self.collect(inner, &format!("{path}[{index}]"), found);
                        }
                    }
                }
                Value::Map(entries) => {
                    for (key, entry) in entries {
                        if let Value::Message(inner) = entry {
                            self.collect(inner, &format!("{path}[{key:?}]"), found);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests;
