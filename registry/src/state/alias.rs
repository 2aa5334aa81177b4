//! Alias checks: their state follows from other checks, within the same write.

use std::sync::Arc;

use outrigger_consul::check::Status;

use super::{Change, Check, State};

/// An alias of an alias settles in as many rounds as the chain is long; a ring never would.
const ROUNDS: usize = 4;

/// Settles every alias check; returns the changes already absorbed by the caller's `apply`.
pub(crate) fn settle(
    state: &mut State,
    mut apply: impl FnMut(&mut State, &[Change]),
) -> Vec<Change> {
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let changes = pending(state);
        if changes.is_empty() {
            break;
        }
        apply(state, &changes);
        all.extend(changes);
    }
    all
}

fn pending(state: &State) -> Vec<Change> {
    let aliases = state.checks.values().filter(|check| is_alias(check));
    let changed = aliases.filter_map(|check| {
        let (status, output) = verdict(state, check);
        if status == check.health.status && output == check.health.output {
            return None;
        }
        let mut next = Check::clone(check);
        next.health.status = status;
        next.health.output = output;
        Some(Change::PutCheck(Box::new(next)))
    });
    changed.collect()
}

fn is_alias(check: &Arc<Check>) -> bool {
    !check.definition.alias_service.is_empty() || !check.definition.alias_node.is_empty()
}

/// The worst of the node's checks and the aliased service's.
fn verdict(state: &State, check: &Check) -> (Status, String) {
    let node = match check.definition.alias_node.as_str() {
        "" => &check.health.node,
        node => node,
    };
    let service = &check.definition.alias_service;
    if !service.is_empty() && state.instance(node, service).is_none() {
        return (
            Status::Critical,
            format!("Service {service} could not be found on node {node}"),
        );
    }
    let on_service = (!service.is_empty()).then(|| state.checks_of(node, service));
    let followed = state
        .checks_of(node, "")
        .chain(on_service.into_iter().flatten())
        .filter(|other| other.health.check_id != check.health.check_id);
    let mut worst: Option<&Arc<Check>> = None;
    let mut any = false;
    for other in followed {
        any |= !other.health.service_id.is_empty();
        if worst.is_none_or(|worst| other.health.status > worst.health.status) {
            worst = Some(other);
        }
    }
    match worst.filter(|worst| worst.health.status != Status::Passing) {
        Some(failing) => {
            let name = &failing.health.name;
            (
                failing.health.status,
                format!(
                    "Aliased check \"{name}\" failing: {}",
                    failing.health.output
                ),
            )
        }
        None if any => (Status::Passing, "All checks passing.".to_owned()),
        None => (Status::Passing, "No checks found.".to_owned()),
    }
}
