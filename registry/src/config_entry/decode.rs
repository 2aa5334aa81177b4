//! From generic JSON to a typed value: keys in any case and in snake_case, weakly typed values, and an error for
//! every key nobody knows.

use outrigger_consul::config::{
    ConfigEntry, JwtProvider, Kind, Mesh, ProxyDefaults, ServiceDefaults, ServiceIntentions,
    ServiceResolver, ServiceRouter, ServiceSplitter,
};
use outrigger_consul::shape::{Field, Shape, Shaped};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// How forgiving the decoder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Config entries: aliases, coercions, HCL's one-element lists.
    Weak,
    /// Bodies of the agent and other endpoints: exact types.
    Exact,
}

struct Walk {
    mode: Mode,
    unknown: Vec<String>,
}

/// Decodes the body of a config entry write.
pub fn config_entry(body: &Value) -> Result<ConfigEntry, String> {
    let Value::Object(members) = body else {
        return Err("Payload is not a JSON object".to_owned());
    };
    let kind = members
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("kind"));
    let Some((_, kind)) = kind else {
        return Err("Payload does not contain a kind/Kind key at the top level".to_owned());
    };
    let Some(text) = kind.as_str() else {
        return Err("Kind value in payload is not a string".to_owned());
    };
    let kind = Kind::parse(text).ok_or_else(|| format!("invalid config entry kind: {text}"))?;
    Ok(match kind {
        Kind::ProxyDefaults => {
            ConfigEntry::ProxyDefaults(Box::new(weak::<ProxyDefaults>(members)?))
        }
        Kind::ServiceDefaults => {
            ConfigEntry::ServiceDefaults(Box::new(weak::<ServiceDefaults>(members)?))
        }
        Kind::ServiceResolver => {
            ConfigEntry::ServiceResolver(Box::new(weak::<ServiceResolver>(members)?))
        }
        Kind::ServiceSplitter => {
            ConfigEntry::ServiceSplitter(Box::new(weak::<ServiceSplitter>(members)?))
        }
        Kind::ServiceRouter => {
            ConfigEntry::ServiceRouter(Box::new(weak::<ServiceRouter>(members)?))
        }
        Kind::ServiceIntentions => {
            ConfigEntry::ServiceIntentions(Box::new(weak::<ServiceIntentions>(members)?))
        }
        Kind::JwtProvider => ConfigEntry::JwtProvider(Box::new(weak::<JwtProvider>(members)?)),
        Kind::Mesh => ConfigEntry::Mesh(Box::new(weak::<Mesh>(members)?)),
    })
}

fn weak<T: Shaped + DeserializeOwned>(members: &Map<String, Value>) -> Result<T, String> {
    let mut rest = members.clone();
    rest.retain(|key, _| !key.eq_ignore_ascii_case("kind"));
    let mut walk = Walk {
        mode: Mode::Weak,
        unknown: Vec::new(),
    };
    let value = walk.value(&Value::Object(rest), T::shape(), "");
    if !walk.unknown.is_empty() {
        let lines = walk
            .unknown
            .iter()
            .map(|key| format!("\t* {}", unknown_key(key)))
            .collect::<Vec<_>>();
        let count = lines.len();
        let noun = if count == 1 { "error" } else { "errors" };
        return Err(format!(
            "{count} {noun} occurred:\n{}\n\n",
            lines.join("\n")
        ));
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn unknown_key(key: &str) -> String {
    let lower = key.to_lowercase();
    let note = if lower.ends_with("namespace") {
        ", namespaces are a consul enterprise feature"
    } else if lower.contains("jwt") {
        ", api-gateway jwt validation is a consul enterprise feature"
    } else {
        ""
    };
    format!("invalid config key \"{key}\"{note}")
}

/// Decodes weakly typed and passes over keys nobody knows.
pub fn lenient<T: Shaped + DeserializeOwned>(body: &Value) -> Result<T, String> {
    let mut walk = Walk {
        mode: Mode::Weak,
        unknown: Vec::new(),
    };
    let value = walk.value(body, T::shape(), "");
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Decodes the body of an agent endpoint: the first unknown key is an error.
pub fn exact<T: Shaped + DeserializeOwned>(body: &Value) -> Result<T, String> {
    let mut walk = Walk {
        mode: Mode::Exact,
        unknown: Vec::new(),
    };
    let value = walk.value(body, T::shape(), "");
    if let Some(path) = walk.unknown.first() {
        let key = path.rsplit('.').next().unwrap_or_default();
        let note = if key == "Namespace" {
            " - Namespaces are a Consul Enterprise feature"
        } else {
            ""
        };
        return Err(format!("json: unknown field \"{key}\"{note}"));
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}

impl Walk {
    fn value(&mut self, value: &Value, shape: Shape, path: &str) -> Value {
        if value.is_null() {
            return Value::Null;
        }
        match shape {
            Shape::Struct(fields) => self.structure(value, &fields(), path),
            Shape::Map(item) => self.map(value, item(), path),
            Shape::List(item) => self.list(value, item(), path),
            Shape::Any if self.mode == Mode::Weak => unwrapped(value),
            Shape::Any => value.clone(),
            Shape::Text | Shape::Bool | Shape::Integer | Shape::Float | Shape::Duration => {
                match self.mode {
                    Mode::Weak => scalar(value, shape),
                    Mode::Exact => value.clone(),
                }
            }
        }
    }

    fn structure(&mut self, value: &Value, fields: &[Field], path: &str) -> Value {
        let value = self.only(value);
        let Value::Object(members) = value else {
            return value.clone();
        };
        let mut out = Map::new();
        for (key, member) in members {
            let exact = fields
                .iter()
                .find(|field| field.name.eq_ignore_ascii_case(key));
            let alias = || {
                fields
                    .iter()
                    .find(|field| alias_of(field).eq_ignore_ascii_case(key))
            };
            let here = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            let Some(field) = exact.or_else(alias) else {
                self.unknown.push(here);
                continue;
            };
            let decoded = self.value(member, (field.shape)(), &here);
            if exact.is_some() || !out.contains_key(field.name) {
                out.insert(field.name.to_owned(), decoded);
            }
        }
        Value::Object(out)
    }

    fn map(&mut self, value: &Value, item: Shape, path: &str) -> Value {
        let merged;
        let members = match value {
            Value::Object(members) => members,
            Value::Array(items)
                if self.mode == Mode::Weak && items.iter().all(Value::is_object) =>
            {
                merged = items.iter().filter_map(Value::as_object).flatten();
                &merged
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect::<Map<_, _>>()
            }
            other => return other.clone(),
        };
        let decoded = members.iter().map(|(key, member)| {
            let here = format!("{path}[{key}]");
            (key.clone(), self.value(member, item, &here))
        });
        Value::Object(decoded.collect())
    }

    fn list(&mut self, value: &Value, item: Shape, path: &str) -> Value {
        match value {
            Value::Array(items) => {
                let decoded = items.iter().enumerate().map(|(position, member)| {
                    self.value(member, item, &format!("{path}[{position}]"))
                });
                Value::Array(decoded.collect())
            }
            other if self.mode == Mode::Weak => {
                Value::Array(vec![self.value(other, item, &format!("{path}[0]"))])
            }
            other => other.clone(),
        }
    }

    /// A list of one where a struct is expected: how HCL's blocks arrive.
    fn only<'a>(&self, value: &'a Value) -> &'a Value {
        match value {
            Value::Array(items) if self.mode == Mode::Weak && items.len() == 1 => &items[0],
            other => other,
        }
    }
}

/// The snake_case name. Rust's raw identifiers keep their prefix in `stringify!`.
fn alias_of(field: &Field) -> &'static str {
    field.alias.strip_prefix("r#").unwrap_or(field.alias)
}

fn unwrapped(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, member)| (key.clone(), unwrapped(member)))
                .collect(),
        ),
        Value::Array(items) if items.len() == 1 && items[0].is_object() => unwrapped(&items[0]),
        Value::Array(items) => Value::Array(items.iter().map(unwrapped).collect()),
        scalar => scalar.clone(),
    }
}

