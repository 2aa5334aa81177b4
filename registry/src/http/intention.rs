//! `/v1/connect/intentions*`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State as Shares;
use axum::response::Response;
use outrigger_consul::config::Kind;
use outrigger_consul::config::intentions::SourceIntention;
use outrigger_consul::intention::Intention;

use super::blocking::Found;
use super::call::Call;
use super::health::{encode_list, filter, keeps};
use super::{Shared, blocking, reply};
use crate::config::Policy;
use crate::error::Refusal;
use crate::intention::{Side, authorize, compare, matching as matching_rows, rows};
use crate::state::{State, intention};
use crate::watch::Topic;

fn topics() -> Vec<Topic> {
    vec![Topic::ConfigKind(Kind::ServiceIntentions)]
}

fn required<'a>(call: &'a Call, name: &str) -> Result<&'a str, Refusal> {
    let missing = || Refusal::server(format!("required query parameter '{name}' not set"));
    call.query
        .value(name)
        .filter(|value| !value.is_empty())
        .ok_or_else(missing)
}

/// `svc`, `ns/svc` or `partition/ns/svc`; only `default` exists for the first two.
fn name(text: &str, side: &str) -> Result<String, Refusal> {
    let parts = text.split('/').collect::<Vec<_>>();
    let (partition, namespace, name) = match parts.as_slice() {
        [name] => ("default", "default", *name),
        [namespace, name] => ("default", *namespace, *name),
        [partition, namespace, name] => (*partition, *namespace, *name),
        _ => return Err(Refusal::bad("input can contain at most two '/'")),
    };
    if partition != "default" {
        return Err(Refusal::bad(format!(
            "Invalid {side}Partition({partition}): Partitions is a Consul Enterprise feature"
        )));
    }
    if namespace != "default" {
        return Err(Refusal::bad(format!(
            "Invalid {side}NS({namespace}): Namespaces is a Consul Enterprise feature"
        )));
    }
    Ok(name.to_owned())
}

pub(super) async fn matching(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let side = match required(&call, "by")? {
        "source" => Side::Source,
        "destination" => Side::Destination,
        _ => {
            return Err(Refusal::server(
                "'by' parameter must be one of 'source' or 'destination'",
            ));
        }
    };
    required(&call, "name")?;
    let asked = call.query.values("name").map(|text| {
        let parsed = name(text, "Source").map_err(|refusal| match text.matches('/').count() {
            0..3 => refusal,
            _ => Refusal::server(format!("name {text:?} is invalid: {}", refusal.message)),
        });
        Ok((text.to_owned(), parsed?))
    });
    let asked = asked.collect::<Result<Vec<_>, Refusal>>()?;
    blocking::answer(&shared, &call, |state| {
        let by_name = asked.iter().map(|(text, name)| {
            let rows = matching_rows(intention::all(state), side, name);
            // No intention is null here, not an empty list.
            (text, (!rows.is_empty()).then_some(rows))
        });
        let body = reply::encode(&call, &by_name.collect::<BTreeMap<_, _>>())?;
        Ok(Found::json(state.tables.config, topics(), body).suppressing())
    })
    .await
}

pub(super) async fn list(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let filter = filter::<Intention>(&shared, &call)?;
    blocking::answer(&shared, &call, |state| {
        let mut all = intention::all(state).flat_map(rows).collect::<Vec<_>>();
        all.sort_by(compare);
        all.retain(|row| keeps(filter.as_ref(), row));
        let body = encode_list(&shared, &call, &all)?;
        Ok(Found::json(state.tables.config, topics(), body).suppressing())
    })
    .await
}

fn pair(call: &Call) -> Result<(String, String), Refusal> {
    let (source, destination) = (required(call, "source")?, required(call, "destination")?);
    Ok((name(source, "Source")?, name(destination, "Destination")?))
}

fn find(state: &State, source: &str, destination: &str) -> Option<Intention> {
    let entry = intention::entry_of(state, destination)?;
    rows(entry)
        .into_iter()
        .find(|row| row.source_name == source && row.source_peer.is_empty())
}

pub(super) async fn exact(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let (source, destination) = pair(&call)?;
    blocking::answer(&shared, &call, |state| {
        let Some(row) = find(state, &source, &destination) else {
            return Ok(Found::absent(
                state.tables.config,
                topics(),
                "Intention not found".to_owned(),
            ));
        };
        Ok(Found::json(state.tables.config, topics(), reply::encode(&call, &row)?).suppressing())
    })
    .await
}

pub(super) async fn put_exact(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    call.access.manage()?;
    let (source, destination) = pair(&call)?;
    let body = call.decode::<Intention>()?;
    let decide = move |state: &State| {
        let own = intention::entry_of(state, &destination)
            .map(|entry| entry.meta.clone())
            .unwrap_or_default();
        if !body.meta.is_empty() && body.meta != own {
            return Err(Refusal::server(
                "Meta must not be specified, or should be unchanged during an update.",
            ));
        }
        let source = SourceIntention {
            name: source,
            action: body.action,
            permissions: body.permissions,
            description: body.description,
            r#type: body.source_type,
            ..SourceIntention::default()
        };
        intention::put(state, &destination, source)
    };
    shared.store.write(decide).await?;
    reply::json(&call, &true)
}

pub(super) async fn delete_exact(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    call.access.manage()?;
    let (source, destination) = pair(&call)?;
    shared
        .store
        .write(move |state| intention::delete(state, &source, &destination))
        .await?;
    reply::json(&call, &true)
}

/// Whether a source may call a destination at L4. Permissions count as not allowed; no match is the default policy.
pub(super) async fn check(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let (source, destination) = pair(&call)?;
    let state = shared.store.state();
    let rows = matching_rows(intention::all(&state), Side::Destination, &destination);
    let verdicts = rows
        .iter()
        .map(|row| authorize(&source, "", "", row, Side::Source));
    let verdict = verdicts.into_iter().find(|(_, covers)| *covers);
    let allowed = verdict.map_or(
        shared.config.default_policy == Policy::Allow,
        |(allows, _)| allows,
    );
    reply::json(&call, &BTreeMap::from([("Allowed", allowed)]))
}
