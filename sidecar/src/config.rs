//! Everything that can be set about a sidecar, with units, defaults and formulas. Only the binary's `main` loads it.
//!
//! The file is TOML; unknown keys are refused. An error names the key, the value and what was expected.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

mod address;
mod duration;
mod limits;
mod parse;

pub use address::Address;
pub use limits::{
    ADDED, Connect, Connection, Limits, Of, PROCESS_ROWS, Process, ROWS, Row, Scope, Set,
};
pub use parse::Error;

/// One sidecar: the application it stands beside, where it listens, whom the application may call.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The application's name in the registry.
    pub service: String,
    /// The registry id of this instance of it; the sidecar's own is `<instance>-sidecar-proxy`.
    pub instance: String,
    /// Registered as service meta `version`; resolvers select subsets by it.
    #[serde(default = "first_version")]
    pub version: String,
    /// A TCP port that is taken moves up by at most this many.
    #[serde(default)]
    pub port_search: u16,
    /// Written once all listeners are bound, so that whoever started this process learns the ports.
    #[serde(default)]
    pub report: Option<PathBuf>,
    /// A Unix socket over which a new process with this file takes the listening sockets of the one that runs, and replaces it.
    #[serde(default)]
    pub handover: Option<PathBuf>,
    /// Data-plane threads. Each owns its connections, so every thread adds a connection to every endpoint in use.
    #[serde(default = "one_thread")]
    pub threads: usize,
    pub registry: Registry,
    /// Absent: the application only calls others, and there is no inbound listener.
    #[serde(default)]
    pub application: Option<Application>,
    #[serde(default)]
    pub inbound: Inbound,
    #[serde(default)]
    pub outbound: Outbound,
    #[serde(default)]
    pub health: Health,
    #[serde(default)]
    pub edge: Option<Edge>,
    #[serde(default, rename = "upstream")]
    pub upstreams: Vec<Upstream>,
    #[serde(default)]
    pub intentions: Intentions,
    #[serde(default)]
    pub trace: Trace,
    #[serde(default)]
    pub drain: Drain,
    #[serde(default)]
    pub limits: Limits,
}

/// Where the registry (or Consul) serves its HTTP API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    pub address: String,
    /// A file, so that the token is in no environment and no process list.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
}

/// The application beside us.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    pub address: Address,
    pub protocol: AppProtocol,
    /// A `FileDescriptorSet`; absent: every method is of unknown class and is never repeated.
    #[serde(default)]
    pub contract: Option<PathBuf>,
    /// Absent: by protocol, `grpc` asks the health service, the others connect.
    #[serde(default)]
    pub check: Option<Check>,
}

/// What an application speaks on its socket.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AppProtocol {
    Grpc,
    Http2,
    Http,
    Tcp,
}

/// How the application's health is asked for, every second.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Check {
    /// `grpc.health.v1` with this service name.
    Grpc(String),
    /// A path that answers 2xx.
    Http(String),
    /// A connection is accepted.
    Tcp(bool),
}

/// The mTLS listener that other sidecars call.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    pub bind: SocketAddr,
}

/// The listener our application calls others through.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    pub bind: Address,
}

/// `/live`, `/ready`, `/ready/outbound`, `/metrics`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    pub bind: SocketAddr,
}

/// The public listeners of the gateway's sidecar: at least one of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Edge {
    /// In clear: HTTP/1.1 and HTTP/2 with prior knowledge.
    pub plain: Option<SocketAddr>,
    /// Over TLS 1.2 or 1.3: HTTP/2 and HTTP/1.1 by ALPN.
    pub tls: Option<SocketAddr>,
    /// A PEM file: the server's own certificate, then its intermediates. It may be replaced while we run.
    pub certificate: Option<PathBuf>,
    /// A PEM file: its private key.
    pub key: Option<PathBuf>,
}

/// A service the application may call.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    pub name: String,
    /// A port of its own, for clients that cannot set `:authority`.
    #[serde(default)]
    pub bind: Option<SocketAddr>,
    /// What is spoken on that port. Absent: what the discovery chain says, and where that is `tcp` the first bytes.
    #[serde(default)]
    pub protocol: Option<AppProtocol>,
    #[serde(default)]
    pub contract: Option<PathBuf>,
}

