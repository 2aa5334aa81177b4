//! The query string: `application/x-www-form-urlencoded`, each parameter a field.

use std::collections::BTreeSet;

use percent_encoding::percent_decode;
use prost_reflect::DynamicMessage;
use prost_reflect::ReflectMessage as _;

use super::{Assignment, Source, find};
use crate::error::Refusal;
use crate::limit::Limit;

/// Names and values, decoded, in order.
pub(super) fn parse(query: &str, longest: usize) -> Result<Vec<(String, String)>, Refusal> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let parameters = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    if parameters.len() > longest {
        return Err(Refusal::new(
            "PARAMETER_UNKNOWN",
            format!("a query holds at most {longest} parameters"),
        )
        .past(Limit::QueryParameters));
    }
    Ok(parameters)
}

/// Sets every parameter; `bound` are the fields that come from elsewhere.
pub(super) fn bind(
    message: &mut DynamicMessage,
    parameters: &[(String, String)],
    bound: &[String],
) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for (name, text) in parameters {
        let Some((path, repeated)) = resolve(message, name) else {
            return Err(Refusal::unknown_parameter(name, "there is no such field"));
        };
        let field = path.join(".");
        let elsewhere = |bound: &String| field == *bound || field.starts_with(&format!("{bound}."));
        if bound.iter().any(elsewhere) {
            return Err(Refusal::conflict(
                name,
                "the field comes from the path or the body",
            ));
        }
        if !repeated && !seen.insert(field) {
            return Err(Refusal::conflict(name, "the field is given twice"));
        }
        Assignment { path: &path, text }.onto(message, Source::Query)?;
    }
    Ok(())
}

/// The names in the contract of a dotted path, and whether its last field is repeated.
fn resolve(message: &DynamicMessage, name: &str) -> Option<(Vec<String>, bool)> {
    let mut descriptor = message.descriptor();
    let mut path = Vec::new();
    let mut steps = name.split('.').peekable();
    while let Some(step) = steps.next() {
        let field = find(&descriptor, step)?;
        path.push(field.name().to_owned());
        if steps.peek().is_none() {
            return Some((path, field.is_list()));
        }
        descriptor = field.kind().as_message()?.clone();
    }
    None
}

fn decode(text: &str) -> Result<String, Refusal> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode(spaced.as_bytes()).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Refusal::unknown_parameter(text, "it is not UTF-8"))
}
