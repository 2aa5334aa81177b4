//! What methods and fields promise, read from the options of their descriptors.
//!
//! Everything is read through the pool that the descriptor belongs to, so that a set learned at run time
//! works like the one compiled in; such a pool must have been decoded from bytes, or the options are gone.

use std::collections::BTreeSet;

use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, MethodDescriptor, ReflectMessage as _, Value,
};

use crate::buf::validate::FieldRules;
use crate::google::api::HttpRule;
use crate::shop::options::v1 as wire;

pub use wire::method::Cache;
pub use wire::method::Key;

/// The rules of one method.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// The scope that the user's token must hold; none for a public method.
    pub scope: Option<String>,
    /// Units that a call takes from a rate limit.
    pub cost: u32,
    /// How long an answer may be kept.
    pub cache: Option<Cache>,
    /// Whether a call carries an idempotency key; never `Unspecified`.
    pub key: Key,
    /// The field of the request that may carry the key.
    pub key_field: Option<String>,
    /// Mesh identities that may call the method; never empty.
    pub callers: BTreeSet<String>,
    /// The HTTP status of success.
    pub http_success: u16,
    /// Zero values are printed in the JSON answer.
    pub emit_defaults: bool,
    /// What repeating a call does.
    pub level: IdempotencyLevel,
}

impl Method {
    /// Reads the rules of a method; one that states none may be called by the gateway only.
    #[must_use]
    pub fn of(method: &MethodDescriptor) -> Self {
        let stated: wire::Method =
            extension(&method.options(), "shop.options.v1.method").unwrap_or_default();
        let key = match stated.key() {
            Key::Unspecified => Key::None,
            other @ (Key::None | Key::Generated | Key::Required) => other,
        };
        let mut callers: BTreeSet<String> = stated.callers.into_iter().collect();
        if callers.is_empty() {
            callers.insert("gateway".to_owned());
        }
        Self {
            scope: Some(stated.scope).filter(|scope| !scope.is_empty()),
            cost: stated.cost.max(1),
            cache: stated.cache,
            key,
            key_field: Some(stated.key_field).filter(|field| !field.is_empty()),
            callers,
            http_success: u16::try_from(stated.http_success)
                .ok()
                .filter(|status| *status != 0)
                .unwrap_or(200),
            emit_defaults: stated.emit_defaults,
            level: level(method),
        }
    }
}

/// What repeating a call does; `IdempotencyUnknown` unless the method says more.
#[must_use]
pub fn level(method: &MethodDescriptor) -> IdempotencyLevel {
    method
        .method_descriptor_proto()
        .options
        .as_ref()
        .map_or(IdempotencyLevel::IdempotencyUnknown, |options| {
            options.idempotency_level()
        })
}

/// How the method is called over plain HTTP, if it is.
#[must_use]
pub fn http(method: &MethodDescriptor) -> Option<HttpRule> {
    extension(&method.options(), "google.api.http")
}

/// What a value of the field must satisfy.
#[must_use]
pub fn field_rules(field: &FieldDescriptor) -> Option<FieldRules> {
    extension(&field.options(), "buf.validate.field")
}

/// The field holds personal data or a secret: it never reaches a log, a span or a tap.
#[must_use]
pub fn is_redacted(field: &FieldDescriptor) -> bool {
    field
        .options()
        .get_field_by_name("debug_redact")
        .is_some_and(|value| value.as_bool() == Some(true))
}

fn extension<M: prost::Message + Default>(options: &DynamicMessage, name: &str) -> Option<M> {
    let extension = options
        .descriptor()
        .parent_pool()
        .get_extension_by_name(name)?;
    if !options.has_extension(&extension) {
        return None;
    }
    let value = options.get_extension(&extension);
    let Value::Message(message) = value.as_ref() else {
        return None;
    };
    message.transcode_to().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::google::api::http_rule::Pattern;

    fn method(service: &str, name: &str) -> MethodDescriptor {
        let service = crate::pool().get_service_by_name(service).unwrap();
        service.methods().find(|m| m.name() == name).unwrap()
    }

    #[test]
    fn every_method_of_ours_states_its_level() {
        let mut methods = 0;
        for service in crate::pool().services() {
            if !service.full_name().starts_with("shop.") {
                continue;
            }
            for method in service.methods() {
                let stated = method
                    .method_descriptor_proto()
                    .options
                    .as_ref()
                    .and_then(|options| options.idempotency_level);
                assert!(stated.is_some(), "{} states no level", method.full_name());
                methods += 1;
            }
        }
        assert!(methods > 30, "only {methods} methods found");
    }

    #[test]
    fn every_method_of_ours_states_its_options() {
        for service in crate::pool().services() {
            if !service.full_name().starts_with("shop.") {
                continue;
            }
            for method in service.methods() {
                let stated: Option<wire::Method> =
                    extension(&method.options(), "shop.options.v1.method");
                assert!(stated.is_some(), "{}", method.full_name());
                let options = Method::of(&method);
                assert!(
                    options.cache.is_none() || options.level == IdempotencyLevel::NoSideEffects,
                    "{} may not be cached",
                    method.full_name()
                );
                if let Some(field) = &options.key_field {
                    assert!(method.input().get_field_by_name(field).is_some());
                }
            }
        }
    }

    #[test]
    fn placing_an_order_needs_a_key_and_a_scope() {
        let place = method("shop.orders.v1.OrderService", "PlaceOrder");
        let options = Method::of(&place);
        assert_eq!(options.scope.as_deref(), Some("orders:write"));
        assert_eq!(options.key, Key::Required);
        assert_eq!(options.key_field.as_deref(), Some("idempotency_key"));
        assert_eq!(options.http_success, 201);
        assert_eq!(options.level, IdempotencyLevel::Idempotent);
        assert_eq!(options.callers.into_iter().collect::<Vec<_>>(), ["gateway"]);
    }

    #[test]
    fn http_rules_are_in_the_set() {
        let rule = http(&method("shop.orders.v1.OrderService", "PlaceOrder")).unwrap();
        assert_eq!(rule.pattern, Some(Pattern::Post("/v1/orders".to_owned())));
        assert_eq!(rule.additional_bindings.len(), 1);
        let reserve = method("shop.inventory.v1.ReservationService", "CreateReservation");
        assert_eq!(http(&reserve), None);
    }

    #[test]
    fn field_options_are_in_the_set() {
        let request = method("shop.identity.v1.SessionService", "CreateSession").input();
        let password = request.get_field_by_name("password").unwrap();
        assert!(is_redacted(&password));
        assert!(field_rules(&password).is_some());
        let order = method("shop.orders.v1.OrderService", "GetOrder").output();
        assert!(!is_redacted(&order.get_field_by_name("order_id").unwrap()));
    }
}
