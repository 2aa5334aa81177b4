//! Config entries: decode (strictly), normalise, validate. Pure; what other entries say about it is checked on write.

pub mod decode;
mod intentions;
mod jwt_provider;
pub mod merge;
mod mesh;
mod proxy_defaults;
mod resolver;
mod router;
mod service_defaults;
pub mod splitter;
pub mod upstream;

use outrigger_consul::config::ConfigEntry;

/// Brings an entry into the form it is stored in.
pub fn normalize(entry: &mut ConfigEntry) -> Result<(), String> {
    match entry {
        ConfigEntry::ProxyDefaults(entry) => return proxy_defaults::normalize(entry),
        ConfigEntry::ServiceDefaults(entry) => service_defaults::normalize(entry),
        ConfigEntry::ServiceSplitter(entry) => splitter::normalize(entry),
        ConfigEntry::ServiceRouter(entry) => router::normalize(entry),
        ConfigEntry::ServiceIntentions(entry) => intentions::normalize(entry),
        ConfigEntry::JwtProvider(entry) => jwt_provider::normalize(entry),
        ConfigEntry::ServiceResolver(_) | ConfigEntry::Mesh(_) => {}
    }
    Ok(())
}

/// Which endpoint an intention is written through; the deprecated one allows and demands other fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    ConfigEntry,
    LegacyIntention,
}

/// Checks a normalised entry by itself. The messages are Consul's.
pub fn validate(entry: &ConfigEntry, via: Via) -> Result<(), String> {
    if entry.name().is_empty() {
        return Err("Name is required".to_owned());
    }
    match entry {
        ConfigEntry::ProxyDefaults(entry) => proxy_defaults::validate(entry),
        ConfigEntry::ServiceDefaults(entry) => service_defaults::validate(entry),
        ConfigEntry::ServiceResolver(entry) => resolver::validate(entry),
        ConfigEntry::ServiceSplitter(entry) => splitter::validate(entry),
        ConfigEntry::ServiceRouter(entry) => router::validate(entry),
        ConfigEntry::ServiceIntentions(entry) => intentions::validate(entry, via),
        ConfigEntry::JwtProvider(entry) => jwt_provider::validate(entry),
        ConfigEntry::Mesh(entry) => mesh::validate(entry),
    }
}
