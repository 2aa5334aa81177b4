//! The same bytes for the same request: fields in order of their numbers, map
//! entries in order of their bytes, unknown fields left out, hashed.

use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _, Value};
use sha2::{Digest as _, Sha256};

/// Of `message` without its field `key_field` (empty: with all fields).
pub(super) fn fingerprint(message: &DynamicMessage, key_field: &str) -> Vec<u8> {
    let mut message = message.clone();
    if !key_field.is_empty() {
        message.clear_field_by_name(key_field);
    }
    Sha256::digest(canonical(&message)).to_vec()
}

fn canonical(message: &DynamicMessage) -> Vec<u8> {
    let mut fields: Vec<_> = message.fields().collect();
    fields.sort_by_key(|(field, _)| field.number());
    fields
        .into_iter()
        .flat_map(|(field, value)| field_bytes(message, &field, value))
        .collect()
}

fn field_bytes(message: &DynamicMessage, field: &FieldDescriptor, value: &Value) -> Vec<u8> {
    match value {
        Value::Message(inner) => length_delimited(field, canonical(inner)),
        Value::List(items) if items.iter().any(|item| matches!(item, Value::Message(_))) => items
            .iter()
            .filter_map(Value::as_message)
            .flat_map(|inner| length_delimited(field, canonical(inner)))
            .collect(),
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| {
                    // A message as value is canonical in its own right.
                    let value_bytes = match value {
                        Value::Message(inner) => canonical(inner),
                        value => alone(
                            message,
                            field,
                            Value::Map([(key.clone(), value.clone())].into()),
                        ),
                    };
                    let key = alone(
                        message,
                        field,
                        Value::Map([(key.clone(), default_of(field))].into()),
                    );
                    [key, value_bytes].concat()
                })
                .collect();
            entries.sort_unstable();
            entries
                .into_iter()
                .flat_map(|entry| length_delimited(field, entry))
                .collect()
        }
        value => alone(message, field, value.clone()),
    }
}

fn default_of(map: &FieldDescriptor) -> Value {
    let kind = map.kind();
    let entry = kind.as_message().expect("a map field holds entries");
    Value::default_value(&entry.map_entry_value_field().kind())
}

/// A message that holds this field only, encoded.
fn alone(message: &DynamicMessage, field: &FieldDescriptor, value: Value) -> Vec<u8> {
    let mut alone = DynamicMessage::new(message.descriptor());
    alone.set_field(field, value);
    alone.encode_to_vec()
}

fn length_delimited(field: &FieldDescriptor, bytes: Vec<u8>) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(bytes.len() + 10);
    prost::encoding::encode_key(
        field.number(),
        prost::encoding::WireType::LengthDelimited,
        &mut encoded,
    );
    prost::encoding::encode_varint(bytes.len() as u64, &mut encoded);
    encoded.extend(bytes);
    encoded
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use prost_reflect::MapKey;

    use super::*;

    fn structure(pairs: &[(&str, f64)]) -> DynamicMessage {
        let pool = prost_reflect::DescriptorPool::global();
        let value = pool.get_message_by_name("google.protobuf.Value").unwrap();
        let entries: HashMap<MapKey, Value> = pairs
            .iter()
            .map(|(key, number)| {
                let mut inner = DynamicMessage::new(value.clone());
                inner.set_field_by_name("number_value", Value::F64(*number));
                (MapKey::String((*key).to_owned()), Value::Message(inner))
            })
            .collect();
        let mut message =
            DynamicMessage::new(pool.get_message_by_name("google.protobuf.Struct").unwrap());
        message.set_field_by_name("fields", Value::Map(entries));
        message
    }

    #[test]
    fn the_order_of_map_entries_makes_no_difference() {
        let names: Vec<String> = (0..50).map(|number| format!("n{number}")).collect();
        let pairs: Vec<_> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
        let reversed: Vec<_> = pairs.iter().rev().copied().collect();
        assert_eq!(
            fingerprint(&structure(&pairs), ""),
            fingerprint(&structure(&reversed), "")
        );
    }

    #[test]
    fn keys_values_and_fields_do() {
        let base = fingerprint(&structure(&[("a", 1.0), ("b", 2.0)]), "");
        for other in [[("a", 2.0), ("b", 1.0)], [("a", 1.0), ("c", 2.0)]] {
            assert_ne!(base, fingerprint(&structure(&other), ""));
        }
    }

    #[test]
    fn the_key_field_makes_none() {
        let pool = prost_reflect::DescriptorPool::global();
        let method = pool
            .get_message_by_name("google.protobuf.SourceContext")
            .unwrap();
        let with = |name: &str| {
            let mut message = DynamicMessage::new(method.clone());
            message.set_field_by_name("file_name", Value::String(name.to_owned()));
            message
        };
        assert_eq!(
            fingerprint(&with("key-1"), "file_name"),
            fingerprint(&with("key-2"), "file_name")
        );
        assert_ne!(
            fingerprint(&with("key-1"), ""),
            fingerprint(&with("key-2"), "")
        );
    }
}
