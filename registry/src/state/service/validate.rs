//! What a registration must hold, with Consul's texts.

use std::collections::BTreeSet;

use outrigger_consul::check::CheckDefinition;
use outrigger_consul::proxy::{ProxyConfig, Upstream};
use outrigger_consul::service::{CONNECT_PROXY, ServiceRegistration};

use crate::error::Refusal;
use crate::limit::Limits;
use crate::state::check;

pub(super) fn registration(
    registration: &ServiceRegistration,
    limits: &Limits,
) -> Result<(), Refusal> {
    if registration.name.is_empty() {
        return Err(Refusal::bad("Missing service name"));
    }
    if registration.name.len() > limits.name || registration.id.len() > 2 * limits.name {
        return Err(Refusal::bad(format!(
            "Validation failed: a name is longer than {} bytes",
            limits.name
        ))
        .past("name"));
    }
    if ["0.0.0.0", "::", "[::]"].contains(&registration.address.as_str()) {
        return Err(Refusal::bad("Invalid service address"));
    }
    if let Some(weights) = &registration.weights {
        if weights.passing < 1 {
            return Err(Refusal::bad(
                "Invalid Weights: Passing must be greater than 0",
            ));
        }
        if weights.warning < 0 {
            return Err(Refusal::bad(
                "Invalid Weights: Warning must be greater or equal than 0",
            ));
        }
        if weights.passing > 65535 || weights.warning > 65535 {
            return Err(Refusal::bad(
                "Invalid Weights: DNS Weight must be between 0 and 65535",
            ));
        }
    }
    meta(registration, limits)?;
    tags(registration, limits)?;
    let checks = registration.check.iter().chain(&registration.checks);
    for definition in checks.filter(|definition| **definition != CheckDefinition::default()) {
        if check::initial_status(definition).is_none() {
            return Err(Refusal::bad(
                "Status for checks must 'passing', 'warning', 'critical'",
            ));
        }
        check::validate(definition, limits)
            .map_err(|message| Refusal::bad(format!("Invalid check: {message}")))?;
    }
    let errors = kind(registration);
    if errors.is_empty() {
        return Ok(());
    }
    let noun = if errors.len() == 1 { "error" } else { "errors" };
    let lines = errors.iter().map(|error| format!("\t* {error}"));
    Err(Refusal::bad(format!(
        "Validation failed: {} {noun} occurred:\n{}\n\n",
        errors.len(),
        lines.collect::<Vec<_>>().join("\n")
    )))
}

fn tags(registration: &ServiceRegistration, limits: &Limits) -> Result<(), Refusal> {
    let (most, bytes) = (limits.tags, limits.tag);
    let text = format!("Validation failed: at most {most} tags of {bytes} bytes each");
    if registration.tags.len() > most {
        return Err(Refusal::bad(text).past("tags"));
    }
    if registration.tags.iter().any(|tag| tag.len() > bytes) {
        return Err(Refusal::bad(text).past("tag"));
    }
    Ok(())
}

