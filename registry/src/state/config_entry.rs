//! Config entry writes: normalise, validate, recompile every chain the change touches, then commit. All of it sees
//! one state.

use std::collections::BTreeSet;
use std::sync::Arc;

use outrigger_consul::chain::ChainOverrides;
use outrigger_consul::config::intentions::IntentionJwt;
use outrigger_consul::config::{ConfigEntry, Kind, ServiceIntentions};

use super::{Change, State};
use crate::chain::{self, Entries, Request, compile, is_http_like, protocol_of};
use crate::config_entry::{Via, normalize, validate};
use crate::error::Refusal;
use crate::store::Decided;

/// Writes an entry. With `cas`, only if its index is that one (0: only if there is none).
pub(crate) fn put(
    state: &State,
    mut entry: ConfigEntry,
    cas: Option<u64>,
    via: Via,
) -> Result<Decided, Refusal> {
    entry.stamp(0, 0, 0);
    normalize(&mut entry).map_err(Refusal::server)?;
    validate(&entry, via).map_err(Refusal::server)?;
    let (kind, name) = (entry.kind(), entry.name().to_owned());
    let old = state.entry(kind, &name);
    if !super::kv::matches(old.map(|old| old.modify_index()), cas) {
        return Ok(Decided::refused());
    }
    if old.is_some_and(|old| same(old, &entry)) {
        return Ok(Decided::done(Vec::new()));
    }
    let mut entries = Entries::clone(&state.config);
    entries.insert((kind, name.clone()), Arc::new(entry.clone()));
    permissive(&state.config, &entries, kind, &name).map_err(Refusal::server)?;
    fits(&entries, kind, &name).map_err(Refusal::server)?;
    Ok(Decided::done(vec![Change::PutConfig(entry)]))
}

/// Deletes an entry, if the rest still holds together without it.
pub(crate) fn delete(
    state: &State,
    kind: Kind,
    name: &str,
    cas: Option<u64>,
) -> Result<Decided, Refusal> {
    let Some(old) = state.entry(kind, name) else {
        return Ok(Decided::done(Vec::new()));
    };
    if cas.is_some_and(|cas| cas != old.modify_index()) {
        return Ok(Decided::refused());
    }
    let mut entries = Entries::clone(&state.config);
    entries.remove(&(kind, name.to_owned()));
    if kind == Kind::JwtProvider {
        provider_unused(&entries, name).map_err(Refusal::server)?;
    }
    fits(&entries, kind, name).map_err(Refusal::server)?;
    Ok(Decided::done(vec![Change::DeleteConfig(
        kind,
        name.to_owned(),
    )]))
}

fn same(old: &ConfigEntry, new: &ConfigEntry) -> bool {
    let mut old = old.clone();
    old.stamp(0, 0, 0);
    old == *new
}

/// Whether everything that depends on an entry still holds together.
fn fits(entries: &Entries, kind: Kind, name: &str) -> Result<(), String> {
    chains_compile(entries, kind, name)?;
    l7_needs_http(entries)?;
    if kind == Kind::ServiceIntentions {
        providers_exist(entries, name)?;
    }
    Ok(())
}

fn chains_compile(entries: &Entries, kind: Kind, name: &str) -> Result<(), String> {
    let chained = [
        Kind::ProxyDefaults,
        Kind::ServiceDefaults,
        Kind::ServiceRouter,
        Kind::ServiceSplitter,
        Kind::ServiceResolver,
    ];
    if !chained.contains(&kind) {
        return Ok(());
    }
    let named = entries
        .keys()
        .filter(|(kind, _)| chained[1..].contains(kind))
        .map(|(_, name)| name.as_str());
    let mut services = named.collect::<BTreeSet<_>>();
    if kind != Kind::ProxyDefaults {
        services.insert(name);
    }
    let touched = (kind, name.to_owned());
    let overrides = ChainOverrides::default();
    for service in services {
        let request = Request {
            service,
            datacenter: "dc1",
            trust_domain: "b6fc9da3-03d4-4b5a-9134-c045e9b20152.consul",
            overrides: &overrides,
        };
        if let Err(failed) = compile(entries, request) {
            // A chain that does not read this entry is none of its business.
            if failed.consulted.contains(&touched) {
                return Err(failed.error.to_string());
            }
        }
    }
    Ok(())
}

