//! `/v1/agent/service*`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State as Shares};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode};
use outrigger_consul::check::{HealthCheck, Status};
use outrigger_consul::service::{Service, ServiceRegistration};
use serde_json::json;
use tokio::time::sleep_until;

use super::call::Call;
use super::health::{filter, keeps};
use super::{Shared, agent, blocking, reply};
use crate::config_entry::merge;
use crate::error::Refusal;
use crate::state::{Instance, State, check, service};
use crate::watch::Topic;

pub(super) async fn register(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let registration = call.decode::<ServiceRegistration>()?;
    for name in service::claims(&registration) {
        call.access.write_service(&name)?;
    }
    let id = if registration.id.is_empty() {
        registration.name.clone()
    } else {
        registration.id.clone()
    };
    own_id(&shared, &call, &id)?;
    let replace = call
        .query
        .value("replace-existing-checks")
        .is_some_and(|value| value.is_empty() || value == "true");
    let (node, limits) = (shared.node().to_owned(), shared.config.limits.clone());
    shared
        .store
        .write(move |state| service::register(state, &node, &registration, replace, &limits))
        .await?;
    Ok(reply::empty())
}

/// An id that belongs to another service's instance may not be taken over or removed.
fn own_id(shared: &Shared, call: &Call, id: &str) -> Result<(), Refusal> {
    let state = shared.store.state();
    match state.instance(shared.node(), id) {
        Some(instance) => call.access.write_service(&instance.service.service),
        None => Ok(()),
    }
}

pub(super) async fn deregister(
    Shares(shared): Shares<Arc<Shared>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    own_id(&shared, &call, &id)?;
    let node = shared.node().to_owned();
    shared
        .store
        .write(move |state| service::deregister(state, &node, &id))
        .await?;
    Ok(reply::empty())
}

pub(super) async fn maintenance(
    Shares(shared): Shares<Arc<Shared>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let enable = agent::enable(&call)?;
    own_id(&shared, &call, &id)?;
    let reason = call.query.value("reason").unwrap_or_default().to_owned();
    let node = shared.node().to_owned();
    shared
        .store
        .write(move |state| check::maintenance(state, &node, Some(&id), enable, &reason))
        .await?;
    Ok(reply::empty())
}

pub(super) async fn list(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let filter = filter::<Service>(&shared, &call)?;
    let state = shared.store.state();
    let own = state
        .instances
        .values()
        .filter(|instance| instance.node == shared.node() && instance.service.id != "consul");
    let services = own.map(|instance| {
        let mut service = instance.service.clone();
        service.datacenter.clone_from(&shared.config.datacenter);
        service
    });
    let kept = services.filter(|service| keeps(filter.as_ref(), service));
    reply::json(
        &call,
        &kept
            .map(|service| (service.id.clone(), service))
            .collect::<BTreeMap<_, _>>(),
    )
}

/// One instance merged with the central configuration; with `hash` it blocks until the content differs.
pub(super) async fn one(
    Shares(shared): Shares<Arc<Shared>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let options = call.read_options()?;
    let hash = call.query.value("hash").unwrap_or_default();
    let deadline = blocking::deadline(&shared, &options);
    let mut held = None;
    loop {
        let state = shared.store.state();
        let unknown = || Refusal::not_found(format!("unknown service ID: {id}"));
        let instance = state.instance(shared.node(), &id).ok_or_else(unknown)?;
        let (service, topics) = merged(&shared, &state, instance);
        let subscription = shared.store.subscribe(topics);
        if !Arc::ptr_eq(&shared.store.state(), &state) {
            continue;
        }
        let done = hash.is_empty() || service.content_hash != hash;
        if !done && held.is_none() {
            held = Some(blocking::park(&shared, &call)?);
        }
        let over = done
            || tokio::select! {
                () = subscription.woken() => false,
                () = sleep_until(deadline) => true,
                () = shared.stopping.cancelled() => true,
            };
        if over {
            let mut response = reply::json(&call, &service)?;
            if let Ok(value) = HeaderValue::from_str(&service.content_hash) {
                response.headers_mut().insert("x-consul-contenthash", value);
            }
            return Ok(response);
        }
    }
}

/// The merged instance with its content hash, and what it depends on.
fn merged(shared: &Shared, state: &State, instance: &Instance) -> (Service, Vec<Topic>) {
    let (mut service, consulted) = merge::service(&state.config, &instance.service);
    service.datacenter.clone_from(&shared.config.datacenter);
    (service.create_index, service.modify_index) = (0, 0);
    let digest =
        <sha2::Sha256 as sha2::Digest>::digest(serde_json::to_vec(&service).unwrap_or_default());
    service.content_hash = hex::encode(&digest[..8]);
    let mut topics = vec![Topic::Instance(service.id.clone())];
    topics.extend(
        consulted
            .into_iter()
            .map(|(kind, name)| Topic::Config(kind, name)),
    );
    (service, topics)
}

fn checks_and_status(
    shared: &Shared,
    state: &State,
    instance: &Instance,
) -> (Vec<HealthCheck>, Status) {
    let of_node = state
        .checks_of(shared.node(), "")
        .filter(|check| check.health.check_id != check::SERF);
    let all = of_node.chain(state.checks_of(shared.node(), &instance.service.id));
    let checks = all
        .map(|check| shared.runners.with_output(&check.health))
        .collect::<Vec<_>>();
    let worst = checks
        .iter()
        .map(|check| check.status)
        .max()
        .unwrap_or(Status::Passing);
    (checks, worst)
}

fn code(status: Status) -> StatusCode {
    match status {
        Status::Passing => StatusCode::OK,
        Status::Warning => StatusCode::TOO_MANY_REQUESTS,
        Status::Critical => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn as_text(call: &Call) -> bool {
    call.query.value("format") == Some("text") || call.wants_text
}

pub(super) async fn health_by_id(
    Shares(shared): Shares<Arc<Shared>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let state = shared.store.state();
    let Some(instance) = state.instance(shared.node(), &id) else {
        return Err(Refusal::not_found(format!("ServiceId {id} not found")));
    };
    let (checks, status) = checks_and_status(&shared, &state, instance);
    if as_text(&call) {
        return Ok((code(status), status.as_str()).into_response());
    }
    let body = json!({"AggregatedStatus": status, "Checks": checks, "Service": instance.service});
    reply::json_with(code(status), &call, &body)
}

pub(super) async fn health_by_name(
    Shares(shared): Shares<Arc<Shared>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let state = shared.store.state();
    let here = state
        .named(&name)
        .filter(|instance| instance.node == shared.node());
    let mut worst = None;
    let mut bodies = Vec::new();
    for instance in here {
        let (checks, status) = checks_and_status(&shared, &state, instance);
        worst = worst.max(Some(status));
        bodies.push(
            json!({"AggregatedStatus": status, "Checks": checks, "Service": instance.service}),
        );
    }
    let Some(worst) = worst else {
        return Err(Refusal::not_found(format!("ServiceName {name} Not Found")));
    };
    if as_text(&call) {
        return Ok((code(worst), worst.as_str()).into_response());
    }
    reply::json_with(code(worst), &call, &bodies)
}
