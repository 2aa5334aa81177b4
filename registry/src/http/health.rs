//! `/v1/health/*`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State as Shares};
use axum::response::Response;
use outrigger_consul::check::{HealthCheck, Status};
use outrigger_consul::health::ServiceEntry;

use super::call::Call;
use super::{Shared, blocking, reply};
use crate::config_entry::merge;
use crate::error::Refusal;
use crate::filter::Filter;
use crate::http::blocking::Found;
use crate::state::{Instance, State};
use crate::watch::Topic;

pub(super) async fn unnamed() -> Refusal {
    Refusal::bad("Missing service name")
}

pub(super) async fn service(
    Shares(shared): Shares<Arc<Shared>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let topics = vec![Topic::Service(name.clone())];
    entries(
        &shared,
        &call,
        topics,
        true,
        |instance| instance.service.service == name,
        &name,
    )
    .await
}

pub(super) async fn connect(
    Shares(shared): Shares<Arc<Shared>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let topics = vec![Topic::Connect(name.clone())];
    entries(
        &shared,
        &call,
        topics,
        false,
        |instance| instance.connect_destination() == Some(&name),
        &name,
    )
    .await
}

async fn entries(
    shared: &Arc<Shared>,
    call: &Call,
    topics: Vec<Topic>,
    by_tag: bool,
    wanted: impl Fn(&Instance) -> bool,
    name: &str,
) -> Result<Response, Refusal> {
    if name.trim().is_empty() {
        return Err(Refusal::bad("Missing service name"));
    }
    let passing = passing(call)?;
    let filter = filter::<ServiceEntry>(shared, call)?;
    let tags = if by_tag {
        call.query.values("tag").map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    let node_meta = node_meta(call);
    let central = call.query.has("merge-central-config");
    blocking::answer(shared, call, |state| {
        let mut topics = topics.clone();
        let instances = state.instances.values().filter(|instance| wanted(instance));
        let instances = instances.collect::<Vec<_>>();
        let index = state.index_of_names(
            instances
                .iter()
                .map(|instance| instance.service.service.as_str()),
        );
        let mut found = Vec::new();
        for instance in instances {
            let Some(mut entry) = entry_of(state, instance) else {
                continue;
            };
            if central {
                let (merged, consulted) = merge::service(&state.config, &entry.service);
                entry.service = merged;
                let consulted = consulted.into_iter();
                topics.extend(consulted.map(|(kind, name)| Topic::Config(kind, name)));
            }
            let tagged = tags.iter().all(|tag| entry.service.tags.contains(tag));
            let placed = node_meta
                .iter()
                .all(|(key, value)| entry.node.meta.get(key) == Some(value));
            let healthy = !passing
                || entry
                    .checks
                    .iter()
                    .all(|check| check.status == Status::Passing);
            if tagged && placed && healthy && keeps(filter.as_ref(), &entry) {
                found.push(entry);
            }
        }
        let body = encode_list(shared, call, &found)?;
        if central {
            let index = index.max(state.tables.config);
            return Ok(Found::json(index, topics, body).suppressing());
        }
        Ok(Found::json(index, topics, body))
    })
    .await
}

fn passing(call: &Call) -> Result<bool, Refusal> {
    match call.query.value("passing") {
        None => Ok(false),
        Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(Refusal::bad("Invalid value for ?passing")),
    }
}

pub(super) fn node_meta(call: &Call) -> Vec<(String, String)> {
    let pairs = call
        .query
        .values("node-meta")
        .filter_map(|pair| pair.split_once(':'));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// `?filter=`, checked against what is filtered.
pub(super) fn filter<T: outrigger_consul::shape::Shaped>(
    shared: &Shared,
    call: &Call,
) -> Result<Option<Filter>, Refusal> {
    match call.query.value("filter").filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => {
            let filter = Filter::over::<T>(text, &shared.config.limits);
            filter.map(Some).map_err(|error| {
                let text = format!("Failed to create boolean expression evaluator: {error}");
                let refusal = Refusal::server(text);
                match error.limit() {
                    Some(limit) => refusal.past(limit),
                    None => refusal,
                }
            })
        }
    }
}

pub(super) fn keeps<T: serde::Serialize>(filter: Option<&Filter>, item: &T) -> bool {
    filter.is_none_or(|filter| serde_json::to_value(item).is_ok_and(|json| filter.matches(&json)))
}

pub(super) fn encode_list<T: serde::Serialize>(
    shared: &Shared,
    call: &Call,
    list: &[T],
) -> Result<bytes::Bytes, Refusal> {
    let most = shared.config.limits.list_items;
    if list.len() > most {
        return Err(Refusal::server(format!(
            "the answer has more than {most} items; narrow it with a filter"
        ))
        .past("list_items"));
    }
    reply::encode(call, &list)
}

fn entry_of(state: &State, instance: &Instance) -> Option<ServiceEntry> {
    let node = state.nodes.get(&instance.node)?;
    let of_node = state.checks_of(&instance.node, "");
    let checks = of_node.chain(state.checks_of(&instance.node, &instance.service.id));
    Some(ServiceEntry {
        node: (**node).clone(),
        service: instance.service.clone(),
        checks: checks.map(|check| check.health.clone()).collect(),
    })
}

/// Every check of a service name.
pub(super) async fn checks(
    Shares(shared): Shares<Arc<Shared>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let topics = vec![Topic::Service(name.clone())];
    list(
        &shared,
        &call,
        topics,
        |state| state.index_of_names(std::iter::once(name.as_str())),
        |check| check.service_name == name,
    )
    .await
}

/// Every check of a node and of the services on it.
pub(super) async fn node(
    Shares(shared): Shares<Arc<Shared>>,
    Path(node): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    list(
        &shared,
        &call,
        vec![Topic::Checks],
        |state| state.index,
        |check| check.node == node,
    )
    .await
}

pub(super) async fn state(
    Shares(shared): Shares<Arc<Shared>>,
    Path(status): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let any = status == "any";
    let wanted = Status::parse(&status);
    list(
        &shared,
        &call,
        vec![Topic::Checks],
        |state| state.index,
        |check| any || wanted == Some(check.status),
    )
    .await
}

async fn list(
    shared: &Arc<Shared>,
    call: &Call,
    topics: Vec<Topic>,
    index: impl Fn(&State) -> u64,
    wanted: impl Fn(&HealthCheck) -> bool,
) -> Result<Response, Refusal> {
    let filter = filter::<HealthCheck>(shared, call)?;
    blocking::answer(shared, call, |state| {
        let all = state.checks.values().map(|check| &check.health);
        let found = all
            .filter(|check| wanted(check) && keeps(filter.as_ref(), check))
            .collect::<Vec<_>>();
        let body = encode_list(shared, call, &found)?;
        Ok(Found::json(index(state), topics.clone(), body).suppressing())
    })
    .await
}

/// The names a set of instances carries.
pub(super) fn names<'a>(instances: impl Iterator<Item = &'a Arc<Instance>>) -> BTreeSet<&'a str> {
    instances
        .map(|instance| instance.service.service.as_str())
        .collect()
}
