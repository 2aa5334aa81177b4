//! Central configuration folded into a sidecar's registration: first what the entries say about the service
//! (`resolve`), then the registration over it (`fold`).

use std::collections::{BTreeMap, BTreeSet};

use outrigger_consul::Opaque;
use outrigger_consul::config::service_defaults::{DestinationConfig, UpstreamConfig};
use outrigger_consul::config::{ConfigEntry, Kind, ProxyDefaults, ServiceDefaults};
use outrigger_consul::proxy::{
    AccessLogs, EnvoyExtension, Expose, MeshGateway, TransparentProxy, Upstream,
};
use outrigger_consul::service::{CONNECT_PROXY, Service};
use serde_json::Value;

use super::upstream::{self, json};
use crate::chain::Entries;

/// The upstream that stands for all that are not named.
const WILDCARD: &str = "*";
const TRANSPARENT: &str = "transparent";

/// What is asked about a service: what its proxy registered.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub service: String,
    pub mode: String,
    pub mesh_gateway: MeshGateway,
    pub upstreams: Vec<String>,
}

/// What the config entries say about a service.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    pub proxy_config: Opaque,
    pub mode: String,
    pub transparent_proxy: TransparentProxy,
    pub mutual_tls_mode: String,
    pub mesh_gateway: MeshGateway,
    pub expose: Expose,
    pub envoy_extensions: Vec<EnvoyExtension>,
    pub access_logs: AccessLogs,
    pub destination: Option<DestinationConfig>,
    pub meta: BTreeMap<String, String>,
    pub upstreams: BTreeMap<String, Opaque>,
}

/// An instance with the central configuration folded in, and every entry that was consulted.
pub fn service(entries: &Entries, service: &Service) -> (Service, BTreeSet<(Kind, String)>) {
    let Some(proxy) = service
        .proxy
        .as_ref()
        .filter(|_| service.kind == CONNECT_PROXY)
    else {
        return (service.clone(), BTreeSet::new());
    };
    let question = Question {
        service: proxy.destination_service_name.clone(),
        mode: proxy.mode.clone(),
        mesh_gateway: proxy.mesh_gateway.clone(),
        upstreams: proxy
            .upstreams
            .iter()
            .map(|upstream| upstream.destination_name.clone())
            .collect(),
    };
    let (resolved, consulted) = resolve(entries, &question);
    (fold(&resolved, service), consulted)
}

fn proxy_defaults(entries: &Entries) -> Option<&ProxyDefaults> {
    match entries
        .get(&(Kind::ProxyDefaults, "global".to_owned()))
        .map(AsRef::as_ref)
    {
        Some(ConfigEntry::ProxyDefaults(entry)) => Some(entry),
        _ => None,
    }
}

fn service_defaults<'a>(entries: &'a Entries, name: &str) -> Option<&'a ServiceDefaults> {
    match entries
        .get(&(Kind::ServiceDefaults, name.to_owned()))
        .map(AsRef::as_ref)
    {
        Some(ConfigEntry::ServiceDefaults(entry)) => Some(entry),
        _ => None,
    }
}

