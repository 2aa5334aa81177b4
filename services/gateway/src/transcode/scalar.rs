//! Text from a path or a query as the value of a field.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::json;

/// Messages that have a text of their own.
const WRITTEN_AS_TEXT: [&str; 3] = [
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
    "google.protobuf.FieldMask",
];

/// `None`: the text is no such value.
pub(super) fn parse(field: &FieldDescriptor, text: &str) -> Option<Value> {
    if field.is_map() {
        return None;
    }
    match field.kind() {
        Kind::String => Some(Value::String(text.to_owned())),
        Kind::Bytes => decode_bytes(text).map(|bytes| Value::Bytes(bytes.into())),
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => integer(text).map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => integer(text).map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => integer(text).map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => integer(text).map(Value::U64),
        Kind::Float => text
            .parse()
            .ok()
            .filter(|value: &f32| value.is_finite())
            .map(Value::F32),
        Kind::Double => text
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .map(Value::F64),
        Kind::Enum(kind) => match kind.get_value_by_name(text) {
            Some(value) => Some(Value::EnumNumber(value.number())),
            None => integer(text)
                .and_then(|number| kind.get_value(number))
                .map(|value| Value::EnumNumber(value.number())),
        },
        Kind::Message(kind) => parse_message(&kind, text),
    }
}

/// How such a value is written, for the error's text.
pub(super) fn expected(field: &FieldDescriptor) -> &'static str {
    match field.kind() {
        Kind::String => "a string",
        Kind::Bytes => "base64",
        Kind::Bool => "true or false",
        Kind::Float | Kind::Double => "a number",
        Kind::Enum(_) => "a name or number of the enumeration",
        Kind::Message(_) => {
            "a time such as 2026-01-31T12:00:00Z, a duration such as 1.5s, or a list of field names"
        }
        _ => "a whole number within range",
    }
}

/// Plain decimal: no plus sign, no point, no exponent.
fn integer<T: std::str::FromStr>(text: &str) -> Option<T> {
    (!text.starts_with('+')).then(|| text.parse().ok())?
}

fn decode_bytes(text: &str) -> Option<Vec<u8>> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&alphabet::URL_SAFE, config);
    engine.decode(text.replace('+', "-").replace('/', "_")).ok()
}

fn parse_message(kind: &MessageDescriptor, text: &str) -> Option<Value> {
    if !WRITTEN_AS_TEXT.contains(&kind.full_name()) {
        return None;
    }
    if !json::is_well_spelt(kind, text) {
        return None;
    }
    let json = serde_json::Value::String(text.to_owned());
    let message = DynamicMessage::deserialize(kind.clone(), json).ok()?;
    Some(Value::Message(message))
}
