//! What `run.json` holds: all that `status`, `down` and `token` need to know about a run, and no secret.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::plan::Addresses;
use crate::socket_table::Row;
use crate::supervise::{Process, State};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Of the binary that wrote it.
    pub(crate) version: String,
    /// `outrigger up`'s own.
    pub(crate) pid: u32,
    pub(crate) started: String,
    pub(crate) phase: Phase,
    pub(crate) registry: Registry,
    /// Base address of the gateway, if the mesh has one.
    pub(crate) edge: Option<String>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) sockets: Vec<Row>,
    /// Where the sockets lie, if not in the run's folder.
    pub(crate) socket_folder: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    Starting,
    Ready,
    Stopping,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Registry {
    pub(crate) address: String,
    /// `None`: a Consul that somebody else runs.
    pub(crate) process: Option<ProcessRecord>,
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) version: String,
    pub(crate) application: ProcessRecord,
    pub(crate) sidecar: ProcessRecord,
    pub(crate) addresses: Option<Addresses>,
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    /// `running`, `not started`, or how it ended.
    pub(crate) state: String,
    pub(crate) pid: Option<u32>,
    pub(crate) restarts: u32,
}

impl Run {
    pub(crate) fn instance_names(&self) -> Vec<String> {
        self.instances
            .iter()
            .map(|instance| instance.name.clone())
            .collect()
    }
}

impl ProcessRecord {
    pub(crate) fn of(process: Option<&Process>) -> Self {
        let Some(process) = process else {
            return Self {
                state: "not started".to_owned(),
                ..Self::default()
            };
        };
        let (state, pid) = match process.state() {
            State::Running { pid } => ("running".to_owned(), Some(pid)),
            State::Pausing { ended } => (format!("restarting: {ended}"), None),
            State::Ended { ended, .. } => (ended, None),
        };
        Self {
            state,
            pid,
            restarts: process.restarts(),
        }
    }
}

impl Phase {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
        }
    }
}
