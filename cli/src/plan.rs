//! From a mesh file to the list of what runs: processes with their environment, files and ports, and in which order they start.
//!
//! Pure: it opens nothing. Ports are wishes, which the sidecars may have to move (they report what they bound), so whatever depends on a
//! real address is made later, from an instance and its `Addresses`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::mesh_file::{Check, Listen, MeshFile, Policy, Program, Protocol, Service};
use crate::run_folder::Paths;

mod port;

mod start_order;

pub(crate) mod environment;

mod sidecar_file;

pub(crate) use environment::for_child;
pub(crate) use port::{REGISTRY, SEARCH};

/// All that runs beside the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In the order of the mesh file.
    pub(crate) instances: Vec<Instance>,
    /// Names of services that start together, those who are called before those who call, the gateway last.
    pub(crate) waves: Vec<Vec<String>>,
    /// Who may call whom: destination → callers, every service a key.
    pub(crate) callers: BTreeMap<String, BTreeSet<String>>,
    pub(crate) protocols: BTreeMap<String, Protocol>,
    pub(crate) intentions: Policy,
}

/// One application and the sidecar beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) service: String,
    pub(crate) version: String,
    /// `<service>-<version>-<number>`; the registry's id.
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) dir: PathBuf,
    /// From the mesh file.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) listen: Listen,
    pub(crate) application: Option<Address>,
    pub(crate) protocol: Protocol,
    pub(crate) check: Check,
    pub(crate) contract: Option<PathBuf>,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) outbound: Address,
    pub(crate) inbound: Option<u16>,
    pub(crate) health: u16,
    pub(crate) edge: Option<u16>,
    pub(crate) intentions: Policy,
    pub(crate) files: Files,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) bind: Option<u16>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) contract: Option<PathBuf>,
}

/// Files of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) folder: PathBuf,
    pub(crate) sidecar: PathBuf,
    pub(crate) report: PathBuf,
    pub(crate) token: PathBuf,
}

impl Instance {
    /// Where the shop's gateway tells its metrics: not beside the routes that strangers reach.
    pub(crate) fn admin(&self) -> Option<Address> {
        match &self.application {
            Some(Address::Unix(path)) if self.program.shop.as_deref() == Some("gateway") => {
                Some(Address::Unix(path.with_file_name("admin.sock")))
            }
            _ => None,
        }
    }
}

/// A TCP port on loopback or a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(u16),
    Unix(PathBuf),
}

/// What a sidecar has really bound: the content of its report.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Addresses {
    pub(crate) pid: u32,
    pub(crate) outbound: String,
    pub(crate) inbound: Option<SocketAddr>,
    pub(crate) health: SocketAddr,
    pub(crate) edge: Option<SocketAddr>,
    #[serde(default)]
    pub(crate) upstreams: BTreeMap<String, SocketAddr>,
}

impl Plan {
    /// `is_free` tells whether a loopback port can be bound now; only applications need to know, they cannot move.
    pub(crate) fn new(file: &MeshFile, paths: &Paths, is_free: &dyn Fn(u16) -> bool) -> Self {
        let mut ports = port::Ports::reserving(file);
        let instances = file
            .services
            .iter()
            .flat_map(|service| {
                service
                    .versions
                    .iter()
                    .map(move |version| (service, version))
            })
            .flat_map(|(service, version)| {
                (0..version.replicas).map(move |number| (service, version, number))
            })
            .map(|(service, version, number)| {
                let name = format!("{}-{}-{number}", service.name, version.name);
                let folder = paths.instance(&name);
                let sockets = paths.sockets(&name);
                let application = match service.listen {
                    Listen::None => None,
                    Listen::Unix => Some(Address::Unix(sockets.join("app.sock"))),
                    Listen::Tcp => Some(Address::Tcp(ports.application(is_free))),
                };
                let outbound = match service.listen {
                    Listen::Unix => Address::Unix(sockets.join("outbound.sock")),
                    Listen::Tcp | Listen::None => Address::Tcp(ports.outbound()),
                };
                Instance {
                    service: service.name.clone(),
                    version: version.name.clone(),
                    program: version.program.clone(),
                    dir: service.dir.clone(),
                    env: version.env.clone(),
                    listen: service.listen,
                    inbound: application.is_some().then(|| ports.inbound()),
                    application,
                    protocol: service.protocol,
                    check: service.check.clone(),
                    contract: contract(service, paths),
                    upstreams: upstreams(service, file, paths),
                    outbound,
                    health: ports.health(),
                    edge: service.edge,
                    intentions: file.intentions,
                    files: Files {
                        sidecar: folder.join("sidecar.toml"),
                        report: folder.join("addresses.json"),
                        token: paths.token(&name),
                        folder,
                    },
                    name,
                }
            })
            .collect();
        Self {
            instances,
            waves: start_order::waves(&file.services),
            callers: callers(file),
            protocols: file
                .services
                .iter()
                .map(|service| (service.name.clone(), service.protocol))
                .collect(),
            intentions: file.intentions,
        }
    }

