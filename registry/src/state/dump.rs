//! The whole state as one document: what a snapshot holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_consul::config::ConfigEntry;
use outrigger_consul::connect::CaRoots;
use outrigger_consul::health::Node;
use outrigger_consul::kv::KvPair;
use serde::{Deserialize, Serialize};

use super::{Check, Instance, State, Tables};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Dump {
    pub(crate) index: u64,
    nodes: Vec<Arc<Node>>,
    instances: Vec<Arc<Instance>>,
    checks: Vec<Arc<Check>>,
    config: Vec<Arc<ConfigEntry>>,
    kv: Vec<Arc<KvPair>>,
    tombstones: Arc<BTreeMap<String, u64>>,
    names: Arc<BTreeMap<String, u64>>,
    roots: Arc<CaRoots>,
    leaf_serial: u64,
    tables: Tables,
}

impl From<&State> for Dump {
    fn from(state: &State) -> Self {
        Self {
            index: state.index,
            nodes: state.nodes.values().cloned().collect(),
            instances: state.instances.values().cloned().collect(),
            checks: state.checks.values().cloned().collect(),
            config: state.config.values().cloned().collect(),
            kv: state.kv.values().cloned().collect(),
            tombstones: Arc::clone(&state.tombstones),
            names: Arc::clone(&state.names),
            roots: Arc::clone(&state.roots),
            leaf_serial: state.leaf_serial,
            tables: state.tables.clone(),
        }
    }
}

impl From<Dump> for State {
    fn from(dump: Dump) -> Self {
        let by_name = |node: Arc<Node>| (node.node.clone(), node);
        let by_kind = |entry: Arc<ConfigEntry>| ((entry.kind(), entry.name().to_owned()), entry);
        Self {
            index: dump.index,
            nodes: Arc::new(dump.nodes.into_iter().map(by_name).collect()),
            instances: Arc::new(
                dump.instances
                    .into_iter()
                    .map(|item| (item.key(), item))
                    .collect(),
            ),
            checks: Arc::new(
                dump.checks
                    .into_iter()
                    .map(|item| (item.key(), item))
                    .collect(),
            ),
            config: Arc::new(dump.config.into_iter().map(by_kind).collect()),
            kv: Arc::new(
                dump.kv
                    .into_iter()
                    .map(|pair| (pair.key.clone(), pair))
                    .collect(),
            ),
            tombstones: dump.tombstones,
            names: dump.names,
            roots: dump.roots,
            leaf_serial: dump.leaf_serial,
            tables: dump.tables,
        }
    }
}
