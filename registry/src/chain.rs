//! The discovery chain compiler: config entries in, the graph a sidecar walks out. Pure.
//!
//! Build the nodes from the start (`build`), refuse cycles, flatten splitters into splitters, drop what cannot be
//! reached, then apply the overrides.

mod build;
mod flatten;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outrigger_consul::chain::{ChainNode, ChainOverrides, CompiledChain, Target};
use outrigger_consul::config::{
    ConfigEntry, Kind, ProxyDefaults, ServiceDefaults, ServiceResolver, ServiceRouter,
    ServiceSplitter,
};
use sha2::{Digest as _, Sha256};

pub use flatten::merge_parent;

/// All config entries, by kind and name.
pub type Entries = BTreeMap<(Kind, String), Arc<ConfigEntry>>;

/// What a chain is compiled for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub service: &'a str,
    pub datacenter: &'a str,
    pub trust_domain: &'a str,
    pub overrides: &'a ChainOverrides,
}

/// A chain, and every entry it depends on, those that do not exist included.
#[derive(Debug)]
pub struct Compiled {
    pub chain: CompiledChain,
    pub consulted: BTreeSet<(Kind, String)>,
}

/// Why no chain comes out. The texts are Consul's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "discovery chain {chain:?} uses inconsistent protocols; service {service:?} has {protocol:?} which is not {expected:?}"
    )]
    InconsistentProtocols {
        chain: String,
        service: String,
        protocol: String,
        expected: String,
    },
    #[error(
        "discovery chain {chain:?} uses a protocol {protocol:?} that does not permit advanced routing or splitting behavior"
    )]
    NotSplittable { chain: String, protocol: String },
    #[error("detected circular resolver redirect: [{0}]")]
    CircularRedirect(String),
    #[error("detected circular reference: [{0}]")]
    CircularReference(String),
    #[error("service {service:?} does not have a subset named {subset:?}")]
    MissingSubset { service: String, subset: String },
    #[error(
        "service {service:?} has an external SNI set; cannot define {what} for external services"
    )]
    External { service: String, what: &'static str },
}

/// An error, and what had been consulted when it was found.
#[derive(Debug)]
pub struct Failed {
    pub error: Error,
    pub consulted: BTreeSet<(Kind, String)>,
}

/// Compiles one chain.
pub fn compile(entries: &Entries, request: Request<'_>) -> Result<Compiled, Box<Failed>> {
    let mut compiler = Compiler::new(entries, request);
    match compiler.run() {
        Ok(chain) => Ok(Compiled {
            chain,
            consulted: compiler.consulted,
        }),
        Err(error) => Err(Box::new(Failed {
            error,
            consulted: compiler.consulted,
        })),
    }
}

/// Whether routes and splits make sense on a protocol.
pub fn is_http_like(protocol: &str) -> bool {
    ["http", "http2", "grpc"].contains(&protocol)
}

/// A service's protocol: its own defaults shadow the proxy defaults even when they name none.
pub fn protocol_of(entries: &Entries, service: &str) -> String {
    let own = entries
        .get(&(Kind::ServiceDefaults, service.to_owned()))
        .map(Arc::as_ref);
    let protocol = if let Some(ConfigEntry::ServiceDefaults(defaults)) = own {
        defaults.protocol.clone()
    } else {
        let global = entries
            .get(&(Kind::ProxyDefaults, "global".to_owned()))
            .map(Arc::as_ref);
        match global {
            Some(ConfigEntry::ProxyDefaults(defaults)) => config_protocol(defaults),
            _ => String::new(),
        }
    };
    if protocol.is_empty() {
        "tcp".to_owned()
    } else {
        protocol.to_lowercase()
    }
}

fn config_protocol(defaults: &ProxyDefaults) -> String {
    let mut named = defaults
        .config
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case("protocol"));
    named
        .next()
        .and_then(|(_, value)| value.as_str())
        .unwrap_or_default()
        .to_owned()
}

struct Compiler<'a> {
    entries: &'a Entries,
    request: Request<'a>,
    consulted: BTreeSet<(Kind, String)>,
    nodes: BTreeMap<String, ChainNode>,
    targets: BTreeMap<String, Target>,
    /// The first protocol recorded; all others must agree.
    protocol: Option<String>,
    /// A router or splitter was used.
    advanced: bool,
    /// An override changed something.
    customized: bool,
    /// Routers and splitters are left out: the protocol override is not HTTP-like.
    plain: bool,
}

