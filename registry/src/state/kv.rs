//! Keys and values.

use outrigger_consul::kv::KvPair;

use super::{Change, State};
use crate::store::Decided;

/// Writes a key. With `cas`, only if its index is that one (0: only if there is none). A write that changes nothing
/// moves no index.
pub(crate) fn put(
    state: &State,
    key: &str,
    value: &[u8],
    flags: Option<u64>,
    cas: Option<u64>,
) -> Decided {
    let old = state.kv.get(key);
    if !matches(old.map(|old| old.modify_index), cas) {
        return Decided::refused();
    }
    let mut next = old.map_or_else(
        || KvPair {
            key: key.to_owned(),
            ..KvPair::default()
        },
        |old| KvPair::clone(old),
    );
    next.value = KvPair::encode(value);
    next.flags = flags.unwrap_or_default();
    if old.is_some_and(|old| **old == next) {
        return Decided::done(Vec::new());
    }
    Decided::done(vec![Change::PutKey(Box::new(next))])
}

/// Deletes a key. With `cas`, only if its index is that one; a key that is gone already counts as deleted.
pub(crate) fn delete(state: &State, key: &str, cas: Option<u64>) -> Decided {
    match state.kv.get(key) {
        None => Decided::done(Vec::new()),
        Some(old) if cas.is_some_and(|cas| cas != old.modify_index) => Decided::refused(),
        Some(_) => Decided::done(vec![Change::DeleteKey(key.to_owned())]),
    }
}

/// Deletes every key that starts so.
pub(crate) fn delete_tree(state: &State, prefix: &str) -> Decided {
    let keys = under(state, prefix).map(|pair| Change::DeleteKey(pair.key.clone()));
    Decided::done(keys.collect())
}

/// The keys that start so, in order.
pub(crate) fn under<'a>(
    state: &'a State,
    prefix: &'a str,
) -> impl Iterator<Item = &'a std::sync::Arc<KvPair>> {
    let from = state.kv.range(prefix.to_owned()..);
    from.take_while(move |(key, _)| key.starts_with(prefix))
        .map(|(_, pair)| pair)
}

/// The index of a prefix read: the highest under it, deleted keys included; the table's when there is nothing.
pub(crate) fn prefix_index(state: &State, prefix: &str) -> u64 {
    let live = under(state, prefix).map(|pair| pair.modify_index).max();
    let dead = state.tombstones.range(prefix.to_owned()..);
    let dead = dead
        .take_while(|(key, _)| key.starts_with(prefix))
        .map(|(_, index)| *index)
        .max();
    match live.max(dead) {
        Some(index) => index.max(state.tables.tombstone_floor),
        None => state.tables.kv,
    }
}

/// The index of a read of one key: its own, or its tombstone's, or the table's.
pub(crate) fn key_index(state: &State, key: &str) -> u64 {
    let own = state.kv.get(key).map(|pair| pair.modify_index);
    own.or_else(|| state.tombstones.get(key).copied())
        .unwrap_or(state.tables.kv)
}

pub(crate) fn matches(index: Option<u64>, cas: Option<u64>) -> bool {
    match cas {
        None => true,
        Some(0) => index.is_none(),
        Some(wanted) => index == Some(wanted),
    }
}
