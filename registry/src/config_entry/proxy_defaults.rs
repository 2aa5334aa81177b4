//! `proxy-defaults`.

use outrigger_consul::config::ProxyDefaults;
use outrigger_consul::proxy::AccessLogs;

use super::service_defaults::{extensions, mutual_tls_mode};
use super::upstream;

pub(super) fn normalize(entry: &mut ProxyDefaults) -> Result<(), String> {
    if entry.name.is_empty() {
        entry.name = "global".to_owned();
    }
    if entry.name != "global" {
        return Err(format!(
            "invalid name ({:?}), only \"global\" is supported",
            entry.name
        ));
    }
    Ok(())
}

pub(super) fn validate(entry: &ProxyDefaults) -> Result<(), String> {
    upstream::validate_opaque(&entry.config).map_err(|message| format!("Config: {message}"))?;
    mutual_tls_mode(&entry.mutual_tls_mode)?;
    access_logs(&entry.access_logs)?;
    extensions(&entry.envoy_extensions)?;
    if entry.prioritize_by_locality.is_some() {
        return Err("Prioritize-by-locality requires Consul Enterprise".to_owned());
    }
    let mode = entry
        .failover_policy
        .as_ref()
        .map_or("", |policy| policy.mode.as_str());
    if !["", "sequential", "order-by-locality"].contains(&mode) {
        return Err(
            "Failover-policy mode must be one of '', 'sequential', or 'order-by-locality'"
                .to_owned(),
        );
    }
    Ok(())
}

fn access_logs(logs: &AccessLogs) -> Result<(), String> {
    if !["", "file", "stderr", "stdout"].contains(&logs.r#type.as_str()) {
        return Err(format!("invalid access log type: {}", logs.r#type));
    }
    let file = logs.r#type == "file";
    if !logs.json_format.is_empty() && !logs.text_format.is_empty() {
        return Err("cannot specify both access log JSONFormat and TextFormat".to_owned());
    }
    if !file && !logs.path.is_empty() {
        return Err("path is only valid for file type access logs".to_owned());
    }
    if file && logs.path.is_empty() {
        return Err("path must be specified when using file type access logs".to_owned());
    }
    if !logs.json_format.is_empty()
        && serde_json::from_str::<serde_json::Value>(&logs.json_format).is_err()
    {
        return Err("invalid access log json for JSON format".to_owned());
    }
    Ok(())
}
