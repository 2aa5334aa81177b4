//! `service-defaults`.

use std::collections::BTreeSet;

use outrigger_consul::config::ServiceDefaults;
use outrigger_consul::config::service_defaults::DestinationConfig;
use outrigger_consul::proxy::EnvoyExtension;

use super::upstream;

const EXTENSIONS: [&str; 6] = [
    "builtin/aws/lambda",
    "builtin/ext-authz",
    "builtin/lua",
    "builtin/property-override",
    "builtin/wasm",
    "builtin/otel-access-logging",
];

pub(super) fn normalize(entry: &mut ServiceDefaults) {
    entry.protocol = entry.protocol.to_lowercase();
    let Some(config) = &mut entry.upstream_config else {
        return;
    };
    config
        .overrides
        .iter_mut()
        .chain(&mut config.defaults)
        .for_each(upstream::normalize);
}

pub(super) fn validate(entry: &ServiceDefaults) -> Result<(), String> {
    if entry.name == "*" {
        return Err(
            "service-defaults name must be the name of a service, and not a wildcard".to_owned(),
        );
    }
    if !["", "tcp", "http", "http2", "grpc"].contains(&entry.protocol.as_str()) {
        return Err(format!("invalid value for protocol: {}", entry.protocol));
    }
    mutual_tls_mode(&entry.mutual_tls_mode)?;
    if !["", "exact_balance"].contains(&entry.balance_inbound_connections.as_str()) {
        return Err(format!(
            "invalid value for balance_inbound_connections: {}",
            entry.balance_inbound_connections
        ));
    }
    if entry.rate_limits.is_some() {
        return Err(
            "invalid rate_limits config. Rate limiting is a consul enterprise feature".to_owned(),
        );
    }
    if entry.max_inbound_connections < 0
        || entry.local_connect_timeout_ms < 0
        || entry.local_request_timeout_ms < 0
    {
        return Err("limits and timeouts cannot be negative".to_owned());
    }
    if let Some(config) = &entry.upstream_config {
        if entry.destination.is_some() {
            return Err("UpstreamConfig and Destination are mutually exclusive".to_owned());
        }
        for upstream in &config.overrides {
            upstream::validate(upstream, true).map_err(|message| {
                format!(
                    "error in upstream override for {:?}: {message}",
                    upstream.name
                )
            })?;
        }
        if let Some(defaults) = &config.defaults {
            upstream::validate(defaults, false)
                .map_err(|message| format!("error in upstream defaults: {message}"))?;
        }
    }
    if let Some(destination) = &entry.destination {
        self::destination(destination)?;
    }
    extensions(&entry.envoy_extensions)
}

pub(super) fn mutual_tls_mode(mode: &str) -> Result<(), String> {
    if ["", "strict", "permissive"].contains(&mode) {
        return Ok(());
    }
    Err(format!(
        "Invalid MutualTLSMode {mode:?}. Must be one of \"\", \"strict\", or \"permissive\"."
    ))
}

pub(super) fn extensions(extensions: &[EnvoyExtension]) -> Result<(), String> {
    for (position, extension) in extensions.iter().enumerate() {
        let message = match extension.name.as_str() {
            "" => "Name is required".to_owned(),
            name if EXTENSIONS.contains(&name) => continue,
            name => format!("name {name:?} is not a built-in extension"),
        };
        return Err(format!("invalid EnvoyExtensions[{position}]: {message}"));
    }
    Ok(())
}

fn destination(destination: &DestinationConfig) -> Result<(), String> {
    if !(1..=65535).contains(&destination.port) {
        return Err(format!("Invalid Port number {}", destination.port));
    }
    if destination.addresses.is_empty() {
        return Err("Destination must contain at least one valid address".to_owned());
    }
    let mut seen = BTreeSet::new();
    for address in &destination.addresses {
        if !seen.insert(address) {
            return Err(format!("Duplicate address '{address}' is not allowed"));
        }
        if !is_address(address) {
            return Err(format!(
                "Could not validate address {address} as an IP or Hostname"
            ));
        }
    }
    Ok(())
}

/// An IP address (Consul takes anything with a colon for IPv6) or a host name without wildcards.
fn is_address(address: &str) -> bool {
    if address.contains(':') {
        return address
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b':');
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    address.len() <= 253 && address.split('.').all(label)
}
