//! The config entries of a run, written to either registry before the first sidecar starts: `service-defaults` with the protocol, without
//! which Consul refuses splitters, and one `service-intentions` per destination.
//!
//! An entry that somebody else wrote is theirs: it is left alone and named.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_consul::config::intentions::SourceIntention;
use outrigger_consul::config::{ConfigEntry, Kind, ServiceDefaults, ServiceIntentions};
use outrigger_consul::{Client, Read};

use crate::mesh_file::Protocol;
use crate::plan::Plan;

/// The mark in an entry's meta that makes it ours.
const MARK: &str = "outrigger-up";

#[derive(Debug, thiserror::Error)]
#[error("cannot write {kind} {name:?}: {source}")]
pub(crate) struct Error {
    kind: Kind,
    name: String,
    source: outrigger_consul::Error,
}

/// What an entry should be at the end.
#[derive(Debug, Clone, PartialEq)]
enum Wish {
    Present(ConfigEntry),
    /// Consul knows no intentions without a source; none at all leaves the default policy, which is what is meant.
    Absent(Kind, String),
}

#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    LeaveAlone,
    Write { entry: ConfigEntry, cas: u64 },
    Delete { cas: u64 },
}

/// Writes all entries; answers with the names of those that others own.
pub(crate) async fn write(client: &Client, plan: &Plan) -> Result<Vec<String>, Error> {
    let mut foreign = Vec::new();
    for wish in wishes(plan) {
        let (kind, name) = wish.key();
        let failed = |source| Error {
            kind,
            name: name.clone(),
            source,
        };
        // Somebody may write between our read and our write: then the write does nothing, and we look again.
        for _ in 0..5 {
            let existing = client
                .config_get(kind, &name, &Read::default())
                .await
                .map_err(failed)?
                .value;
            let done = match step(&wish, existing.as_ref()) {
                Step::Nothing => true,
                Step::LeaveAlone => {
                    foreign.push(format!("{kind}/{name}"));
                    true
                }
                Step::Write { entry, cas } => {
                    client.config_put(&entry, Some(cas)).await.map_err(failed)?
                }
                Step::Delete { cas } => client
                    .config_delete(kind, &name, Some(cas))
                    .await
                    .map_err(failed)?,
            };
            if done {
                break;
            }
        }
    }
    Ok(foreign)
}

fn wishes(plan: &Plan) -> Vec<Wish> {
    let defaults = plan
        .protocols
        .iter()
        .map(|(name, protocol)| Wish::Present(defaults(name, *protocol)));
    let intentions = plan
        .callers
        .iter()
        .map(|(name, callers)| match callers.is_empty() {
            true => Wish::Absent(Kind::ServiceIntentions, name.clone()),
            false => Wish::Present(intentions(name, callers)),
        });
    defaults.chain(intentions).collect()
}

fn defaults(name: &str, protocol: Protocol) -> ConfigEntry {
    ConfigEntry::ServiceDefaults(Box::new(ServiceDefaults {
        name: name.to_owned(),
        protocol: protocol.as_str().to_owned(),
        meta: mark(),
        ..ServiceDefaults::default()
    }))
}

fn intentions(destination: &str, callers: &BTreeSet<String>) -> ConfigEntry {
    let allow = |caller: &String| SourceIntention {
        name: caller.clone(),
        action: "allow".to_owned(),
        ..SourceIntention::default()
    };
    ConfigEntry::ServiceIntentions(Box::new(ServiceIntentions {
        name: destination.to_owned(),
        sources: callers.iter().map(allow).collect(),
        meta: mark(),
        ..ServiceIntentions::default()
    }))
}

fn mark() -> BTreeMap<String, String> {
    BTreeMap::from([(MARK.to_owned(), "1".to_owned())])
}