fn intentions(entries: &Entries) -> impl Iterator<Item = &ServiceIntentions> {
    let from = (Kind::ServiceIntentions, String::new());
    let all = entries
        .range(from..)
        .take_while(|((kind, _), _)| *kind == Kind::ServiceIntentions);
    all.filter_map(|(_, entry)| match &**entry {
        ConfigEntry::ServiceIntentions(entry) => Some(&**entry),
        _ => None,
    })
}

fn l7_needs_http(entries: &Entries) -> Result<(), String> {
    for entry in intentions(entries).filter(|entry| entry.name != "*") {
        let l7 = entry
            .sources
            .iter()
            .any(|source| !source.permissions.is_empty());
        let protocol = protocol_of(entries, &entry.name);
        if l7 && !is_http_like(&protocol) {
            let name = &entry.name;
            return Err(format!(
                "service {name:?} has protocol {protocol:?}, which is incompatible with L7 intentions permissions"
            ));
        }
    }
    Ok(())
}

fn providers(entry: &ServiceIntentions) -> impl Iterator<Item = &str> {
    let permissions = entry.sources.iter().flat_map(|source| &source.permissions);
    let jwts = entry
        .jwt
        .iter()
        .chain(permissions.filter_map(|permission| permission.jwt.as_ref()));
    jwts.flat_map(|jwt: &IntentionJwt| jwt.providers.iter().map(|provider| provider.name.as_str()))
}

fn providers_exist(entries: &Entries, name: &str) -> Result<(), String> {
    let Some(entry) = intentions(entries).find(|entry| entry.name == name) else {
        return Ok(());
    };
    for provider in providers(entry) {
        if !entries.contains_key(&(Kind::JwtProvider, provider.to_owned())) {
            return Err(format!(
                "Referenced JWT Provider does not exist. Provider Name: {provider}"
            ));
        }
    }
    Ok(())
}

/// A provider that an intention names cannot be deleted.
pub(crate) fn provider_unused(entries: &Entries, provider: &str) -> Result<(), String> {
    match intentions(entries).find(|entry| providers(entry).any(|name| name == provider)) {
        None => Ok(()),
        Some(entry) => Err(format!(
            "cannot delete jwt provider config entry referenced by an intention. Provider name: {provider}, intention name: {}",
            entry.name
        )),
    }
}

/// Becoming permissive must be allowed by the mesh; staying so is fine.
fn permissive(before: &Entries, after: &Entries, kind: Kind, name: &str) -> Result<(), String> {
    let is_permissive = |entries: &Entries| {
        let entry = entries.get(&(kind, name.to_owned())).map(Arc::as_ref);
        match entry {
            Some(ConfigEntry::ServiceDefaults(entry)) => entry.mutual_tls_mode == "permissive",
            Some(ConfigEntry::ProxyDefaults(entry)) => entry.mutual_tls_mode == "permissive",
            _ => false,
        }
    };
    let mesh = after.get(&(Kind::Mesh, "mesh".to_owned())).map(Arc::as_ref);
    let allowed =
        matches!(mesh, Some(ConfigEntry::Mesh(mesh)) if mesh.allow_enabling_permissive_mutual_tls);
    if is_permissive(after) && !is_permissive(before) && !allowed {
        return Err(
            "cannot set MutualTLSMode=permissive because AllowEnablingPermissiveMutualTLS=false in the mesh config entry"
                .to_owned(),
        );
    }
    Ok(())
}

/// Every config entry that a chain reads.
pub(crate) fn chain_of(
    state: &State,
    request: Request<'_>,
) -> Result<chain::Compiled, Box<chain::Failed>> {
    compile(&state.config, request)
}