fn scalar(value: &Value, shape: Shape) -> Value {
    let value = match value {
        Value::Array(items) if items.len() == 1 => &items[0],
        other => other,
    };
    let coerced = match (shape, value) {
        (Shape::Text, Value::Number(number)) => Some(Value::String(number.to_string())),
        (Shape::Text, Value::Bool(flag)) => {
            Some(Value::String(if *flag { "1" } else { "0" }.to_owned()))
        }
        (Shape::Bool, Value::Number(number)) => Some(Value::Bool(number.as_f64() != Some(0.0))),
        (Shape::Bool, Value::String(text)) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(Value::Bool(true)),
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(Value::Bool(false)),
            _ => None,
        },
        (Shape::Integer, Value::Bool(flag)) => Some(Value::from(u8::from(*flag))),
        (Shape::Integer, Value::String(text)) if text.is_empty() => Some(Value::from(0)),
        (Shape::Integer, Value::String(text)) => text.parse::<i64>().ok().map(Value::from),
        (Shape::Integer, Value::Number(number)) => {
            number.as_f64().filter(|_| number.is_f64()).map(truncated)
        }
        (Shape::Float, Value::String(text)) => text.parse::<f64>().ok().map(Value::from),
        (Shape::Float, Value::Bool(flag)) => Some(Value::from(u8::from(*flag))),
        _ => None,
    };
    coerced.unwrap_or_else(|| value.clone())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float where an integer is expected is cut, as Consul does"
)]
fn truncated(number: f64) -> Value {
    Value::from(number as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_keys_are_named_in_consuls_words() {
        for (body, expected) in [
            (
                json!({"Name": "x"}),
                "Payload does not contain a kind/Kind key at the top level",
            ),
            (
                json!({"Kind": "ingress-gateway"}),
                "invalid config entry kind: ingress-gateway",
            ),
            (
                json!({"Kind": "service-defaults", "Name": "x", "cornfig": 1}),
                "1 error occurred:\n\t* invalid config key \"cornfig\"\n\n",
            ),
            (
                json!({"Kind": "service-defaults", "Namespace": "x"}),
                "invalid config key \"Namespace\", namespaces are a consul enterprise feature",
            ),
        ] {
            let error = config_entry(&body).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn values_are_weakly_typed_and_the_canonical_key_wins() {
        let body = json!({
            "kind": "service-resolver", "name": ["web"], "connect_timeout": "1s", "ConnectTimeout": "2s",
            "subsets": [{"v1": [{"only_passing": "true"}]}],
            "load_balancer": [{"policy": "ring_hash", "ring_hash_config": {"minimum_ring_size": "7"}}],
        });
        let ConfigEntry::ServiceResolver(entry) = config_entry(&body).unwrap() else {
            unreachable!("a resolver")
        };
        assert_eq!(entry.name, "web");
        assert_eq!(entry.connect_timeout.to_string(), "2s");
        assert!(entry.subsets["v1"].only_passing);
        assert_eq!(
            entry
                .load_balancer
                .unwrap()
                .ring_hash_config
                .unwrap()
                .minimum_ring_size,
            7
        );
    }
}
