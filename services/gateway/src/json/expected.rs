//! What the contract wants at one place of a JSON text.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

#[derive(Debug, Clone)]
pub(super) enum Expected {
    /// An object with these fields.
    Message(MessageDescriptor),
    /// An object whose names are keys, and its entries' value field.
    Map(Kind, FieldDescriptor),
    /// An array of these.
    List(Box<Self>),
    Scalar(Kind),
    Timestamp,
    FieldMask,
    /// Any JSON, or what we do not look at.
    Free,
}

impl Expected {
    pub(super) fn message(kind: &MessageDescriptor) -> Self {
        match kind.full_name() {
            "google.protobuf.Timestamp" => Self::Timestamp,
            "google.protobuf.FieldMask" => Self::FieldMask,
            "google.protobuf.Duration"
            | "google.protobuf.Struct"
            | "google.protobuf.Value"
            | "google.protobuf.ListValue"
            | "google.protobuf.Any" => Self::Free,
            name if name.starts_with("google.protobuf.") && name.ends_with("Value") => kind
                .get_field_by_name("value")
                .map_or(Self::Free, |field| Self::Scalar(field.kind())),
            _ => Self::Message(kind.clone()),
        }
    }

    fn kind(kind: Kind) -> Self {
        match kind {
            Kind::Message(message) => Self::message(&message),
            // NullValue is the one enumeration whose value is written null.
            Kind::Enum(kind) if kind.full_name() == "google.protobuf.NullValue" => Self::Free,
            kind => Self::Scalar(kind),
        }
    }

    fn field(field: &FieldDescriptor) -> Self {
        let kind = field.kind();
        match kind.as_message() {
            Some(entry) if field.is_map() => Self::Map(
                entry.map_entry_key_field().kind(),
                entry.map_entry_value_field(),
            ),
            _ if field.is_list() => Self::List(Box::new(Self::kind(kind))),
            _ => Self::kind(kind),
        }
    }

    /// What is wanted under a name, or as an element.
    pub(super) fn inside(&self, name: &str) -> Self {
        match self {
            Self::Message(message) => find(message, name).map_or(Self::Free, |f| Self::field(&f)),
            Self::Map(_, value) => Self::kind(value.kind()),
            Self::List(element) => element.as_ref().clone(),
            Self::Scalar(_) | Self::Timestamp | Self::FieldMask | Self::Free => Self::Free,
        }
    }

    /// One spelling for all that mean the same; `None` for what nobody knows.
    pub(super) fn canonical(&self, name: &str) -> Option<String> {
        match self {
            Self::Message(message) => find(message, name).map(|field| field.name().to_owned()),
            Self::Map(Kind::String | Kind::Bool, _) => Some(name.to_owned()),
            // `01` is the key 1, and the parser would take it for a second one.
            Self::Map(..) => name.parse::<i128>().ok().map(|key| key.to_string()),
            _ => Some(name.to_owned()),
        }
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self, Self::Message(_) | Self::Map(..))
    }

    /// Whether null cannot stand for "unset" inside.
    pub(super) fn holds_elements(&self) -> bool {
        matches!(self, Self::List(_) | Self::Map(..))
    }

    pub(super) fn is_free(&self) -> bool {
        matches!(self, Self::Free)
    }
}

/// By its JSON name or its name in the contract.
fn find(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message
        .get_field_by_json_name(name)
        .or_else(|| message.get_field_by_name(name))
}
