//! The mesh file: which services run, who may call whom, on which registry.
//!
//! `parse` yields final types and starts nothing: a mesh file that loads can be planned without a further question. Each mistake is
//! told with line and column. The shop is such a file too (`builtin`), through the same loader.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

mod yaml;

mod check;

mod command;

pub(crate) mod builtin;

pub(crate) use check::consul_address;
pub(crate) use command::{Program, SearchPath};

/// Everything a mesh file says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MeshFile {
    pub(crate) intentions: Policy,
    pub(crate) registry: RegistryChoice,
    /// In the order of the file.
    pub(crate) services: Vec<Service>,
}

/// What happens to a call that no intention speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Policy {
    #[default]
    Deny,
    Allow,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RegistryChoice {
    Embedded,
    /// Base address of a running Consul, without a path.
    Consul(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) listen: Listen,
    pub(crate) protocol: Protocol,
    pub(crate) check: Check,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) contract: Option<Contract>,
    pub(crate) versions: Vec<Version>,
    /// Public plain-text port of the sidecar: the gateway's.
    pub(crate) edge: Option<u16>,
}

/// How the application is reached by its sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Listen {
    /// A loopback port, which every process of the machine can call.
    #[default]
    Tcp,
    /// A socket in a folder of mode 0700.
    Unix,
    /// It only calls others.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    #[default]
    Grpc,
    Http2,
    Http,
    Tcp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    Grpc(String),
    Http(String),
    Tcp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) bind: Option<u16>,
    /// What is spoken on that port, if it is said.
    pub(crate) protocol: Option<Protocol>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contract {
    /// A `FileDescriptorSet` beside the mesh file.
    File(PathBuf),
    /// Compiled into this binary: the contract of a service of the shop.
    BuiltIn(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) replicas: u32,
    pub(crate) program: Program,
    pub(crate) env: BTreeMap<String, String>,
}

/// Where a mistake stands; lines and columns count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) place: Option<Place>,
    pub(crate) message: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read mesh file {path}: {source}", path = path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}", list(file, problems))]
    Invalid {
        file: String,
        problems: Vec<Problem>,
    },
}

/// Reads and checks a mesh file.
pub(crate) fn load(path: &Path, search: &SearchPath) -> Result<MeshFile, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let folder = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("."),
    };
    let folder = std::path::absolute(folder).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, &path.display().to_string(), &folder, search)
}

/// `file` names the source in messages; commands and folders are relative to `folder`.
pub(crate) fn parse(
    text: &str,
    file: &str,
    folder: &Path,
    search: &SearchPath,
) -> Result<MeshFile, Error> {
    let invalid = |problems| Error::Invalid {
        file: file.to_owned(),
        problems,
    };
    let read: yaml::File = serde_saphyr::from_str(text).map_err(|err| {
        let place = err.location().map(Place::from);
        invalid(vec![Problem {
            place,
            message: plain_message(&err),
        }])
    })?;
    check::check(read, folder, search).map_err(invalid)
}

/// The parser's own message without the picture and without a second "line … column …".
fn plain_message(err: &serde_saphyr::Error) -> String {
    let message = err.without_snippet().to_string();
    let first = message.lines().next().unwrap_or_default();
    match first.rfind(" at line ") {
        Some(end) => first.get(..end).unwrap_or(first).to_owned(),
        None => first.to_owned(),
    }
}

fn list(file: &str, problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| match problem.place {
            Some(place) => format!("{file}:{place}: {}", problem.message),
            None => format!("{file}: {}", problem.message),
        })
        .collect();
    lines.join("\n")
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

impl Protocol {
    /// Consul's word for it, in `service-defaults` and in the sidecar's file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http2 => "http2",
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

impl Policy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}

impl Check {
    /// The check a service gets that names none.
    fn default_for(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Grpc => Self::Grpc(String::new()),
            Protocol::Http | Protocol::Http2 => Self::Http("/health".to_owned()),
            Protocol::Tcp => Self::Tcp,
        }
    }
}

#[cfg(test)]
mod tests;
