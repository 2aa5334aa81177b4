//! From path, query and body to the request's message. Every field comes from exactly one place; what could be read in
//! two ways, or would be dropped, is refused.

mod query;
mod scalar;

use prost_reflect::{
    DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage as _, Value,
};

use crate::config::Limits;
use crate::error::Refusal;
use crate::exposed::{Binding, Body};
use crate::json;
use crate::route::{Path, Template};

/// The message that a request binds.
pub(crate) fn bind(
    binding: &Binding,
    template: &Template,
    path: &Path,
    query: Option<&str>,
    body: &[u8],
    limits: &Limits,
) -> Result<DynamicMessage, Refusal> {
    let input = binding.rpc.method.input();
    let mut message = read_body(&binding.body, &input, body, limits.depth)?;
    let mut bound = Vec::new();
    for variable in template.variables() {
        let text = template.capture(variable, path);
        let set = Assignment {
            path: &variable.field,
            text: &text,
        };
        set.onto(&mut message, Source::Path)?;
        bound.push(variable.field.join("."));
    }
    let parameters = query::parse(query.unwrap_or_default(), limits.query)?;
    if binding.body == Body::Whole
        && let Some((name, _)) = parameters.first()
    {
        return Err(Refusal::unknown_parameter(
            name,
            "the whole request is in the body",
        ));
    }
    if let Body::Field(field) = &binding.body {
        bound.push(field.clone());
    }
    query::bind(&mut message, &parameters, &bound)?;
    Ok(message)
}

fn read_body(
    body: &Body,
    input: &MessageDescriptor,
    bytes: &[u8],
    depth: usize,
) -> Result<DynamicMessage, Refusal> {
    match body {
        Body::None if bytes.is_empty() => Ok(DynamicMessage::new(input.clone())),
        Body::None => Err(Refusal::new(
            "UNEXPECTED_BODY",
            "this request takes no body; send its fields in the query",
        )),
        Body::Whole if bytes.is_empty() => Ok(DynamicMessage::new(input.clone())),
        Body::Whole => json::read(input, bytes, depth),
        Body::Field(name) => {
            let mut message = DynamicMessage::new(input.clone());
            let field = input.get_field_by_name(name);
            if let Some((field, kind)) = field.and_then(|field| {
                let kind = field.kind().as_message()?.clone();
                Some((field, kind))
            }) && !bytes.is_empty()
            {
                message.set_field(&field, Value::Message(json::read(&kind, bytes, depth)?));
            }
            Ok(message)
        }
    }
}

/// Where a value comes from; told when it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Source {
    Path,
    Query,
}

/// One value for one field, named by the path to it.
struct Assignment<'a> {
    path: &'a [String],
    text: &'a str,
}

impl Assignment<'_> {
    fn onto(&self, message: &mut DynamicMessage, source: Source) -> Result<(), Refusal> {
        let name = self.path.join(".");
        let unknown = || Refusal::unknown_parameter(&name, "there is no such field");
        let (last, before) = self.path.split_last().ok_or_else(unknown)?;
        let mut message = message;
        for step in before {
            let field = find(&message.descriptor(), step).ok_or_else(unknown)?;
            if field.is_list() || field.is_map() {
                return Err(unknown());
            }
            message = message
                .get_field_mut(&field)
                .as_message_mut()
                .ok_or_else(unknown)?;
        }
        let field = find(&message.descriptor(), last).ok_or_else(unknown)?;
        let value = scalar::parse(&field, self.text).ok_or_else(|| {
            Refusal::field(&name, format!("must be {}", scalar::expected(&field)))
        })?;
        if source == Source::Path {
            return set_from_path(message, &field, value, &name);
        }
        set_from_query(message, &field, value, &name)
    }
}

/// A body may repeat what the path says, and nothing else.
fn set_from_path(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    value: Value,
    name: &str,
) -> Result<(), Refusal> {
    if message.has_field(field) && *message.get_field(field) != value {
        return Err(Refusal::conflict(
            name,
            "the body says something else than the path",
        ));
    }
    message.set_field(field, value);
    Ok(())
}

fn set_from_query(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    value: Value,
    name: &str,
) -> Result<(), Refusal> {
    if field.is_list() {
        if let Some(list) = message.get_field_mut(field).as_list_mut() {
            list.push(value);
        }
        return Ok(());
    }
    let taken = field
        .containing_oneof()
        .is_some_and(|oneof| oneof.fields().any(|other| message.has_field(&other)));
    if taken {
        return Err(Refusal::conflict(
            name,
            "another field that excludes it is set",
        ));
    }
    message.set_field(field, value);
    Ok(())
}

/// By its JSON name or its name in the contract.
fn find(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message
        .get_field_by_json_name(name)
        .or_else(|| message.get_field_by_name(name))
}

#[cfg(test)]
mod tests;
