//! Who starts before whom: those who are called before those who call. Services that call each other start together.

use std::collections::{BTreeMap, BTreeSet};

use crate::mesh_file::Service;

/// Groups of service names, in the order of their start. A service with an edge comes last: it lets the world in.
pub(super) fn waves(services: &[Service]) -> Vec<Vec<String>> {
    let reach = reachable(services);
    let calls = |from: &str, to: &str| reach.get(from).is_some_and(|seen| seen.contains(to));
    let mut depth: BTreeMap<&str, usize> = services
        .iter()
        .map(|service| (service.name.as_str(), 0))
        .collect();
    // A service stands one above the deepest it calls, unless that one calls it back. At most one step per service is needed.
    for _ in services {
        for service in services {
            for callee in reach.get(service.name.as_str()).into_iter().flatten() {
                let together = calls(callee, &service.name);
                let needed = depth.get(callee).copied().unwrap_or(0) + usize::from(!together);
                if let Some(own) = depth.get_mut(service.name.as_str()) {
                    *own = (*own).max(needed);
                }
            }
        }
    }
    let last = depth.values().copied().max().unwrap_or(0) + 1;
    let mut waves: Vec<Vec<String>> = vec![Vec::new(); last + 1];
    for service in services {
        let depth = match service.edge {
            Some(_) => last,
            None => depth.get(service.name.as_str()).copied().unwrap_or(0),
        };
        if let Some(wave) = waves.get_mut(depth) {
            wave.push(service.name.clone());
        }
    }
    waves.retain(|wave| !wave.is_empty());
    waves
}

/// Everyone a service calls, directly or through others.
fn reachable(services: &[Service]) -> BTreeMap<&str, BTreeSet<&str>> {
    let direct: BTreeMap<&str, Vec<&str>> = services
        .iter()
        .map(|service| {
            (
                service.name.as_str(),
                service
                    .upstreams
                    .iter()
                    .map(|upstream| upstream.name.as_str())
                    .collect(),
            )
        })
        .collect();
    services
        .iter()
        .map(|service| {
            let mut seen = BTreeSet::new();
            let mut next: Vec<&str> = direct
                .get(service.name.as_str())
                .cloned()
                .unwrap_or_default();
            while let Some(name) = next.pop() {
                if seen.insert(name) {
                    next.extend(direct.get(name).into_iter().flatten());
                }
            }
            (service.name.as_str(), seen)
        })
        .collect()
}
