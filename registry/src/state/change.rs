//! The effects a write has: what the journal keeps, and how the state takes them in.

use std::collections::BTreeSet;
use std::sync::Arc;

use outrigger_consul::config::{ConfigEntry, Kind};
use outrigger_consul::connect::CaRoots;
use outrigger_consul::health::Node;
use outrigger_consul::kv::KvPair;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Check, Instance, Key, State};
use crate::watch::Topic;

/// Deleted keys that are remembered, so that a watch of a prefix sees the deletion.
const TOMBSTONES: usize = 4096;

/// One effect. Absorbing it cannot fail: everything was decided before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Change {
    PutNode(Box<Node>),
    PutInstance(Box<Instance>),
    DeleteInstance(Key),
    PutCheck(Box<Check>),
    DeleteCheck(Key),
    PutConfig(ConfigEntry),
    DeleteConfig(Kind, String),
    PutKey(Box<KvPair>),
    DeleteKey(String),
    PutRoots(Box<CaRoots>),
    LeafSerial(u64),
}

impl State {
    /// Takes in the changes of one write under `index` and collects who must be woken.
    pub(crate) fn absorb(&mut self, index: u64, changes: &[Change], topics: &mut BTreeSet<Topic>) {
        self.index = index;
        for change in changes {
            match change {
                Change::PutNode(node) => self.put_node(index, node, topics),
                Change::PutInstance(instance) => self.put_instance(index, instance, topics),
                Change::DeleteInstance(key) => self.delete_instance(index, key, topics),
                Change::PutCheck(check) => self.put_check(index, check, topics),
                Change::DeleteCheck(key) => self.delete_check(index, key, topics),
                Change::PutConfig(entry) => self.put_config(index, entry, topics),
                Change::DeleteConfig(kind, name) => self.delete_config(index, *kind, name, topics),
                Change::PutKey(pair) => self.put_key(index, pair, topics),
                Change::DeleteKey(key) => self.delete_key(index, key, topics),
                Change::PutRoots(roots) => self.put_roots(index, roots, topics),
                Change::LeafSerial(serial) => self.leaf_serial = *serial,
            }
        }
    }

    fn put_node(&mut self, index: u64, node: &Node, topics: &mut BTreeSet<Topic>) {
        let mut node = node.clone();
        node.create_index = self
            .nodes
            .get(&node.node)
            .map_or(index, |old| old.create_index);
        node.modify_index = index;
        self.touch_node(index, &node.node, topics);
        Arc::make_mut(&mut self.nodes).insert(node.node.clone(), Arc::new(node));
        self.tables.nodes = index;
        topics.insert(Topic::Nodes);
    }

    fn put_instance(&mut self, index: u64, instance: &Instance, topics: &mut BTreeSet<Topic>) {
        let mut instance = instance.clone();
        let key = instance.key();
        let old = self.instances.get(&key).cloned();
        instance.service.create_index = old.as_ref().map_or(index, |old| old.service.create_index);
        instance.service.modify_index = index;
        topics_of(&instance, topics);
        let name = instance.service.service.clone();
        let renamed = old.filter(|old| old.service.service != name);
        Arc::make_mut(&mut self.names).insert(name, index);
        Arc::make_mut(&mut self.instances).insert(key, Arc::new(instance));
        self.tables.services = index;
        topics.insert(Topic::Services);
        if let Some(old) = renamed {
            topics_of(&old, topics);
            self.after_removal(index, &old.service.service);
        }
    }

    fn delete_instance(&mut self, index: u64, key: &Key, topics: &mut BTreeSet<Topic>) {
        let Some(old) = Arc::make_mut(&mut self.instances).remove(key) else {
            return;
        };
        topics_of(&old, topics);
        topics.insert(Topic::Services);
        self.tables.services = index;
        self.after_removal(index, &old.service.service);
    }

    fn after_removal(&mut self, index: u64, name: &str) {
        let extinct = self.named(name).next().is_none();
        let names = Arc::make_mut(&mut self.names);
        if extinct {
            names.remove(name);
            self.tables.extinction = index;
        } else {
            names.insert(name.to_owned(), index);
        }
    }

    fn put_check(&mut self, index: u64, check: &Check, topics: &mut BTreeSet<Topic>) {
        let mut check = check.clone();
        let key = check.key();
        check.health.create_index = self
            .checks
            .get(&key)
            .map_or(index, |old| old.health.create_index);
        check.health.modify_index = index;
        self.touch_check(index, &check, topics);
        Arc::make_mut(&mut self.checks).insert(key, Arc::new(check));
    }