/// Step A: what the entries say.
pub fn resolve(entries: &Entries, question: &Question) -> (Resolved, BTreeSet<(Kind, String)>) {
    let mut consulted = BTreeSet::from([
        (Kind::ProxyDefaults, "global".to_owned()),
        (Kind::ServiceDefaults, question.service.clone()),
    ]);
    let mut resolved = Resolved::default();
    let mut wildcard = Opaque::new();
    let mut global_protocol = None;
    if let Some(global) = proxy_defaults(entries) {
        take_global(&mut resolved, global);
        global_protocol = global
            .config
            .get("protocol")
            .and_then(Value::as_str)
            .map(str::to_owned);
        set_gateway(&mut wildcard, &global.mesh_gateway);
    }
    let own = service_defaults(entries, &question.service);
    if let Some(own) = own {
        take_own(&mut resolved, own);
        set_gateway(&mut wildcard, &own.mesh_gateway);
    }
    if question.upstreams.is_empty() && question.mode != TRANSPARENT && resolved.mode != TRANSPARENT
    {
        return (resolved, consulted);
    }
    let config = own.and_then(|own| own.upstream_config.as_ref());
    let defaults = config
        .and_then(|config| config.defaults.as_ref())
        .map(|defaults| {
            let mut defaults = defaults.clone();
            if defaults.mesh_gateway.mode.is_empty() {
                defaults.mesh_gateway = resolved.mesh_gateway.clone();
            }
            defaults
        });
    if let Some(defaults) = &defaults {
        upstream::merge_into(defaults, &mut wildcard);
    }
    set_gateway(&mut wildcard, &question.mesh_gateway);
    let overrides = config
        .map(|config| config.overrides.as_slice())
        .unwrap_or_default();
    let named = overrides.iter().map(|one| one.name.clone());
    let names = question
        .upstreams
        .iter()
        .cloned()
        .chain(named)
        .filter(|name| name != WILDCARD);
    for name in names.collect::<BTreeSet<_>>() {
        consulted.insert((Kind::ServiceDefaults, name.clone()));
        let mut settings = Opaque::new();
        if let Some(protocol) = &global_protocol {
            settings.insert("protocol".to_owned(), Value::from(protocol.as_str()));
        }
        settings.extend(wildcard.clone());
        let theirs = service_defaults(entries, &name).map(|theirs| theirs.protocol.as_str());
        if let Some(protocol) = theirs.filter(|protocol| !protocol.is_empty()) {
            settings.insert("protocol".to_owned(), Value::from(protocol));
        }
        set_gateway(&mut settings, &resolved.mesh_gateway);
        if let Some(defaults) = &defaults {
            upstream::merge_into(defaults, &mut settings);
        }
        set_gateway(&mut settings, &question.mesh_gateway);
        let own: Option<&UpstreamConfig> = overrides.iter().find(|one| one.name == name);
        if let Some(own) = own {
            upstream::merge_into(own, &mut settings);
        }
        if !settings.is_empty() {
            resolved.upstreams.insert(name, settings);
        }
    }
    if !wildcard.is_empty() {
        resolved.upstreams.insert(WILDCARD.to_owned(), wildcard);
    }
    (resolved, consulted)
}

fn set_gateway(settings: &mut Opaque, gateway: &MeshGateway) {
    if !gateway.mode.is_empty() {
        settings.insert("mesh_gateway".to_owned(), json(gateway));
    }
}

fn take_global(resolved: &mut Resolved, global: &ProxyDefaults) {
    resolved.proxy_config = global.config.clone();
    resolved.mode.clone_from(&global.mode);
    resolved.transparent_proxy = global.transparent_proxy.clone();
    resolved.mutual_tls_mode.clone_from(&global.mutual_tls_mode);
    resolved.mesh_gateway = global.mesh_gateway.clone();
    resolved.expose = global.expose.clone();
    resolved
        .envoy_extensions
        .clone_from(&global.envoy_extensions);
    resolved.access_logs = global.access_logs.clone();
}

