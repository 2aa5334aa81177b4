//! Config entries: one type a kind, and the enum of all of them.

pub mod intentions;
pub mod jwt_provider;
pub mod mesh;
pub mod proxy_defaults;
pub mod resolver;
pub mod router;
pub mod service_defaults;
pub mod splitter;

use serde::{Deserialize, Serialize};

pub use intentions::ServiceIntentions;
pub use jwt_provider::JwtProvider;
pub use mesh::Mesh;
pub use proxy_defaults::ProxyDefaults;
pub use resolver::ServiceResolver;
pub use router::ServiceRouter;
pub use service_defaults::ServiceDefaults;
pub use splitter::ServiceSplitter;

/// The kinds that exist here. Gateways, exports and sameness groups are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    #[serde(rename = "proxy-defaults")]
    ProxyDefaults,
    #[serde(rename = "service-defaults")]
    ServiceDefaults,
    #[serde(rename = "service-resolver")]
    ServiceResolver,
    #[serde(rename = "service-splitter")]
    ServiceSplitter,
    #[serde(rename = "service-router")]
    ServiceRouter,
    #[serde(rename = "service-intentions")]
    ServiceIntentions,
    #[serde(rename = "jwt-provider")]
    JwtProvider,
    #[serde(rename = "mesh")]
    Mesh,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::ProxyDefaults,
        Self::ServiceDefaults,
        Self::ServiceResolver,
        Self::ServiceSplitter,
        Self::ServiceRouter,
        Self::ServiceIntentions,
        Self::JwtProvider,
        Self::Mesh,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProxyDefaults => "proxy-defaults",
            Self::ServiceDefaults => "service-defaults",
            Self::ServiceResolver => "service-resolver",
            Self::ServiceSplitter => "service-splitter",
            Self::ServiceRouter => "service-router",
            Self::ServiceIntentions => "service-intentions",
            Self::JwtProvider => "jwt-provider",
            Self::Mesh => "mesh",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Any config entry; `Kind` in its JSON picks the type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "Kind")]
pub enum ConfigEntry {
    #[serde(rename = "proxy-defaults")]
    ProxyDefaults(Box<ProxyDefaults>),
    #[serde(rename = "service-defaults")]
    ServiceDefaults(Box<ServiceDefaults>),
    #[serde(rename = "service-resolver")]
    ServiceResolver(Box<ServiceResolver>),
    #[serde(rename = "service-splitter")]
    ServiceSplitter(Box<ServiceSplitter>),
    #[serde(rename = "service-router")]
    ServiceRouter(Box<ServiceRouter>),
    #[serde(rename = "service-intentions")]
    ServiceIntentions(Box<ServiceIntentions>),
    #[serde(rename = "jwt-provider")]
    JwtProvider(Box<JwtProvider>),
    #[serde(rename = "mesh")]
    Mesh(Box<Mesh>),
}

macro_rules! each {
    ($entry:expr, $inner:ident => $body:expr) => {
        match $entry {
            ConfigEntry::ProxyDefaults($inner) => $body,
            ConfigEntry::ServiceDefaults($inner) => $body,
            ConfigEntry::ServiceResolver($inner) => $body,
            ConfigEntry::ServiceSplitter($inner) => $body,
            ConfigEntry::ServiceRouter($inner) => $body,
            ConfigEntry::ServiceIntentions($inner) => $body,
            ConfigEntry::JwtProvider($inner) => $body,
            ConfigEntry::Mesh($inner) => $body,
        }
    };
}

impl ConfigEntry {
    pub const fn kind(&self) -> Kind {
        match self {
            Self::ProxyDefaults(_) => Kind::ProxyDefaults,
            Self::ServiceDefaults(_) => Kind::ServiceDefaults,
            Self::ServiceResolver(_) => Kind::ServiceResolver,
            Self::ServiceSplitter(_) => Kind::ServiceSplitter,
            Self::ServiceRouter(_) => Kind::ServiceRouter,
            Self::ServiceIntentions(_) => Kind::ServiceIntentions,
            Self::JwtProvider(_) => Kind::JwtProvider,
            Self::Mesh(_) => Kind::Mesh,
        }
    }

    /// The entry's name; `mesh` has none of its own on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::Mesh(_) => "mesh",
            Self::ProxyDefaults(entry) => &entry.name,
            Self::ServiceDefaults(entry) => &entry.name,
            Self::ServiceResolver(entry) => &entry.name,
            Self::ServiceSplitter(entry) => &entry.name,
            Self::ServiceRouter(entry) => &entry.name,
            Self::ServiceIntentions(entry) => &entry.name,
            Self::JwtProvider(entry) => &entry.name,
        }
    }

    pub fn modify_index(&self) -> u64 {
        each!(self, entry => entry.modify_index)
    }

    pub fn create_index(&self) -> u64 {
        each!(self, entry => entry.create_index)
    }

    pub fn meta(&self) -> &std::collections::BTreeMap<String, String> {
        each!(self, entry => &entry.meta)
    }

    /// Sets what the server owns.
    pub fn stamp(&mut self, create_index: u64, modify_index: u64, hash: u64) {
        each!(self, entry => {
            entry.create_index = create_index;
            entry.modify_index = modify_index;
            entry.hash = hash;
        });
    }
}