    fn delete_check(&mut self, index: u64, key: &Key, topics: &mut BTreeSet<Topic>) {
        if let Some(old) = Arc::make_mut(&mut self.checks).remove(key) {
            self.touch_check(index, &old, topics);
        }
    }

    fn touch_check(&mut self, index: u64, check: &Check, topics: &mut BTreeSet<Topic>) {
        topics.insert(Topic::Checks);
        if check.health.service_id.is_empty() {
            self.touch_node(index, &check.health.node, topics);
            return;
        }
        let instance = self
            .instance(&check.health.node, &check.health.service_id)
            .cloned();
        if let Some(instance) = instance {
            topics_of(&instance, topics);
            Arc::make_mut(&mut self.names).insert(instance.service.service.clone(), index);
        }
    }

    fn touch_node(&mut self, index: u64, node: &str, topics: &mut BTreeSet<Topic>) {
        let here = self
            .instances
            .values()
            .filter(|instance| instance.node == node);
        let touched = here.cloned().collect::<Vec<_>>();
        let names = Arc::make_mut(&mut self.names);
        for instance in touched {
            topics_of(&instance, topics);
            names.insert(instance.service.service.clone(), index);
        }
    }

    fn put_config(&mut self, index: u64, entry: &ConfigEntry, topics: &mut BTreeSet<Topic>) {
        let (kind, name) = (entry.kind(), entry.name().to_owned());
        let mut entry = entry.clone();
        let created = self
            .entry(kind, &name)
            .map_or(index, |old| old.create_index());
        let hash = content_hash(&entry);
        entry.stamp(created, index, hash);
        config_topics(kind, &name, topics);
        Arc::make_mut(&mut self.config).insert((kind, name), Arc::new(entry));
        self.tables.config = index;
    }

    fn delete_config(&mut self, index: u64, kind: Kind, name: &str, topics: &mut BTreeSet<Topic>) {
        config_topics(kind, name, topics);
        Arc::make_mut(&mut self.config).remove(&(kind, name.to_owned()));
        self.tables.config = index;
    }

    fn put_key(&mut self, index: u64, pair: &KvPair, topics: &mut BTreeSet<Topic>) {
        let mut pair = pair.clone();
        pair.create_index = self.kv.get(&pair.key).map_or(index, |old| old.create_index);
        pair.modify_index = index;
        topics.insert(Topic::Key(pair.key.clone()));
        if self.tombstones.contains_key(&pair.key) {
            Arc::make_mut(&mut self.tombstones).remove(&pair.key);
        }
        Arc::make_mut(&mut self.kv).insert(pair.key.clone(), Arc::new(pair));
        self.tables.kv = index;
    }

    fn delete_key(&mut self, index: u64, key: &str, topics: &mut BTreeSet<Topic>) {
        if Arc::make_mut(&mut self.kv).remove(key).is_none() {
            return;
        }
        topics.insert(Topic::Key(key.to_owned()));
        self.tables.kv = index;
        let tombstones = Arc::make_mut(&mut self.tombstones);
        tombstones.insert(key.to_owned(), index);
        if tombstones.len() > TOMBSTONES {
            let oldest = tombstones.iter().min_by_key(|(_, index)| **index);
            if let Some((key, floor)) = oldest.map(|(key, index)| (key.clone(), *index)) {
                tombstones.remove(&key);
                self.tables.tombstone_floor = floor;
            }
        }
    }

    fn put_roots(&mut self, index: u64, roots: &CaRoots, topics: &mut BTreeSet<Topic>) {
        let mut roots = roots.clone();
        for root in &mut roots.roots {
            let old = self.roots.roots.iter().find(|old| old.id == root.id);
            root.create_index = old.map_or(index, |old| old.create_index);
            root.modify_index = index;
        }
        self.roots = Arc::new(roots);
        self.tables.roots = index;
        topics.insert(Topic::Roots);
    }
}

fn topics_of(instance: &Instance, topics: &mut BTreeSet<Topic>) {
    topics.insert(Topic::Service(instance.service.service.clone()));
    topics.insert(Topic::Instance(instance.service.id.clone()));
    if let Some(destination) = instance.connect_destination() {
        topics.insert(Topic::Connect(destination.to_owned()));
    }
}

fn config_topics(kind: Kind, name: &str, topics: &mut BTreeSet<Topic>) {
    topics.insert(Topic::Config(kind, name.to_owned()));
    topics.insert(Topic::ConfigKind(kind));
}

/// `Hash` of a config entry: what it says, without what the server stamped on it.
fn content_hash(entry: &ConfigEntry) -> u64 {
    let mut bare = entry.clone();
    bare.stamp(0, 0, 0);
    let digest = Sha256::digest(serde_json::to_vec(&bare).unwrap_or_default());
    let mut first = [0u8; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}