fn meta(registration: &ServiceRegistration, limits: &Limits) -> Result<(), Refusal> {
    let bad = |message: String| Refusal::bad(format!("Invalid Service Meta: {message}"));
    if registration.meta.len() > limits.meta_pairs {
        let most = limits.meta_pairs;
        let text = format!("Node metadata cannot contain more than {most} key/value pairs");
        return Err(bad(text).past("meta_pairs"));
    }
    for (key, value) in &registration.meta {
        let named = |what: &str| {
            bad(format!(
                "Couldn't load metadata pair ('{key}', '{value}'): {what}"
            ))
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if key.is_empty() {
            return Err(named("Key cannot be blank"));
        }
        if !key.bytes().all(plain) {
            return Err(named("Key contains invalid characters"));
        }
        if key.len() > limits.meta_key {
            let most = limits.meta_key;
            let text = format!("Key is too long (limit: {most} characters)");
            return Err(named(&text).past("meta_key"));
        }
        if key.starts_with("consul-") {
            return Err(named("Key prefix 'consul-' is reserved for internal use"));
        }
        if value.len() > limits.meta_value {
            let most = limits.meta_value;
            let text = format!("Value is too long (limit: {most} characters)");
            return Err(named(&text).past("meta_value"));
        }
    }
    Ok(())
}

/// Everything wrong with what the kind asks for, in Consul's words and order.
fn kind(registration: &ServiceRegistration) -> Vec<String> {
    let mut errors = Vec::new();
    let connect = registration.connect.as_ref();
    let native = connect.is_some_and(|connect| connect.native);
    let unreachable = registration.port == 0 && registration.socket_path.is_empty();
    match registration.kind.as_str() {
        "" if registration.proxy.is_some() => {
            errors.push("Proxy can only be set for kind connect-proxy".to_owned());
        }
        "" => {
            if native && unreachable {
                errors.push(
                    "Port or SocketPath must be set for a Connect native service.".to_owned(),
                );
            }
        }
        CONNECT_PROXY => {
            if native {
                errors.push(
                    "A Proxy cannot also be Connect Native, only typical services".to_owned(),
                );
            }
            if unreachable {
                errors.push("Port or SocketPath must be set for a connect-proxy".to_owned());
            }
            let absent = ProxyConfig::default();
            proxy(registration.proxy.as_ref().unwrap_or(&absent), &mut errors);
        }
        other => errors.push(format!("Kind {other:?} is not served by this registry")),
    }
    if let Some(nested) = connect.and_then(|connect| connect.sidecar_service.as_deref()) {
        if !nested.id.is_empty() {
            errors.push(
                "A SidecarService cannot specify an ID as this is managed by the agent".to_owned(),
            );
        }
        if nested
            .connect
            .as_ref()
            .is_some_and(|connect| connect.sidecar_service.is_some())
        {
            errors.push("A SidecarService cannot have a nested SidecarService".to_owned());
        }
    }
    errors
}

fn proxy(proxy: &ProxyConfig, errors: &mut Vec<String>) {
    if proxy.destination_service_name.trim().is_empty() {
        errors.push(
            "Proxy.DestinationServiceName must be non-empty for Connect proxy services".to_owned(),
        );
    }
    if proxy.destination_service_name == "*" {
        errors.push(
            "Proxy.DestinationServiceName must not be a wildcard for Connect proxy services"
                .to_owned(),
        );
    }
    let (mut names, mut binds) = (BTreeSet::new(), BTreeSet::new());
    for upstream in &proxy.upstreams {
        if let Err(message) = self::upstream(upstream) {
            errors.push(message);
            continue;
        }
        let key = (
            &upstream.destination_name,
            &upstream.destination_partition,
            &upstream.destination_namespace,
            &upstream.destination_peer,
            &upstream.datacenter,
        );
        if !names.insert(key) {
            let (name, partition, namespace, peer, datacenter) = key;
            errors.push(format!(
                "upstreams cannot contain duplicates of [type=\"service\", name={name:?}, partition={partition:?}, \
                 namespace={namespace:?}, peer={peer:?}, datacenter={datacenter:?}]"
            ));
        }
        let bind = bind(upstream);
        if !binds.insert(bind.clone()) {
            errors.push(format!(
                "upstreams cannot contain duplicates by local bind address and port or unix path; {bind:?} is specified twice"
            ));
        }
    }
}

fn upstream(upstream: &Upstream) -> Result<(), String> {
    let name = upstream.destination_name.as_str();
    if !["", "service"].contains(&upstream.destination_type.as_str()) {
        return Err(format!(
            "upstreams of type {:?} are not served by this registry",
            upstream.destination_type
        ));
    }
    match name {
        "" => return Err("upstream destination name cannot be empty".to_owned()),
        "*" => return Err("upstream destination name cannot be a wildcard".to_owned()),
        _ => {}
    }
    if upstream.local_bind_port == 0 && upstream.local_bind_socket_path.is_empty() {
        return Err(
            "upstream local bind port or local socket path must be defined and nonzero".to_owned(),
        );
    }
    Ok(())
}

fn bind(upstream: &Upstream) -> String {
    match (upstream.local_bind_port, &upstream.local_bind_address) {
        (0, _) => upstream.local_bind_socket_path.clone(),
        (port, address) if address.is_empty() => format!("127.0.0.1:{port}"),
        (port, address) => format!("{address}:{port}"),
    }
}
