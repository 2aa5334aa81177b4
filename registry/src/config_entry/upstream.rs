//! One upstream's settings, typed and as the opaque map a registration carries.

use outrigger_consul::Opaque;
use outrigger_consul::config::service_defaults::{
    PassiveHealthCheck, UpstreamConfig, UpstreamLimits,
};
use outrigger_consul::duration;
use serde_json::{Map, Value};

const CONNECT_TIMEOUT_MS: i64 = 5000;
const METRICS_SOCKET_DIR: &str = "envoy_hcp_metrics_bind_socket_dir";

pub(super) fn normalize(config: &mut UpstreamConfig) {
    config.protocol = config.protocol.to_lowercase();
    config.connect_timeout_ms = config.connect_timeout_ms.max(0);
}

pub(super) fn validate(config: &UpstreamConfig, named: bool) -> Result<(), String> {
    match (named, config.name.as_str()) {
        (true, "") => return Err("Name is required".to_owned()),
        (true, "*") => return Err("Wildcard name is not supported".to_owned()),
        (false, name) if !name.is_empty() => return Err("Name must be empty".to_owned()),
        _ => {}
    }
    if !["", "exact_balance"].contains(&config.balance_outbound_connections.as_str()) {
        return Err(format!(
            "invalid value for balance_outbound_connections: {}",
            config.balance_outbound_connections
        ));
    }
    if let Some(limits) = &config.limits {
        validate_limits(limits).map_err(|message| format!("error validating limits: {message}"))?;
    }
    if let Some(check) = &config.passive_health_check {
        validate_passive(check)
            .map_err(|message| format!("error validating passive health check: {message}"))?;
    }
    Ok(())
}

pub fn validate_limits(limits: &UpstreamLimits) -> Result<(), String> {
    for (name, limit) in [
        ("max connections", limits.max_connections),
        ("max pending requests", limits.max_pending_requests),
        ("max concurrent requests", limits.max_concurrent_requests),
    ] {
        if limit.is_some_and(|limit| limit < 0) {
            return Err(format!("{name} cannot be negative"));
        }
    }
    Ok(())
}

pub fn validate_passive(check: &PassiveHealthCheck) -> Result<(), String> {
    if check.interval.0 < 0 {
        return Err("passive health check interval cannot be negative".to_owned());
    }
    for (name, percent) in [
        ("enforcing_consecutive_5xx", check.enforcing_consecutive_5xx),
        ("max_ejection_percent", check.max_ejection_percent),
    ] {
        if percent.is_some_and(|percent| !(0..=100).contains(&percent)) {
            return Err(format!(
                "passive health check {name} must be a percentage between 0 and 100"
            ));
        }
    }
    if check.base_ejection_time.is_some_and(|time| time.0 < 0) {
        return Err("passive health check base_ejection_time cannot be negative".to_owned());
    }
    Ok(())
}

pub fn validate_opaque(config: &Opaque) -> Result<(), String> {
    let dir = config
        .get(METRICS_SOCKET_DIR)
        .and_then(Value::as_str)
        .unwrap_or_default();
    if dir.len() > 70 {
        return Err(format!(
            "{METRICS_SOCKET_DIR} length {} exceeds max 70",
            dir.len()
        ));
    }
    Ok(())
}

/// Writes what is set into an opaque map; limits and the passive health check are replaced whole.
pub fn merge_into(config: &UpstreamConfig, target: &mut Opaque) {
    let mut text = |key: &str, value: &str| {
        if !value.is_empty() {
            target.insert(key.to_owned(), Value::from(value));
        }
    };
    text("envoy_listener_json", &config.envoy_listener_json);
    text("envoy_cluster_json", &config.envoy_cluster_json);
    text("protocol", &config.protocol);
    text(
        "balance_outbound_connections",
        &config.balance_outbound_connections,
    );
    if config.connect_timeout_ms != 0 {
        target.insert(
            "connect_timeout_ms".to_owned(),
            Value::from(config.connect_timeout_ms),
        );
    }
    if !config.mesh_gateway.mode.is_empty() {
        target.insert("mesh_gateway".to_owned(), json(&config.mesh_gateway));
    }
    if let Some(limits) = &config.limits {
        target.insert("limits".to_owned(), json(limits));
    }
    if let Some(check) = &config.passive_health_check {
        target.insert("passive_health_check".to_owned(), json(check));
    }
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Reads an opaque map, with the defaults of what is missing. Both spellings and number forms are taken.
pub fn parse(config: &Opaque) -> Result<UpstreamConfig, String> {
    let text = |key: &str| {
        field(config, key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let timeout = number(config, "connect_timeout_ms")?.filter(|timeout| *timeout >= 1);
    let protocol = text("protocol").to_lowercase();
    let mut parsed = UpstreamConfig {
        envoy_listener_json: text("envoy_listener_json"),
        envoy_cluster_json: text("envoy_cluster_json"),
        protocol: if protocol.is_empty() {
            "tcp".to_owned()
        } else {
            protocol
        },
        connect_timeout_ms: timeout.unwrap_or(CONNECT_TIMEOUT_MS),
        balance_outbound_connections: text("balance_outbound_connections"),
        ..UpstreamConfig::default()
    };
    if let Some(limits) = field(config, "limits").and_then(Value::as_object) {
        let set = |key: &str| Ok::<_, String>(number(limits, key)?.filter(|limit| *limit != 0));
        parsed.limits = Some(UpstreamLimits {
            max_connections: set("max_connections")?,
            max_pending_requests: set("max_pending_requests")?,
            max_concurrent_requests: set("max_concurrent_requests")?,
        });
    }
    if let Some(check) = field(config, "passive_health_check").and_then(Value::as_object) {
        parsed.passive_health_check = Some(PassiveHealthCheck {
            interval: outrigger_consul::Nanos(nanos(check, "interval")?.unwrap_or_default()),
            max_failures: number(check, "max_failures")?.unwrap_or_default(),
            enforcing_consecutive_5xx: number(check, "enforcing_consecutive_5xx")?,
            max_ejection_percent: number(check, "max_ejection_percent")?,
            base_ejection_time: nanos(check, "base_ejection_time")?.map(outrigger_consul::Nanos),
        });
    }
    let mode = field(config, "mesh_gateway").and_then(|gateway| gateway.as_object());
    let mode = mode
        .and_then(|gateway| field(gateway, "mode"))
        .and_then(Value::as_str);
    mode.unwrap_or_default()
        .clone_into(&mut parsed.mesh_gateway.mode);
    Ok(parsed)
}

/// A member by its snake_case name, or by the CamelCase form config entries leave behind.
fn field<'a>(map: &'a Map<String, Value>, snake: &str) -> Option<&'a Value> {
    let bare = snake.replace('_', "");
    map.get(snake).or_else(|| {
        map.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(&bare))
            .map(|(_, value)| value)
    })
}

fn number(map: &Map<String, Value>, key: &str) -> Result<Option<i64>, String> {
    let wrong = || format!("{key} is not a number");
    match field(map, key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong()),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float from a JSON library; fractions mean nothing here"
        )]
        Some(Value::Number(number)) => number
            .as_i64()
            .or_else(|| number.as_f64().map(|float| float as i64))
            .map(Some)
            .ok_or_else(wrong),
        Some(_) => Err(wrong()),
    }
}

fn nanos(map: &Map<String, Value>, key: &str) -> Result<Option<i64>, String> {
    match field(map, key) {
        Some(Value::String(text)) => duration::parse(text)
            .map(Some)
            .ok_or_else(|| format!("{key} is not a duration")),
        _ => number(map, key),
    }
}
