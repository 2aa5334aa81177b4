//! What happens to the graph once it is built: cycles, nested splitters, leftovers.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_consul::chain::{ChainNode, ChainSplit, Target};
use outrigger_consul::config::router::HeaderModifiers;
use outrigger_consul::config::splitter::ServiceSplit;

use super::Error;
use crate::config_entry::splitter::rounded;

fn nexts(node: &ChainNode) -> impl Iterator<Item = &String> {
    let routes = node.routes.iter().map(|route| &route.next_node);
    routes.chain(node.splits.iter().map(|split| &split.next_node))
}

pub(super) fn refuse_cycles(nodes: &BTreeMap<String, ChainNode>, start: &str) -> Result<(), Error> {
    let mut done = BTreeSet::new();
    visit(nodes, start, &mut Vec::new(), &mut done)
}

fn visit<'a>(
    nodes: &'a BTreeMap<String, ChainNode>,
    key: &'a str,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Result<(), Error> {
    if let Some(from) = path.iter().position(|seen| *seen == key) {
        let mut ring = path.split_off(from);
        ring.push(key);
        return Err(Error::CircularReference(ring.join(" -> ")));
    }
    if !done.insert(key) {
        return Ok(());
    }
    path.push(key);
    for next in nodes.get(key).into_iter().flat_map(nexts) {
        visit(nodes, next, path, done)?;
    }
    path.pop();
    Ok(())
}

/// Replaces every leg that leads to a splitter by that splitter's legs. There are no cycles left, so it ends.
pub(super) fn flatten(nodes: &mut BTreeMap<String, ChainNode>) {
    let splitters = nodes.iter().filter(|(_, node)| node.r#type == "splitter");
    let splitters = splitters.map(|(key, _)| key.clone()).collect::<Vec<_>>();
    loop {
        let mut changed = false;
        for key in &splitters {
            let legs = nodes
                .get(key)
                .map(|node| node.splits.clone())
                .unwrap_or_default();
            let nested = legs.iter().any(|leg| splitters.contains(&leg.next_node));
            if !nested {
                continue;
            }
            changed = true;
            let flat = legs
                .into_iter()
                .flat_map(|leg| expand(nodes, leg))
                .collect();
            if let Some(node) = nodes.get_mut(key) {
                node.splits = flat;
            }
        }
        if !changed {
            return;
        }
    }
}

fn expand(nodes: &BTreeMap<String, ChainNode>, leg: ChainSplit) -> Vec<ChainSplit> {
    let Some(inner) = nodes
        .get(&leg.next_node)
        .filter(|node| node.r#type == "splitter")
    else {
        return vec![leg];
    };
    let legs = inner.splits.iter().map(|inner| ChainSplit {
        definition: merge_parent(Some(&inner.definition), Some(&leg.definition))
            .unwrap_or_default(),
        weight: rounded(leg.weight * inner.weight / 100.0),
        next_node: inner.next_node.clone(),
    });
    legs.collect()
}

/// A leg with its parent leg's header modifiers: on requests the child overrides, on responses the parent, as the
/// headers pass them in opposite order.
pub fn merge_parent(
    split: Option<&ServiceSplit>,
    parent: Option<&ServiceSplit>,
) -> Option<ServiceSplit> {
    let (Some(split), Some(parent)) = (split, parent) else {
        return split.cloned();
    };
    let mut merged = split.clone();
    merged.request_headers = merge(
        parent.request_headers.as_ref(),
        split.request_headers.as_ref(),
    );
    merged.response_headers = merge(
        split.response_headers.as_ref(),
        parent.response_headers.as_ref(),
    );
    Some(merged)
}

fn merge(
    first: Option<&HeaderModifiers>,
    second: Option<&HeaderModifiers>,
) -> Option<HeaderModifiers> {
    let (Some(first), Some(second)) = (first, second) else {
        return first.or(second).cloned();
    };
    let mut merged = first.clone();
    merged.add.extend(second.add.clone());
    merged.set.extend(second.set.clone());
    merged.remove.extend(second.remove.iter().cloned());
    Some(merged)
}

pub(super) fn drop_unreachable(
    nodes: &mut BTreeMap<String, ChainNode>,
    targets: &mut BTreeMap<String, Target>,
    start: &str,
) {
    let mut reached = BTreeSet::new();
    let mut queue = vec![start.to_owned()];
    let mut kept = BTreeSet::new();
    while let Some(key) = queue.pop() {
        let Some(node) = nodes.get(&key).filter(|_| reached.insert(key.clone())) else {
            continue;
        };
        queue.extend(nexts(node).cloned());
        if let Some(resolver) = &node.resolver {
            kept.insert(resolver.target.clone());
            kept.extend(
                resolver
                    .failover
                    .iter()
                    .flat_map(|failover| failover.targets.clone()),
            );
        }
    }
    nodes.retain(|key, _| reached.contains(key));
    targets.retain(|id, _| kept.contains(id));
}