    /// The gateway: the instance with a public listener.
    pub(crate) fn edge(&self) -> Option<&Instance> {
        self.instances
            .iter()
            .find(|instance| instance.edge.is_some())
    }

    /// Whether this is the shop, whose calls can be shown.
    pub(crate) fn runs_shop(&self) -> bool {
        let runs = |name: &str| {
            self.instances
                .iter()
                .any(|instance| instance.program.shop.as_deref() == Some(name))
        };
        self.edge()
            .is_some_and(|edge| edge.program.shop.as_deref() == Some("gateway"))
            && crate::shop::NAMES.into_iter().all(runs)
    }
}

impl Instance {
    /// Ports that were taken: what for, which one was asked for, what it is now.
    pub(crate) fn moved(&self, bound: &Addresses) -> Vec<(String, u16, SocketAddr)> {
        let outbound = match &self.outbound {
            Address::Tcp(port) => bound
                .outbound
                .parse()
                .ok()
                .map(|bound| ("outbound".to_owned(), *port, bound)),
            Address::Unix(_) => None,
        };
        let upstreams = self.upstreams.iter().filter_map(|upstream| {
            let bound = bound.upstreams.get(&upstream.name)?;
            Some((
                format!("upstream {}", upstream.name),
                upstream.bind?,
                *bound,
            ))
        });
        let listeners = [
            self.edge
                .zip(bound.edge)
                .map(|(port, bound)| ("edge".to_owned(), port, bound)),
            self.inbound
                .zip(bound.inbound)
                .map(|(port, bound)| ("inbound".to_owned(), port, bound)),
            outbound,
            Some(("health".to_owned(), self.health, bound.health)),
        ];
        listeners
            .into_iter()
            .flatten()
            .chain(upstreams)
            .filter(|(_, port, bound)| bound.port() != *port)
            .collect()
    }
}

/// Destination → callers, from the upstreams; the shop's come from the contracts already.
fn callers(file: &MeshFile) -> BTreeMap<String, BTreeSet<String>> {
    let callers_of = |name: &str| {
        file.services
            .iter()
            .filter(|service| {
                service
                    .upstreams
                    .iter()
                    .any(|upstream| upstream.name == name)
            })
            .map(|service| service.name.clone())
            .collect()
    };
    file.services
        .iter()
        .map(|service| (service.name.clone(), callers_of(&service.name)))
        .collect()
}

fn contract(service: &Service, paths: &Paths) -> Option<PathBuf> {
    service
        .contract
        .as_ref()
        .map(|_| paths.contract(&service.name))
}

/// A caller needs the contract of whom it calls: what may be repeated follows from it.
fn upstreams(service: &Service, file: &MeshFile, paths: &Paths) -> Vec<Upstream> {
    let contract_of = |name: &str| {
        let callee = file.services.iter().find(|service| service.name == name)?;
        contract(callee, paths)
    };
    service
        .upstreams
        .iter()
        .map(|upstream| Upstream {
            name: upstream.name.clone(),
            bind: upstream.bind,
            protocol: upstream.protocol.or_else(|| by_callee(upstream, file)),
            contract: contract_of(&upstream.name),
        })
        .collect()
}

/// A server that speaks first would otherwise be waited for until its caller's silence is taken for an answer.
fn by_callee(upstream: &crate::mesh_file::Upstream, file: &MeshFile) -> Option<Protocol> {
    upstream.bind?;
    let mut services = file.services.iter();
    let callee = services.find(|service| service.name == upstream.name)?;
    (callee.protocol == Protocol::Tcp).then_some(Protocol::Tcp)
}

impl Address {
    /// The path of a Unix socket.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path.clone()),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(port) => write!(formatter, "127.0.0.1:{port}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests;
