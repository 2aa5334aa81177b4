//! `service-intentions`.

use std::collections::BTreeSet;

use outrigger_consul::config::ServiceIntentions;
use outrigger_consul::config::intentions::{
    HeaderPermission, HttpPermission, IntentionJwt, Permission, SourceIntention,
};

use super::Via;
use super::router::methods;
use crate::intention;

const DESCRIPTION: usize = 512;

pub(super) fn normalize(entry: &mut ServiceIntentions) {
    let destination = entry.name.clone();
    for source in &mut entry.sources {
        if source.r#type.is_empty() {
            source.r#type = "consul".to_owned();
        }
        source.precedence = intention::precedence(&source.name, &destination);
        let https = source
            .permissions
            .iter_mut()
            .filter_map(|permission| permission.http.as_mut());
        for method in https.flat_map(|http| &mut http.methods) {
            *method = method.to_uppercase();
        }
    }
    entry
        .sources
        .sort_by_key(|source| std::cmp::Reverse(source.precedence));
}

pub(super) fn validate(entry: &ServiceIntentions, via: Via) -> Result<(), String> {
    wildcard(&entry.name).map_err(|message| format!("Name: {message}"))?;
    if let Some(jwt) = &entry.jwt {
        self::jwt(jwt)?;
    }
    if entry.sources.is_empty() {
        return Err("At least one source is required".to_owned());
    }
    let mut seen = BTreeSet::new();
    for (position, source) in entry.sources.iter().enumerate() {
        let at = format!("Sources[{position}]");
        self::source(source, entry, via).map_err(|message| format!("{at}{message}"))?;
        if !seen.insert((&source.peer, &source.name)) {
            let peer = if source.peer.is_empty() {
                String::new()
            } else {
                format!("peer({:?}) ", source.peer)
            };
            return Err(format!(
                "{at} defines {peer}{:?} more than once",
                source.name
            ));
        }
    }
    Ok(())
}

fn wildcard(name: &str) -> Result<(), String> {
    if name.contains('*') && name != "*" {
        return Err("wildcard character '*' cannot be used with partial values".to_owned());
    }
    Ok(())
}

/// The message continues `Sources[i]`.
fn source(source: &SourceIntention, entry: &ServiceIntentions, via: Via) -> Result<(), String> {
    if source.name.is_empty() {
        return Err(".Name is required".to_owned());
    }
    wildcard(&source.name).map_err(|message| format!(".Name: {message}"))?;
    for (field, set) in [
        ("Namespace", &source.namespace),
        ("Partition", &source.partition),
        ("SamenessGroup", &source.sameness_group),
    ] {
        if !set.is_empty() && (field == "SamenessGroup" || set != "default") {
            return Err(format!(": Setting {field} requires Consul Enterprise"));
        }
    }
    if source.description.len() > DESCRIPTION {
        return Err(format!(".Description exceeds maximum length {DESCRIPTION}"));
    }
    legacy(source, via)?;
    if source.r#type != "consul" {
        return Err(".Type must be set to 'consul'".to_owned());
    }
    if source.permissions.is_empty() {
        if !["allow", "deny"].contains(&source.action.as_str()) {
            return Err(".Action must be set to 'allow' or 'deny'".to_owned());
        }
        return Ok(());
    }
    if !source.action.is_empty() {
        return Err(".Action must be omitted if Permissions are specified".to_owned());
    }
    if entry.name == "*" {
        return Err(
            ".Permissions cannot be specified on intentions with wildcarded destinations"
                .to_owned(),
        );
    }
    for (position, permission) in source.permissions.iter().enumerate() {
        self::permission(permission)
            .map_err(|message| format!(".Permissions[{position}]{message}"))?;
    }
    Ok(())
}

fn legacy(source: &SourceIntention, via: Via) -> Result<(), String> {
    match via {
        Via::LegacyIntention if source.legacy_id.is_empty() => {
            Err(".LegacyID must be set".to_owned())
        }
        Via::LegacyIntention => Ok(()),
        Via::ConfigEntry => Ok(()),
    }
}

fn permission(permission: &Permission) -> Result<(), String> {
    if !["allow", "deny"].contains(&permission.action.as_str()) {
        return Err(".Action must be set to 'allow' or 'deny'".to_owned());
    }
    if let Some(jwt) = &permission.jwt {
        self::jwt(jwt)?;
    }
    let Some(http) = &permission.http else {
        return Err(".HTTP is required".to_owned());
    };
    self::http(http).map_err(|message| format!(".HTTP{message}"))
}

fn http(http: &HttpPermission) -> Result<(), String> {
    let paths = [&http.path_exact, &http.path_prefix, &http.path_regex];
    let paths = paths.iter().filter(|path| !path.is_empty()).count();
    if paths > 1 {
        return Err(
            " should only contain at most one of PathExact, PathPrefix, or PathRegex".to_owned(),
        );
    }
    if paths == 0 && http.header.is_empty() && http.methods.is_empty() {
        return Err(" should not be empty".to_owned());
    }
    for (field, path) in [
        ("PathExact", &http.path_exact),
        ("PathPrefix", &http.path_prefix),
    ] {
        if !path.is_empty() && !path.starts_with('/') {
            return Err(format!(".{field} doesn't start with '/': {path:?}"));
        }
    }
    for (position, header) in http.header.iter().enumerate() {
        self::header(header).map_err(|message| format!(".Header[{position}] {message}"))?;
    }
    methods(&http.methods).map_err(|message| format!(".Methods {message}"))
}

fn header(header: &HeaderPermission) -> Result<(), String> {
    if header.name.is_empty() {
        return Err("missing required Name field".to_owned());
    }
    let plain = [
        &header.exact,
        &header.prefix,
        &header.suffix,
        &header.contains,
    ];
    let plain = plain.iter().filter(|text| !text.is_empty()).count();
    if usize::from(header.present) + usize::from(!header.regex.is_empty()) + plain != 1 {
        return Err(
            "should only contain one of Present, Exact, Prefix, Suffix, Contains, or Regex"
                .to_owned(),
        );
    }
    if header.ignore_case && plain == 0 {
        return Err(
            "should set one of Exact, Prefix, Suffix, or Contains when using IgnoreCase".to_owned(),
        );
    }
    Ok(())
}

fn jwt(jwt: &IntentionJwt) -> Result<(), String> {
    if jwt
        .providers
        .iter()
        .any(|provider| provider.name.is_empty())
    {
        return Err("JWT provider name is required".to_owned());
    }
    Ok(())
}
