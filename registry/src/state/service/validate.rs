//! What a registration must hold, with Consul's texts.

use std::collections::BTreeSet;

use outrigger_consul::proxy::ProxyConfig;
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
        )));
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
                "Invalid Weights: must be less than or equal to 65535",
            ));
        }
    }
    meta(registration, limits)
        .map_err(|message| Refusal::bad(format!("Invalid Service Meta: {message}")))?;
    if registration.tags.len() > limits.tags
        || registration.tags.iter().any(|tag| tag.len() > limits.tag)
    {
        let (most, bytes) = (limits.tags, limits.tag);
        return Err(Refusal::bad(format!(
            "Validation failed: at most {most} tags of {bytes} bytes each"
        )));
    }
    for definition in registration.check.iter().chain(&registration.checks) {
        if check::initial_status(definition).is_none() {
            return Err(Refusal::bad(
                "Status for checks must 'passing', 'warning', 'critical'",
            ));
        }
        check::validate(definition, limits)
            .map_err(|message| Refusal::bad(format!("Invalid check: {message}")))?;
    }
    kind(registration).map_err(|message| Refusal::bad(format!("Validation failed: {message}")))
}

fn meta(registration: &ServiceRegistration, limits: &Limits) -> Result<(), String> {
    if registration.meta.len() > limits.meta_pairs {
        return Err(format!(
            "Node metadata cannot contain more than {} key/value pairs",
            limits.meta_pairs
        ));
    }
    for (key, value) in &registration.meta {
        let named =
            |what: &str| format!("Couldn't load metadata pair ('{key}', '{value}'): {what}");
        if key.is_empty() {
            return Err(named("Key cannot be blank"));
        }
        if !key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        {
            return Err(named("Key contains invalid characters"));
        }
        if key.len() > limits.meta_key {
            return Err(named(&format!(
                "Key is too long (limit: {} characters)",
                limits.meta_key
            )));
        }
        if key.starts_with("consul-") {
            return Err(named("Key prefix 'consul-' is reserved for internal use"));
        }
        if value.len() > limits.meta_value {
            return Err(named(&format!(
                "Value is too long (limit: {} characters)",
                limits.meta_value
            )));
        }
    }
    Ok(())
}

fn kind(registration: &ServiceRegistration) -> Result<(), String> {
    match registration.kind.as_str() {
        "" if registration.proxy.is_some() => {
            Err("Proxy can only be set for kind connect-proxy".to_owned())
        }
        "" => Ok(()),
        CONNECT_PROXY => {
            let native = registration
                .connect
                .as_ref()
                .is_some_and(|connect| connect.native);
            if native {
                return Err(
                    "A Proxy cannot also be Connect Native, only typical services".to_owned(),
                );
            }
            let absent = ProxyConfig::default();
            proxy(registration.proxy.as_ref().unwrap_or(&absent))
        }
        other => Err(format!("Kind {other:?} is not served by this registry")),
    }
}

fn proxy(proxy: &ProxyConfig) -> Result<(), String> {
    if proxy.destination_service_name.trim().is_empty() {
        return Err(
            "Proxy.DestinationServiceName must be non-empty for Connect proxy services".to_owned(),
        );
    }
    if proxy.destination_service_name == "*" {
        return Err(
            "Proxy.DestinationServiceName must not be a wildcard for Connect proxy services"
                .to_owned(),
        );
    }
    let (mut names, mut binds) = (BTreeSet::new(), BTreeSet::new());
    for upstream in &proxy.upstreams {
        let name = &upstream.destination_name;
        if !["", "service"].contains(&upstream.destination_type.as_str()) {
            return Err(format!(
                "upstreams of type {:?} are not served by this registry",
                upstream.destination_type
            ));
        }
        if name.is_empty() {
            return Err("upstream destination name cannot be empty".to_owned());
        }
        if name == "*" {
            return Err("upstream destination name cannot be a wildcard".to_owned());
        }
        let namespaced = (
            &upstream.destination_namespace,
            &upstream.destination_partition,
            &upstream.destination_peer,
        );
        if !names.insert((name, namespaced, &upstream.datacenter)) {
            return Err(format!(
                "upstreams cannot contain duplicates of service {name:?}"
            ));
        }
        let bind = match (
            upstream.local_bind_port,
            upstream.local_bind_socket_path.as_str(),
        ) {
            (0, "") => continue,
            (0, path) => path.to_owned(),
            (port, _) if upstream.local_bind_address.is_empty() => format!("127.0.0.1:{port}"),
            (port, _) => format!("{}:{port}", upstream.local_bind_address),
        };
        if !binds.insert(bind.clone()) {
            return Err(format!(
                "upstreams cannot contain duplicates by local bind address and port or unix path; {bind:?} is specified twice"
            ));
        }
    }
    Ok(())
}
