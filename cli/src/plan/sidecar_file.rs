//! The configuration file of an instance's sidecar.

use std::path::Path;

use serde::Serialize;

use super::{Address, Addresses, Instance, SEARCH};
use crate::mesh_file::{Check, Protocol};

/// How long calls in progress may take to end when the run stops: what is left of 5 s once the others have had their share.
const GRACE: &str = "3s";

#[derive(Serialize)]
struct File<'a> {
    service: &'a str,
    instance: &'a str,
    version: &'a str,
    port_search: u16,
    report: String,
    registry: Registry<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<Application<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inbound: Option<Bind>,
    outbound: Bind,
    health: Bind,
    #[serde(skip_serializing_if = "Option::is_none")]
    edge: Option<Edge>,
    intentions: Intentions,
    drain: Drain,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    upstream: Vec<Upstream<'a>>,
}

#[derive(Serialize)]
struct Registry<'a> {
    address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<String>,
}

#[derive(Serialize)]
struct Application<'a> {
    address: String,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract: Option<String>,
    check: CheckFile<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum CheckFile<'a> {
    Grpc(&'a str),
    Http(&'a str),
    Tcp(bool),
}

#[derive(Serialize)]
struct Bind {
    bind: String,
}

#[derive(Serialize)]
struct Edge {
    plain: String,
}

#[derive(Serialize)]
struct Intentions {
    default: &'static str,
}

#[derive(Serialize)]
struct Drain {
    propagation: &'static str,
    grace: &'static str,
}

#[derive(Serialize)]
struct Upstream<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract: Option<String>,
}

impl Instance {
    /// TOML for `outrigger sidecar --config`. Once a sidecar has reported its addresses, its successor must listen there too: the
    /// application knows them from its environment.
    pub(crate) fn sidecar_file(
        &self,
        registry: &str,
        token_file: Option<&Path>,
        bound: Option<&Addresses>,
    ) -> Result<String, toml::ser::Error> {
        let loopback = |port: u16| format!("127.0.0.1:{port}");
        let upstream = |planned: &super::Upstream| {
            let bound = bound
                .and_then(|bound| bound.upstreams.get(&planned.name))
                .map(ToString::to_string);
            bound.or_else(|| planned.bind.map(loopback))
        };
        toml::to_string(&File {
            service: &self.service,
            instance: &self.name,
            version: &self.version,
            port_search: if bound.is_some() { 0 } else { SEARCH },
            report: self.files.report.display().to_string(),
            registry: Registry {
                address: registry,
                token_file: token_file.map(|path| path.display().to_string()),
            },
            application: self
                .application
                .as_ref()
                .map(|address| self.application(address)),
            inbound: self.inbound.map(|port| Bind {
                bind: bound
                    .and_then(|bound| bound.inbound)
                    .map_or_else(|| loopback(port), |bound| bound.to_string()),
            }),
            outbound: Bind {
                bind: bound
                    .map_or_else(|| self.outbound.to_string(), |bound| bound.outbound.clone()),
            },
            health: Bind {
                bind: bound.map_or_else(|| loopback(self.health), |bound| bound.health.to_string()),
            },
            edge: self.edge.map(|port| Edge {
                plain: bound
                    .and_then(|bound| bound.edge)
                    .map_or_else(|| loopback(port), |bound| bound.to_string()),
            }),
            intentions: Intentions {
                default: self.intentions.as_str(),
            },
            drain: Drain {
                propagation: "0s",
                grace: GRACE,
            },
            upstream: self
                .upstreams
                .iter()
                .map(|planned| Upstream {
                    name: &planned.name,
                    bind: upstream(planned),
                    protocol: planned.protocol.map(Protocol::as_str),
                    contract: planned
                        .contract
                        .as_ref()
                        .map(|path| path.display().to_string()),
                })
                .collect(),
        })
    }

    fn application(&self, address: &Address) -> Application<'_> {
        Application {
            address: address.to_string(),
            protocol: self.protocol.as_str(),
            contract: self
                .contract
                .as_ref()
                .map(|path| path.display().to_string()),
            check: match &self.check {
                Check::Grpc(service) => CheckFile::Grpc(service),
                Check::Http(path) => CheckFile::Http(path),
                Check::Tcp => CheckFile::Tcp(true),
            },
        }
    }
}