macro_rules! lookup {
    ($name:ident, $kind:ident, $ty:ty) => {
        fn $name(&mut self, name: &str) -> Option<&'a $ty> {
            let key = (Kind::$kind, name.to_owned());
            self.consulted.insert(key.clone());
            match self.entries.get(&key).map(Arc::as_ref) {
                Some(ConfigEntry::$kind(entry)) => Some(entry),
                _ => None,
            }
        }
    };
}

impl<'a> Compiler<'a> {
    lookup!(router_of, ServiceRouter, ServiceRouter);
    lookup!(splitter_of, ServiceSplitter, ServiceSplitter);
    lookup!(resolver_of, ServiceResolver, ServiceResolver);
    lookup!(defaults_of, ServiceDefaults, ServiceDefaults);
    lookup!(proxy_defaults_of, ProxyDefaults, ProxyDefaults);

    fn new(entries: &'a Entries, request: Request<'a>) -> Self {
        let protocol = &request.overrides.override_protocol;
        Self {
            entries,
            request,
            consulted: BTreeSet::new(),
            nodes: BTreeMap::new(),
            targets: BTreeMap::new(),
            protocol: None,
            advanced: false,
            customized: false,
            plain: !protocol.is_empty() && !is_http_like(protocol),
        }
    }

    fn global(&mut self) -> Option<&'a ProxyDefaults> {
        self.proxy_defaults_of("global")
    }

    fn run(&mut self) -> Result<CompiledChain, Error> {
        let service = self.request.service;
        let start = self.start()?;
        flatten::refuse_cycles(&self.nodes, &start)?;
        flatten::flatten(&mut self.nodes);
        flatten::drop_unreachable(&mut self.nodes, &mut self.targets, &start);
        let mut protocol = self.protocol.clone().unwrap_or_else(|| "tcp".to_owned());
        if self.advanced && !is_http_like(&protocol) {
            return Err(Error::NotSplittable {
                chain: service.to_owned(),
                protocol,
            });
        }
        let wanted = &self.request.overrides.override_protocol;
        if !wanted.is_empty() && *wanted != protocol {
            protocol.clone_from(wanted);
            self.customized = true;
        }
        let own = self.defaults_of(service);
        let mut extensions = self
            .global()
            .map(|defaults| defaults.envoy_extensions.clone())
            .unwrap_or_default();
        extensions.extend(
            own.map(|defaults| defaults.envoy_extensions.clone())
                .unwrap_or_default(),
        );
        Ok(CompiledChain {
            service_name: service.to_owned(),
            namespace: "default".to_owned(),
            partition: "default".to_owned(),
            datacenter: self.request.datacenter.to_owned(),
            customization_hash: if self.customized {
                customization_hash(self.request.overrides)
            } else {
                String::new()
            },
            default: self.is_default(&start),
            protocol,
            service_meta: own
                .map(|defaults| defaults.meta.clone())
                .unwrap_or_default(),
            envoy_extensions: extensions,
            start_node: start,
            nodes: std::mem::take(&mut self.nodes),
            targets: std::mem::take(&mut self.targets),
        })
    }

    /// The start node is a resolver nobody configured, for the chain's own service.
    fn is_default(&self, start: &str) -> bool {
        let resolver = self
            .nodes
            .get(start)
            .and_then(|node| node.resolver.as_ref());
        resolver.is_some_and(|resolver| {
            let target = self.targets.get(&resolver.target);
            resolver.default && target.is_some_and(|target| target.service == self.request.service)
        })
    }

    /// Every service the traffic can end at must speak one protocol.
    fn record_protocol(&mut self, service: &str) -> Result<(), Error> {
        self.consulted
            .insert((Kind::ServiceDefaults, service.to_owned()));
        self.consulted
            .insert((Kind::ProxyDefaults, "global".to_owned()));
        let protocol = protocol_of(self.entries, service);
        match &self.protocol {
            None => self.protocol = Some(protocol),
            Some(expected) if *expected == protocol => {}
            Some(expected) => {
                return Err(Error::InconsistentProtocols {
                    chain: self.request.service.to_owned(),
                    service: service.to_owned(),
                    protocol,
                    expected: expected.clone(),
                });
            }
        }
        Ok(())
    }
}

fn customization_hash(overrides: &ChainOverrides) -> String {
    let json = serde_json::to_vec(overrides).unwrap_or_default();
    hex::encode(&Sha256::digest(json)[..4])
}
