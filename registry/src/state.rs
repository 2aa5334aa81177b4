//! Everything the registry knows, as one value. A write is decided by a pure function of it and then absorbed.
//!
//! The tables are shared: a clone is a handful of counters, and a batch of writes copies only the tables it touches.

pub(crate) mod alias;
pub(crate) mod change;
pub(crate) mod check;
pub(crate) mod config_entry;
pub(crate) mod dump;
pub(crate) mod intention;
pub(crate) mod kv;
pub(crate) mod service;

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_consul::check::{CheckDefinition, HealthCheck};
use outrigger_consul::config::{ConfigEntry, Kind};
use outrigger_consul::connect::CaRoots;
use outrigger_consul::health::Node;
use outrigger_consul::kv::KvPair;
use outrigger_consul::service::{CONNECT_PROXY, Service};
use serde::{Deserialize, Serialize};

pub(crate) use change::Change;

/// Where something lives: its node and its id there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) node: String,
    pub(crate) id: String,
}

impl Key {
    pub(crate) fn new(node: &str, id: &str) -> Self {
        Self {
            node: node.to_owned(),
            id: id.to_owned(),
        }
    }
}

/// A registered service instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) node: String,
    pub(crate) service: Service,
    /// The id of the service whose registration carried this sidecar inside; it leaves with it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) sidecar_of: String,
}

impl Instance {
    pub(crate) fn key(&self) -> Key {
        Key::new(&self.node, &self.service.id)
    }

    /// The service this instance is the sidecar of, or itself when it speaks Connect natively.
    pub(crate) fn connect_destination(&self) -> Option<&str> {
        let native = self
            .service
            .connect
            .as_ref()
            .is_some_and(|connect| connect.native);
        if native {
            return Some(&self.service.service);
        }
        let proxy = self
            .service
            .proxy
            .as_ref()
            .filter(|_| self.service.kind == CONNECT_PROXY)?;
        Some(&proxy.destination_service_name)
    }
}

/// A check with its current state; `definition` says how it is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Check {
    pub(crate) health: HealthCheck,
    pub(crate) definition: CheckDefinition,
}

impl Check {
    pub(crate) fn key(&self) -> Key {
        Key::new(&self.health.node, &self.health.check_id)
    }
}

/// The highest index of each table, and of the last time a service lost its last instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tables {
    pub(crate) nodes: u64,
    pub(crate) services: u64,
    pub(crate) config: u64,
    pub(crate) kv: u64,
    pub(crate) roots: u64,
    pub(crate) extinction: u64,
    /// The index below which tombstones of keys have been forgotten.
    pub(crate) tombstone_floor: u64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    /// Of the last committed write; never goes back.
    pub(crate) index: u64,
    pub(crate) nodes: Arc<BTreeMap<String, Arc<Node>>>,
    pub(crate) instances: Arc<BTreeMap<Key, Arc<Instance>>>,
    pub(crate) checks: Arc<BTreeMap<Key, Arc<Check>>>,
    pub(crate) config: Arc<BTreeMap<(Kind, String), Arc<ConfigEntry>>>,
    pub(crate) kv: Arc<BTreeMap<String, Arc<KvPair>>>,
    pub(crate) tombstones: Arc<BTreeMap<String, u64>>,
    /// The index of each service name that has instances.
    pub(crate) names: Arc<BTreeMap<String, u64>>,
    pub(crate) roots: Arc<CaRoots>,
    pub(crate) leaf_serial: u64,
    pub(crate) tables: Tables,
}

impl State {
    pub(crate) fn instance(&self, node: &str, id: &str) -> Option<&Arc<Instance>> {
        self.instances.get(&Key::new(node, id))
    }

    pub(crate) fn check(&self, node: &str, id: &str) -> Option<&Arc<Check>> {
        self.checks.get(&Key::new(node, id))
    }

    pub(crate) fn entry(&self, kind: Kind, name: &str) -> Option<&Arc<ConfigEntry>> {
        self.config.get(&(kind, name.to_owned()))
    }

    /// The instances of a service name.
    pub(crate) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<Instance>> {
        self.instances
            .values()
            .filter(move |instance| instance.service.service == name)
    }

    /// The checks of a node, or of one instance on it with `id`.
    pub(crate) fn checks_of<'a>(
        &'a self,
        node: &'a str,
        id: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Check>> {
        self.checks
            .range(Key::new(node, "")..)
            .take_while(move |(key, _)| key.node == node)
            .map(|(_, check)| check)
            .filter(move |check| check.health.service_id == id)
    }

    /// The index a read of these service names returns; of no name at all, when a service last vanished.
    pub(crate) fn index_of_names<'a>(&self, names: impl Iterator<Item = &'a str>) -> u64 {
        let highest = names.filter_map(|name| self.names.get(name)).max().copied();
        highest.unwrap_or(if self.tables.extinction > 0 {
            self.tables.extinction
        } else {
            self.tables.services
        })
    }
}
