//! From annotations to rules. Whatever is not understood is an error that
//! names the field and the rule.

use std::collections::HashMap;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value,
};
use regex::Regex;

use super::rule::{Rule, integer};

/// Field number of the extensions of `buf.validate`.
const EXTENSION: u32 = 1159;

#[derive(Debug, thiserror::Error)]
#[error("{element}: rule {rule} is not supported")]
pub struct UnsupportedRule {
    element: String,
    rule: String,
}

/// The rules of one field.
#[derive(Debug)]
pub(crate) struct FieldRules {
    field: FieldDescriptor,
    required: bool,
    ignore_zero: bool,
    rules: Vec<Rule>,
}

impl FieldRules {
    pub(super) fn name(&self) -> &str {
        self.field.name()
    }

    /// What is wrong with this field of `message`, if something is.
    pub(super) fn broken_by(&self, message: &DynamicMessage) -> Option<String> {
        let present = message.has_field(&self.field);
        if self.required && !present {
            return Some("is required".to_owned());
        }
        // A field that can be absent, and is, breaks no rule.
        if !present && (self.ignore_zero || self.field.supports_presence()) {
            return None;
        }
        let value = message.get_field(&self.field);
        self.rules.iter().find_map(|rule| rule.broken_by(&value))
    }
}

pub(super) fn message(
    message: &MessageDescriptor,
    into: &mut HashMap<String, Vec<FieldRules>>,
) -> Result<(), UnsupportedRule> {
    if into.contains_key(message.full_name()) {
        return Ok(());
    }
    into.insert(message.full_name().to_owned(), Vec::new());
    let pool = message.parent_pool();
    refuse(
        pool,
        "MessageOptions",
        message.full_name(),
        &message.options(),
    )?;
    for oneof in message.oneofs() {
        refuse(pool, "OneofOptions", oneof.full_name(), &oneof.options())?;
    }
    let mut rules = Vec::new();
    for field in message.fields() {
        if let Some(annotation) = extension(pool, "FieldOptions", &field.options()) {
            rules.push(field_rules(field.clone(), &annotation)?);
        }
        let inner = match field.kind() {
            Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
            kind => kind,
        };
        if let Kind::Message(inner) = inner {
            self::message(&inner, into)?;
        }
    }
    rules.retain(|rules| rules.required || !rules.rules.is_empty());
    into.insert(message.full_name().to_owned(), rules);
    Ok(())
}

fn refuse(
    pool: &DescriptorPool,
    options: &str,
    element: &str,
    value: &DynamicMessage,
) -> Result<(), UnsupportedRule> {
    match extension(pool, options, value) {
        None => Ok(()),
        Some(_) => Err(unsupported(element, options)),
    }
}

fn extension(
    pool: &DescriptorPool,
    options: &str,
    value: &DynamicMessage,
) -> Option<DynamicMessage> {
    let extension = pool
        .get_message_by_name(&format!("google.protobuf.{options}"))?
        .get_extension(EXTENSION)?;
    value
        .has_extension(&extension)
        .then(|| value.get_extension(&extension).as_message().cloned())
        .flatten()
}

fn field_rules(
    field: FieldDescriptor,
    annotation: &DynamicMessage,
) -> Result<FieldRules, UnsupportedRule> {
    let name = field.full_name().to_owned();
    let mut compiled = FieldRules {
        field,
        required: false,
        ignore_zero: false,
        rules: Vec::new(),
    };
    if annotation.unknown_fields().next().is_some() || annotation.extensions().next().is_some() {
        return Err(unsupported(&name, "an extension"));
    }
    for (kind, value) in annotation.fields() {
        match (kind.name(), value) {
            ("required", value) => compiled.required = value.as_bool() == Some(true),
            ("ignore", value) => match value.as_enum_number() {
                Some(0) => {}
                Some(1) => compiled.ignore_zero = true,
                _ => return Err(unsupported(&name, "ignore")),
            },
            (group, Value::Message(group_rules)) => {
                if group_rules.unknown_fields().next().is_some() {
                    return Err(unsupported(&name, group));
                }
                for (rule, value) in group_rules.fields() {
                    let rule_name = format!("{group}.{}", rule.name());
                    let rule = rule_of(&compiled.field, group, rule.name(), value)
                        .ok_or_else(|| unsupported(&name, &rule_name))?;
                    compiled.rules.extend(rule);
                }
            }
            (other, _) => return Err(unsupported(&name, other)),
        }
    }
    Ok(compiled)
}

/// `None`: not supported. `Some(None)`: present, and demands nothing.
fn rule_of(
    field: &FieldDescriptor,
    group: &str,
    rule: &str,
    value: &Value,
) -> Option<Option<Rule>> {
    let size = || value.as_u64();
    let flag = |rule: Rule| value.as_bool().map(|on| on.then_some(rule));
    let is_integer = matches!(
        group,
        "int32"
            | "int64"
            | "uint32"
            | "uint64"
            | "sint32"
            | "sint64"
            | "fixed32"
            | "fixed64"
            | "sfixed32"
            | "sfixed64"
    );
    let is_scalar = is_integer || matches!(group, "string" | "bool" | "enum");
    let rule = match (group, rule) {
        (_, "const") if is_scalar => Rule::Const(as_field(group, value)),
        (_, "in") if is_scalar => Rule::In(as_fields(group, value)?),
        (_, "not_in") if is_scalar => Rule::NotIn(as_fields(group, value)?),
        (_, "gt") if is_integer => Rule::Gt(integer(value)),
        (_, "gte") if is_integer => Rule::Gte(integer(value)),
        (_, "lt") if is_integer => Rule::Lt(integer(value)),
        (_, "lte") if is_integer => Rule::Lte(integer(value)),
        ("string", "len") => Rule::Len(size()?),
        ("string", "min_len") => Rule::MinLen(size()?),
        ("string", "max_len") => Rule::MaxLen(size()?),
        ("string", "pattern") => Rule::Pattern(Regex::new(value.as_str()?).ok()?),
        ("string", "email") => return flag(Rule::Email),
        ("string", "uuid") => return flag(Rule::Uuid),
        ("repeated", "min_items") | ("map", "min_pairs") => Rule::MinItems(size()?),
        ("repeated", "max_items") | ("map", "max_pairs") => Rule::MaxItems(size()?),
        ("repeated", "unique") => return flag(Rule::Unique),
        ("enum", "defined_only") => match field.kind() {
            Kind::Enum(kind) => return flag(Rule::DefinedOnly(kind)),
            _ => return None,
        },
        _ => return None,
    };
    // A rule for single values on a list would be held against the list.
    if is_scalar && (field.is_list() || field.is_map()) {
        return None;
    }
    Some(Some(rule))
}

/// The rules write an enum's value as an integer.
fn as_field(group: &str, value: &Value) -> Value {
    match value {
        Value::I32(number) if group == "enum" => Value::EnumNumber(*number),
        value => value.clone(),
    }
}

fn as_fields(group: &str, values: &Value) -> Option<Vec<Value>> {
    Some(
        values
            .as_list()?
            .iter()
            .map(|value| as_field(group, value))
            .collect(),
    )
}

fn unsupported(element: &str, rule: &str) -> UnsupportedRule {
    UnsupportedRule {
        element: element.to_owned(),
        rule: rule.to_owned(),
    }
}
