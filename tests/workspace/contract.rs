//! What every method of ours states.

use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};

/// Full name and descriptor of every method that is not vendored.
fn methods() -> Vec<(String, MethodDescriptorProto)> {
    let set = FileDescriptorSet::decode(outrigger_proto::DESCRIPTOR_SET).unwrap();
    let mut methods = Vec::new();
    for file in set.file {
        let package = file.package().to_owned();
        if !package.starts_with("shop.") && !package.starts_with("outrigger.") {
            continue;
        }
        for service in file.service {
            for method in &service.method {
                let name = format!("{package}.{}/{}", service.name(), method.name());
                methods.push((name, method.clone()));
            }
        }
    }
    methods
}

#[test]
fn every_method_states_its_idempotency_level() {
    let methods = methods();
    assert!(methods.len() > 20, "{} methods", methods.len());
    let silent: Vec<_> = methods
        .iter()
        .filter(|(_, method)| {
            let options = method.options.as_ref();
            options
                .and_then(|options| options.idempotency_level)
                .is_none()
        })
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(silent.is_empty(), "no idempotency_level: {silent:?}");
}

#[test]
fn every_rpc_has_a_request_of_its_own_name() {
    let wrong: Vec<_> = methods()
        .into_iter()
        .filter(|(_, method)| {
            let wanted = format!("{}Request", method.name());
            !method.input_type().ends_with(&format!(".{wanted}"))
        })
        .map(|(name, method)| format!("{name} takes {}", method.input_type()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn only_known_services_are_callers() {
    let services = [
        "gateway",
        "identity",
        "catalog",
        "orders",
        "inventory",
        "payments",
    ];
    for service in &services[1..] {
        let callers = outrigger_proto::callers(service);
        assert!(!callers.is_empty(), "nobody may call {service}");
        for caller in callers {
            assert!(
                services.contains(&caller.as_str()),
                "{service} may be called by {caller}"
            );
        }
    }
}
