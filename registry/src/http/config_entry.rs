//! `/v1/config/*`.

use std::sync::Arc;

use axum::extract::{Path, State as Shares};
use axum::response::Response;
use outrigger_consul::config::{ConfigEntry, Kind, ServiceDefaults};

use super::blocking::Found;
use super::call::Call;
use super::health::{encode_list, filter, keeps};
use super::{Shared, blocking, reply};
use crate::config_entry::{Via, decode};
use crate::error::Refusal;
use crate::state::config_entry;
use crate::watch::Topic;

fn kind(text: &str) -> Result<Kind, Refusal> {
    Kind::parse(text).ok_or_else(|| Refusal::server(format!("invalid config entry kind: {text}")))
}

pub(super) async fn put(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    call.access.manage()?;
    let failed = |message: String| Refusal::bad(format!("Request decoding failed: {message}"));
    let body = call.json().map_err(failed)?;
    let entry = decode::config_entry(&body).map_err(failed)?;
    if let ConfigEntry::ServiceIntentions(entry) = &entry {
        let legacy = entry.sources.iter().position(|source| {
            !source.legacy_id.is_empty()
                || source.legacy_create_time.is_some()
                || !source.legacy_meta.is_empty()
        });
        if let Some(position) = legacy {
            return Err(Refusal::server(format!(
                "Sources[{position}].LegacyID must be omitted"
            )));
        }
    }
    let cas = call.query.number("cas")?;
    let committed = shared
        .store
        .write(move |state| config_entry::put(state, entry, cas, Via::ConfigEntry))
        .await?;
    reply::json(&call, &committed.answer)
}

pub(super) async fn one(
    Shares(shared): Shares<Arc<Shared>>,
    Path((kind_text, name)): Path<(String, String)>,
    call: Call,
) -> Result<Response, Refusal> {
    let kind = kind(&kind_text)?;
    blocking::answer(&shared, &call, |state| {
        let topics = vec![Topic::Config(kind, name.clone())];
        let Some(entry) = state.entry(kind, &name) else {
            let message = format!("Config entry not found for {kind_text:?} / {name:?}");
            return Ok(Found::absent(state.tables.config, topics, message));
        };
        let body = reply::encode(&call, &**entry)?;
        Ok(Found::json(state.tables.config, topics, body).suppressing())
    })
    .await
}

pub(super) async fn list(
    Shares(shared): Shares<Arc<Shared>>,
    Path(kind_text): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let kind = kind(&kind_text)?;
    let filtered = call
        .query
        .value("filter")
        .is_some_and(|text| !text.is_empty());
    if filtered && kind != Kind::ServiceDefaults {
        return Err(Refusal::server(format!(
            "filtering not supported for config entry kind={kind}"
        )));
    }
    let filter = filter::<ServiceDefaults>(&shared, &call)?;
    blocking::answer(&shared, &call, |state| {
        let from = (kind, String::new());
        let all = state
            .config
            .range(from..)
            .take_while(|((found, _), _)| *found == kind);
        let entries = all
            .map(|(_, entry)| &**entry)
            .filter(|entry| keeps(filter.as_ref(), entry));
        let body = encode_list(&shared, &call, &entries.collect::<Vec<_>>())?;
        Ok(Found::json(state.tables.config, vec![Topic::ConfigKind(kind)], body).suppressing())
    })
    .await
}

pub(super) async fn delete(
    Shares(shared): Shares<Arc<Shared>>,
    Path((kind_text, name)): Path<(String, String)>,
    call: Call,
) -> Result<Response, Refusal> {
    call.access.manage()?;
    let kind = Kind::parse(&kind_text)
        .ok_or_else(|| Refusal::bad(format!("invalid config entry kind: {kind_text}")))?;
    let cas = call.query.number("cas")?;
    let committed = shared
        .store
        .write(move |state| config_entry::delete(state, kind, &name, cas))
        .await?;
    if cas.is_some() {
        return reply::json(&call, &committed.answer);
    }
    reply::json(&call, &serde_json::Map::new())
}
