//! Intention writes by source and destination: edits of the destination's `service-intentions`.

use outrigger_consul::config::intentions::SourceIntention;
use outrigger_consul::config::{ConfigEntry, Kind, ServiceIntentions};

use super::{State, config_entry};
use crate::config_entry::Via;
use crate::error::Refusal;
use crate::store::Decided;

pub(crate) fn entry_of<'a>(state: &'a State, destination: &str) -> Option<&'a ServiceIntentions> {
    match state
        .entry(Kind::ServiceIntentions, destination)
        .map(AsRef::as_ref)
    {
        Some(ConfigEntry::ServiceIntentions(entry)) => Some(entry),
        _ => None,
    }
}

/// Every `service-intentions` entry.
pub(crate) fn all(state: &State) -> impl Iterator<Item = &ServiceIntentions> {
    let from = (Kind::ServiceIntentions, String::new());
    let entries = state
        .config
        .range(from..)
        .take_while(|((kind, _), _)| *kind == Kind::ServiceIntentions);
    entries.filter_map(|(_, entry)| match &**entry {
        ConfigEntry::ServiceIntentions(entry) => Some(&**entry),
        _ => None,
    })
}

/// Adds or replaces one source of a destination.
pub(crate) fn put(
    state: &State,
    destination: &str,
    source: SourceIntention,
) -> Result<Decided, Refusal> {
    let fresh = || ServiceIntentions {
        name: destination.to_owned(),
        ..ServiceIntentions::default()
    };
    let mut entry = entry_of(state, destination).cloned().unwrap_or_else(fresh);
    match entry
        .sources
        .iter_mut()
        .find(|old| old.name == source.name && old.peer == source.peer)
    {
        Some(old) => *old = source,
        None => entry.sources.push(source),
    }
    config_entry::put(
        state,
        ConfigEntry::ServiceIntentions(Box::new(entry)),
        None,
        Via::ConfigEntry,
    )
}

/// Removes one source, and the entry with its last one. Removing what is not there succeeds.
pub(crate) fn delete(state: &State, source: &str, destination: &str) -> Result<Decided, Refusal> {
    let Some(entry) = entry_of(state, destination) else {
        return Ok(Decided::done(Vec::new()));
    };
    let mut entry = entry.clone();
    entry
        .sources
        .retain(|old| old.name != source || !old.peer.is_empty());
    if entry.sources.is_empty() {
        return config_entry::delete(state, Kind::ServiceIntentions, destination, None);
    }
    config_entry::put(
        state,
        ConfigEntry::ServiceIntentions(Box::new(entry)),
        None,
        Via::ConfigEntry,
    )
}
