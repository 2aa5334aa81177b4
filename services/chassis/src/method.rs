//! What the contract says of each method a server has: who may call it, which
//! scope a user needs, where the idempotency key travels. Read from the method
//! options (`shop.options.v1`, field 50101) when the server is put together.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage as _, ServiceDescriptor,
    Value,
};

/// Field number of our extension of `google.protobuf.MethodOptions`.
const OPTIONS: u32 = 50101;

/// Whether a call must bring an idempotency key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyPolicy {
    #[default]
    None,
    /// The gateway adds a key when the client sent none; straight calls may go without.
    Generated,
    Required,
}

#[derive(Clone, Debug)]
pub struct Method {
    /// `shop.orders.v1.OrderService/PlaceOrder`: span name and metric label.
    pub name: String,
    pub input: MessageDescriptor,
    pub client_streaming: bool,
    /// Scope the user's token must hold; empty for a public method.
    pub scope: String,
    /// Mesh identities that may call it.
    pub callers: BTreeSet<String>,
    pub key: KeyPolicy,
    /// Request field that may carry the key; empty when only metadata may.
    pub key_field: String,
}

/// The methods of one server, by request path.
#[derive(Clone, Debug, Default)]
pub struct Methods(HashMap<String, Arc<Method>>);

impl Methods {
    pub fn add(&mut self, service: &ServiceDescriptor) {
        for method in service.methods() {
            let name = format!("{}/{}", service.full_name(), method.name());
            let options = options(service.parent_pool(), &method.options());
            let method = Method::read(name.clone(), &method, options.as_ref());
            self.0.insert(format!("/{name}"), Arc::new(method));
        }
    }

    pub fn find(&self, path: &str) -> Option<&Arc<Method>> {
        self.0.get(path)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Method> {
        self.0.values().map(AsRef::as_ref)
    }
}

impl Method {
    /// `PlaceOrder`.
    pub fn short_name(&self) -> &str {
        self.name
            .rsplit_once('/')
            .map_or(&self.name, |(_, short)| short)
    }

    fn read(
        name: String,
        method: &prost_reflect::MethodDescriptor,
        options: Option<&DynamicMessage>,
    ) -> Self {
        let mut callers: BTreeSet<String> = options
            .and_then(|options| options.get_field_by_name("callers"))
            .and_then(|callers| Some(callers.as_list()?.iter().filter_map(text).collect()))
            .unwrap_or_default();
        if callers.is_empty() {
            callers.insert("gateway".to_owned());
        }
        Self {
            name,
            input: method.input(),
            client_streaming: method.is_client_streaming(),
            scope: string(options, "scope"),
            callers,
            key: key(options),
            key_field: string(options, "key_field"),
        }
    }
}

fn options(pool: &DescriptorPool, options: &DynamicMessage) -> Option<DynamicMessage> {
    let extension = pool
        .get_message_by_name("google.protobuf.MethodOptions")?
        .get_extension(OPTIONS)?;
    options
        .has_extension(&extension)
        .then(|| options.get_extension(&extension).as_message().cloned())
        .flatten()
}

fn string(options: Option<&DynamicMessage>, field: &str) -> String {
    options
        .and_then(|options| text(&*options.get_field_by_name(field)?))
        .unwrap_or_default()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The enum's values may carry a prefix: the last word decides.
fn key(options: Option<&DynamicMessage>) -> KeyPolicy {
    let name = options.and_then(|options| {
        let field = options.descriptor().get_field_by_name("key")?;
        let number = options.get_field(&field).as_enum_number()?;
        let kind = field.kind();
        Some(kind.as_enum()?.get_value(number)?.name().to_owned())
    });
    match name.as_deref() {
        Some(name) if name.ends_with("REQUIRED") => KeyPolicy::Required,
        Some(name) if name.ends_with("GENERATED") => KeyPolicy::Generated,
        _ => KeyPolicy::None,
    }
}
