//! Intentions as rows: precedence, order, which apply to a service, and what one says about a target.

use std::cmp::Ordering;

use outrigger_consul::config::ServiceIntentions;
use outrigger_consul::intention::Intention;

/// Which side of an intention a target is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Source,
    Destination,
}

/// How exact a name in a namespace is: 0 for exact, 1 for any name, 2 for any namespace.
fn wildness(namespace: &str, name: &str) -> i64 {
    match (namespace, name) {
        ("*", _) => 2,
        (_, "*") => 1,
        _ => 0,
    }
}

/// The precedence of a source towards a destination on Community Edition.
pub fn precedence(source: &str, destination: &str) -> i64 {
    precedence_of(("", source), ("", destination))
}

/// The precedence of `(namespace, name)` towards `(namespace, name)`: 9 for exact to exact, down to 1.
pub fn precedence_of(source: (&str, &str), destination: (&str, &str)) -> i64 {
    let highest = 9 - 3 * wildness(destination.0, destination.1);
    highest - wildness(source.0, source.1)
}

/// Highest precedence first; ties in a fixed order, so that a list never shuffles. Within one precedence the
/// unpeered sources come first and sameness groups last.
pub fn compare(a: &Intention, b: &Intention) -> Ordering {
    let order = |intention: &Intention| {
        (
            intention.source_sameness_group.clone(),
            intention.source_peer.clone(),
            intention.source_partition.clone(),
            intention.source_ns.clone(),
            intention.source_name.clone(),
            intention.destination_partition.clone(),
            intention.destination_ns.clone(),
            intention.destination_name.clone(),
        )
    };
    b.precedence
        .cmp(&a.precedence)
        .then_with(|| order(a).cmp(&order(b)))
}

/// A config entry's sources as rows.
pub fn rows(entry: &ServiceIntentions) -> Vec<Intention> {
    let rows = entry.sources.iter().map(|source| Intention {
        id: source.legacy_id.clone(),
        description: source.description.clone(),
        source_ns: "default".to_owned(),
        source_name: source.name.clone(),
        source_peer: source.peer.clone(),
        destination_ns: "default".to_owned(),
        destination_name: entry.name.clone(),
        source_type: source.r#type.clone(),
        action: source.action.clone(),
        permissions: source.permissions.clone(),
        jwt: entry.jwt.clone(),
        meta: if source.legacy_id.is_empty() {
            entry.meta.clone()
        } else {
            source.legacy_meta.clone()
        },
        precedence: source.precedence,
        created_at: source.legacy_create_time.clone().unwrap_or_default(),
        updated_at: source.legacy_update_time.clone().unwrap_or_default(),
        create_index: entry.create_index,
        modify_index: entry.modify_index,
        ..Intention::default()
    });
    rows.collect()
}

/// The rows that apply to a service on one side, wildcards included, in order.
pub fn matching<'a>(
    entries: impl Iterator<Item = &'a ServiceIntentions>,
    side: Side,
    name: &str,
) -> Vec<Intention> {
    let rows = entries.flat_map(rows).filter(|row| {
        let candidate = match side {
            Side::Source => &row.source_name,
            Side::Destination => &row.destination_name,
        };
        candidate == name || candidate == "*"
    });
    let mut rows = rows.collect::<Vec<_>>();
    rows.sort_by(compare);
    rows
}

/// Whether a row covers a target, and whether it allows it: `(allows, covers)`. A row with permissions cannot be
/// settled here, and what cannot be evaluated is denied.
pub fn authorize(
    target: &str,
    namespace: &str,
    peer: &str,
    row: &Intention,
    side: Side,
) -> (bool, bool) {
    let (row_namespace, row_name, row_peer) = match side {
        Side::Source => (&row.source_ns, &row.source_name, row.source_peer.as_str()),
        Side::Destination => (&row.destination_ns, &row.destination_name, ""),
    };
    let own = |text: &str| {
        if text.is_empty() {
            "default".to_owned()
        } else {
            text.to_owned()
        }
    };
    let covers = row_peer == peer
        && (row_namespace == "*" || own(row_namespace) == own(namespace))
        && (row_name == "*" || row_name == target);
    (covers && row.action == "allow", covers)
}
