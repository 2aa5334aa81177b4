//! OpenAPI 3.1, from the routes that serve, so that it cannot drift from them.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::exposed::{Binding, Body, Exposed};
use crate::route::Template;

/// The description of every route.
pub(crate) fn describe(exposed: &Exposed) -> Value {
    let mut schemas = BTreeMap::new();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (method, template, binding) in exposed.routes.routes() {
        let Some(method) = method else { continue };
        let operation = operation(template, binding, &mut schemas);
        paths
            .entry(template.open_api_path())
            .or_default()
            .insert(method.as_str().to_ascii_lowercase(), operation);
    }
    schemas.insert("Error".to_owned(), error_schema());
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Outrigger shop", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    })
}

fn operation(
    template: &Template,
    binding: &Binding,
    schemas: &mut BTreeMap<String, Value>,
) -> Value {
    let rpc = &binding.rpc;
    let input = rpc.method.input();
    let output = reference(&rpc.method.output(), schemas);
    let success = rpc.options.http_success.to_string();
    let mut responses = Map::new();
    responses.insert(
        success,
        json!({"description": "OK", "content": {"application/json": {"schema": output}}}),
    );
    responses.insert(
        "default".to_owned(),
        json!({
            "description": "An error",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }),
    );
    let mut operation = json!({
        "operationId": format!("{}_{}", rpc.method.parent_service().name(), rpc.method.name()),
        "tags": [rpc.method.parent_service().full_name()],
        "description": comment(&rpc.method.parent_file(), rpc.method.path()),
        "parameters": parameters(template, binding, &input),
        "responses": responses,
    });
    if let Some(scope) = &rpc.options.scope {
        operation["security"] = json!([{"bearer": [scope]}]);
    }
    let body = match &binding.body {
        Body::None => return operation,
        Body::Whole => Some(input),
        Body::Field(name) => input
            .get_field_by_name(name)
            .and_then(|field| field.kind().as_message().cloned()),
    };
    if let Some(body) = body {
        let schema = reference(&body, schemas);
        operation["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    operation
}

/// The path's variables, and what the query may hold.
fn parameters(template: &Template, binding: &Binding, input: &MessageDescriptor) -> Vec<Value> {
    let bound: Vec<_> = template
        .variables()
        .iter()
        .map(|variable| variable.field.join("."))
        .collect();
    let mut parameters: Vec<_> = bound
        .iter()
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    if binding.body == Body::Whole {
        return parameters;
    }
    for field in input.fields() {
        let in_body = binding.body == Body::Field(field.name().to_owned());
        let leaf = field
            .kind()
            .as_message()
            .is_none_or(|kind| well_known(kind).is_some());
        if !in_body && leaf && !field.is_map() && !bound.contains(&field.name().to_owned()) {
            let schema = field_schema(&field, &mut BTreeMap::new());
            parameters.push(json!({"name": field.json_name(), "in": "query", "schema": schema}));
        }
    }
    parameters
}

fn reference(message: &MessageDescriptor, schemas: &mut BTreeMap<String, Value>) -> Value {
    if let Some(schema) = well_known(message) {
        return schema;
    }
    let name = message.full_name().to_owned();
    if !schemas.contains_key(&name) {
        // In place before its fields: a message may hold itself.
        schemas.insert(name.clone(), Value::Null);
        let properties: Map<_, _> = message
            .fields()
            .map(|field| (field.json_name().to_owned(), field_schema(&field, schemas)))
            .collect();
        schemas.insert(
            name.clone(),
            json!({"type": "object", "properties": properties}),
        );
    }
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn field_schema(field: &FieldDescriptor, schemas: &mut BTreeMap<String, Value>) -> Value {
    let kind = field.kind();
    if field.is_map()
        && let Some(entry) = kind.as_message()
    {
        let value = entry.map_entry_value_field();
        return json!({"type": "object", "additionalProperties": field_schema(&value, schemas)});
    }
    let schema = match &kind {
        Kind::String => json!({"type": "string"}),
        Kind::Bytes => json!({"type": "string", "format": "byte"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Float | Kind::Double => json!({"type": "number"}),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Uint32 | Kind::Fixed32 => {
            json!({"type": "integer"})
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
            json!({"type": ["string", "integer"], "format": "int64"})
        }
        Kind::Enum(kind) => {
            let names: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
            json!({"type": "string", "enum": names})
        }
        Kind::Message(message) => reference(message, schemas),
    };
    if field.is_list() {
        return json!({"type": "array", "items": schema});
    }
    schema
}

/// Messages that JSON writes in a form of their own.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    Some(match message.full_name() {
        "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
        "google.protobuf.Duration" | "google.protobuf.FieldMask" => json!({"type": "string"}),
        "google.protobuf.Struct" => json!({"type": "object"}),
        "google.protobuf.Value" => json!({}),
        _ => return None,
    })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "properties": {"error": {
            "type": "object",
            "properties": {
                "code": {"type": "integer"},
                "status": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "array", "items": {"type": "object"}},
            },
        }},
    })
}

/// The contract's own words.
fn comment(file: &prost_reflect::FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    info.and_then(|info| info.location.iter().find(|location| location.path == path))
        .map(|location| location.leading_comments().trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_every_reference_leads_somewhere() {
        let exposed = Exposed::compile(outrigger_proto::pool()).unwrap();
        let document = describe(&exposed);
        let text = document.to_string();
        for (_, template, _) in exposed.routes.routes() {
            assert!(
                document["paths"].get(template.open_api_path()).is_some(),
                "{template}"
            );
        }
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(
                document["components"]["schemas"].get(name).is_some(),
                "{name}"
            );
        }
        let post = &document["paths"]["/api/v1/orders"]["post"];
        assert!(post["description"].as_str().unwrap().len() > 10);
        assert_eq!(post["security"][0]["bearer"][0], "orders:write");
    }
}