/// What happens to a caller no intention speaks of. Overrides what the registry announces.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intentions {
    #[serde(default)]
    pub default: DefaultIntention,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum DefaultIntention {
    #[default]
    Deny,
    Allow,
}

/// Spans, exported over OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Share of new traces that are sampled, 0 to 1.
    pub sample: f64,
}

/// How a sidecar leaves.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// From the critical check to GOAWAY: the time callers need to hear of it.
    #[serde(with = "duration")]
    pub propagation: Duration,
    /// What calls in progress get to finish; then the rest is cut.
    #[serde(with = "duration")]
    pub grace: Duration,
}

fn first_version() -> String {
    "v1".to_owned()
}

fn one_thread() -> usize {
    1
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

// === impl Config ===

impl Config {
    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text)
    }

    /// Parses and checks; touches nothing.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let config: Self = toml::from_str(text).map_err(|err| parse::locate(text, &err))?;
        config.check()?;
        Ok(config)
    }

    /// The registry id of the sidecar itself.
    pub fn proxy_id(&self) -> String {
        format!("{}-sidecar-proxy", self.instance)
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |key: &str, value: &dyn std::fmt::Display, expected: &str| {
            Err(Error::Value {
                key: key.to_owned(),
                value: value.to_string(),
                expected: expected.to_owned(),
            })
        };
        if self.threads == 0 || self.threads > 64 {
            return wrong("sidecar.threads", &self.threads, "1 to 64");
        }
        if !(0.0..=1.0).contains(&self.trace.sample) {
            return wrong(
                "sidecar.trace.sample",
                &self.trace.sample,
                "a share from 0 to 1",
            );
        }
        for (index, upstream) in self.upstreams.iter().enumerate() {
            if self
                .upstreams
                .iter()
                .take(index)
                .any(|earlier| earlier.name == upstream.name)
            {
                return wrong(
                    "sidecar.upstream.name",
                    &format!("{:?}", upstream.name),
                    "each upstream once",
                );
            }
        }
        let is_portless = |upstream: &&Upstream| {
            upstream.protocol == Some(AppProtocol::Tcp) && upstream.bind.is_none()
        };
        if let Some(upstream) = self.upstreams.iter().find(is_portless) {
            return wrong(
                "sidecar.upstream.protocol",
                &"\"tcp\"",
                &format!(
                    "a bind of {:?} too: bytes without an authority need a port of their own",
                    upstream.name
                ),
            );
        }
        if let Some(edge) = &self.edge {
            edge.check(self.application.is_some())?;
        }
        self.limits.check(self.edge.is_some())
    }
}

// === impl Edge ===

impl Edge {
    fn check(&self, has_application: bool) -> Result<(), Error> {
        let listener = match (self.plain, self.tls) {
            (Some(_), _) => "plain",
            (None, Some(_)) => "tls",
            (None, None) => {
                return Err(Self::wrong("tls", "unset", "an address here or in plain"));
            }
        };
        if !has_application {
            let expected = "an [application] behind the edge listener";
            return Err(Self::wrong(listener, "set", expected));
        }
        for (key, file) in [("certificate", &self.certificate), ("key", &self.key)] {
            match (self.tls, file) {
                (Some(_), None) => {
                    return Err(Self::wrong(key, "unset", "the path of a PEM file, for tls"));
                }
                (None, Some(path)) => {
                    let expected = "an address in sidecar.edge.tls, which it is for";
                    return Err(Self::wrong(key, &format!("{path:?}"), expected));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn wrong(key: &str, value: &str, expected: &str) -> Error {
        Error::Value {
            key: format!("sidecar.edge.{key}"),
            value: value.to_owned(),
            expected: expected.to_owned(),
        }
    }
}

impl Default for Inbound {
    fn default() -> Self {
        Self {
            bind: loopback(21000),
        }
    }
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            bind: Address::Tcp(loopback(15001)),
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            bind: loopback(15020),
        }
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self { sample: 1.0 }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            propagation: Duration::from_secs(5),
            grace: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests;