fn take_own(resolved: &mut Resolved, own: &ServiceDefaults) {
    resolved.expose.checks |= own.expose.checks;
    if !own.expose.paths.is_empty() {
        resolved.expose.paths.clone_from(&own.expose.paths);
    }
    if !own.mesh_gateway.mode.is_empty() {
        resolved.mesh_gateway = own.mesh_gateway.clone();
    }
    fill_tproxy(
        &mut resolved.transparent_proxy,
        &own.transparent_proxy,
        Wins::Second,
    );
    for (target, value) in [
        (&mut resolved.mode, &own.mode),
        (&mut resolved.mutual_tls_mode, &own.mutual_tls_mode),
    ] {
        if !value.is_empty() {
            target.clone_from(value);
        }
    }
    resolved.destination.clone_from(&own.destination);
    resolved.meta.clone_from(&own.meta);
    resolved
        .envoy_extensions
        .extend(own.envoy_extensions.iter().cloned());
    let config = &mut resolved.proxy_config;
    for (key, text) in [
        ("protocol", &own.protocol),
        (
            "balance_inbound_connections",
            &own.balance_inbound_connections,
        ),
    ] {
        if !text.is_empty() {
            config.insert(key.to_owned(), Value::from(text.as_str()));
        }
    }
    for (key, number) in [
        ("max_inbound_connections", own.max_inbound_connections),
        ("local_connect_timeout_ms", own.local_connect_timeout_ms),
        ("local_request_timeout_ms", own.local_request_timeout_ms),
    ] {
        if number != 0 {
            config.insert(key.to_owned(), Value::from(number));
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Wins {
    First,
    Second,
}

fn fill_tproxy(first: &mut TransparentProxy, second: &TransparentProxy, wins: Wins) {
    if second.outbound_listener_port != 0
        && (wins == Wins::Second || first.outbound_listener_port == 0)
    {
        first.outbound_listener_port = second.outbound_listener_port;
    }
    first.dialed_directly |= second.dialed_directly;
}

/// Step B: the registration over what the entries say.
pub fn fold(resolved: &Resolved, service: &Service) -> Service {
    let mut merged = service.clone();
    let proxy = merged.proxy.get_or_insert_default();
    fill(&mut proxy.config, &resolved.proxy_config);
    proxy.expose.checks |= resolved.expose.checks;
    if proxy.expose.paths.is_empty() {
        proxy.expose.paths.clone_from(&resolved.expose.paths);
    }
    if proxy.access_logs.is_none() && resolved.access_logs != AccessLogs::default() {
        proxy.access_logs = Some(resolved.access_logs.clone());
    }
    if proxy.mesh_gateway.mode.is_empty() {
        proxy.mesh_gateway = resolved.mesh_gateway.clone();
    }
    for (target, value) in [
        (&mut proxy.mode, &resolved.mode),
        (&mut proxy.mutual_tls_mode, &resolved.mutual_tls_mode),
    ] {
        if target.is_empty() {
            target.clone_from(value);
        }
    }
    fill_tproxy(
        &mut proxy.transparent_proxy,
        &resolved.transparent_proxy,
        Wins::First,
    );
    if !resolved.envoy_extensions.is_empty() {
        proxy
            .envoy_extensions
            .clone_from(&resolved.envoy_extensions);
    }
    let mut registered = BTreeSet::new();
    for upstream in &mut proxy.upstreams {
        registered.insert(upstream.destination_name.clone());
        let central = resolved.upstreams.get(&upstream.destination_name);
        let central = central.or_else(|| resolved.upstreams.get(WILDCARD));
        if let Some(central) = central {
            fold_upstream(upstream, central);
        }
    }
    if proxy.mode == TRANSPARENT {
        let unregistered = resolved
            .upstreams
            .iter()
            .filter(|(name, _)| !registered.contains(*name));
        let appended = unregistered.map(|(name, central)| {
            let mut upstream = Upstream {
                destination_name: name.clone(),
                destination_type: "service".to_owned(),
                destination_namespace: "default".to_owned(),
                destination_partition: "default".to_owned(),
                centrally_configured: true,
                ..Upstream::default()
            };
            fold_upstream(&mut upstream, central);
            upstream
        });
        proxy.upstreams.extend(appended.collect::<Vec<_>>());
    }
    merged
}

/// The mesh gateway is a field of its own on an upstream; the rest fills the map. A peer's protocol is the peer's.
fn fold_upstream(upstream: &mut Upstream, central: &Opaque) {
    let mut central = central.clone();
    let gateway = central.remove("mesh_gateway");
    let mode = gateway
        .as_ref()
        .and_then(|gateway| gateway.get("Mode"))
        .and_then(Value::as_str);
    if upstream.mesh_gateway.mode.is_empty() {
        mode.unwrap_or_default()
            .clone_into(&mut upstream.mesh_gateway.mode);
    }
    if !upstream.destination_peer.is_empty() {
        central.remove("protocol");
    }
    fill(&mut upstream.config, &central);
}

fn fill(own: &mut Opaque, central: &Opaque) {
    for (key, value) in central {
        if !own.contains_key(key) {
            own.insert(key.clone(), value.clone());
        }
    }
}
