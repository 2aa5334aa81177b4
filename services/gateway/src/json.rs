//! JSON as the contract reads and prints it. The text is scanned first: what the parser would bend, drop or take
//! twice never reaches it.

mod expected;
mod scan;
mod spelling;

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};

use crate::error::Refusal;
use crate::exposed::Binding;

/// A message from its JSON; every unknown field is an error that says where it stands.
pub(crate) fn read(
    kind: &MessageDescriptor,
    text: &[u8],
    depth: usize,
) -> Result<DynamicMessage, Refusal> {
    scan::check(kind, text, depth)?;
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut track = serde_path_to_error::Track::new();
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let deserializer = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let read = DynamicMessage::deserialize_with_options(kind.clone(), deserializer, &options);
    let message = read.map_err(|error| {
        let place = track.path().to_string();
        Refusal::new("JSON_INVALID", format!("{place}: {error}")).with_field(&place, &error)
    })?;
    json.end()
        .map_err(|error| Refusal::new("JSON_INVALID", format!("behind the value: {error}")))?;
    Ok(message)
}

/// Whether a string means what it says as such a message: the parser would take a leap second for the one before it.
pub(crate) fn is_well_spelt(kind: &MessageDescriptor, text: &str) -> bool {
    spelling::of_text(&expected::Expected::message(kind), text).is_none()
}

/// An answer's JSON.
pub(crate) fn print(
    binding: &Binding,
    message: &DynamicMessage,
) -> Result<Vec<u8>, serde_json::Error> {
    let emit = binding.rpc.options.emit_defaults;
    let options = SerializeOptions::new().skip_default_fields(!emit);
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut text);
    let Some(field) = &binding.response_body else {
        message.serialize_with_options(&mut serializer, &options)?;
        return Ok(text);
    };
    // One field stands for the whole: cut it out of the object.
    let whole = message.serialize_with_options(serde_json::value::Serializer, &options)?;
    let part = whole.get(field.json_name()).cloned().unwrap_or_default();
    serde_json::to_vec(&part)
}

/// A response with this JSON.
pub(crate) fn response(status: StatusCode, text: Body) -> Response {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}