fn step(wish: &Wish, existing: Option<&ConfigEntry>) -> Step {
    match (wish, existing) {
        (Wish::Absent(..), None) => Step::Nothing,
        (Wish::Present(entry), None) => Step::Write {
            entry: entry.clone(),
            cas: 0,
        },
        (_, Some(theirs)) if !theirs.meta().contains_key(MARK) => Step::LeaveAlone,
        (Wish::Absent(..), Some(ours)) => Step::Delete {
            cas: ours.modify_index(),
        },
        (Wish::Present(entry), Some(ours)) if says_the_same(entry, ours) => Step::Nothing,
        (Wish::Present(entry), Some(ours)) => Step::Write {
            entry: entry.clone(),
            cas: ours.modify_index(),
        },
    }
}

/// Compares what we set; the registry adds precedence, types, indexes.
fn says_the_same(wanted: &ConfigEntry, existing: &ConfigEntry) -> bool {
    match (wanted, existing) {
        (ConfigEntry::ServiceDefaults(wanted), ConfigEntry::ServiceDefaults(existing)) => {
            wanted.protocol == existing.protocol
        }
        (ConfigEntry::ServiceIntentions(wanted), ConfigEntry::ServiceIntentions(existing)) => {
            let said = |entry: &ServiceIntentions| -> BTreeSet<(String, String)> {
                entry
                    .sources
                    .iter()
                    .map(|source| (source.name.clone(), source.action.clone()))
                    .collect()
            };
            said(wanted) == said(existing)
        }
        _ => false,
    }
}

impl Wish {
    fn key(&self) -> (Kind, String) {
        match self {
            Self::Present(entry) => (entry.kind(), entry.name().to_owned()),
            Self::Absent(kind, name) => (*kind, name.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(mut entry: ConfigEntry, index: u64) -> ConfigEntry {
        entry.stamp(index, index, 1);
        entry
    }

    fn allow(callers: &[&str]) -> ConfigEntry {
        intentions(
            "pay",
            &callers.iter().map(|&caller| caller.to_owned()).collect(),
        )
    }

    fn without_mark(mut entry: ConfigEntry) -> ConfigEntry {
        match &mut entry {
            ConfigEntry::ServiceDefaults(entry) => entry.meta.clear(),
            ConfigEntry::ServiceIntentions(entry) => entry.meta.clear(),
            other => panic!("not written by us: {other:?}"),
        }
        entry
    }

    #[test]
    fn an_entry_is_written_once_kept_current_and_never_taken_from_others() {
        let grpc = defaults("pay", Protocol::Grpc);
        let absent = Wish::Absent(Kind::ServiceIntentions, "pay".to_owned());
        let cases = [
            (
                Wish::Present(grpc.clone()),
                None,
                Step::Write {
                    entry: grpc.clone(),
                    cas: 0,
                },
            ),
            (
                Wish::Present(grpc.clone()),
                Some(written(grpc.clone(), 7)),
                Step::Nothing,
            ),
            (
                Wish::Present(grpc.clone()),
                Some(written(defaults("pay", Protocol::Tcp), 7)),
                Step::Write {
                    entry: grpc.clone(),
                    cas: 7,
                },
            ),
            (
                Wish::Present(grpc.clone()),
                Some(without_mark(grpc)),
                Step::LeaveAlone,
            ),
            (
                Wish::Present(allow(&["a"])),
                Some(written(allow(&["a", "b"]), 9)),
                Step::Write {
                    entry: allow(&["a"]),
                    cas: 9,
                },
            ),
            (absent.clone(), None, Step::Nothing),
            (
                absent.clone(),
                Some(written(allow(&["a"]), 3)),
                Step::Delete { cas: 3 },
            ),
            (absent, Some(without_mark(allow(&["a"]))), Step::LeaveAlone),
        ];
        for (wish, existing, expected) in cases {
            assert_eq!(
                step(&wish, existing.as_ref()),
                expected,
                "{wish:?} over {existing:?}"
            );
        }
    }
}
