//! `/v1/agent/service*`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State as Shares};
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
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
use crate::token::Access;
use crate::watch::Topic;

pub(super) async fn register(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let registration = call.decode::<ServiceRegistration>()?;
    let replace = call
        .query
        .value("replace-existing-checks")
        .is_some_and(|value| value.is_empty() || value == "true");
    let (node, limits) = (shared.node().to_owned(), shared.config.limits.clone());
    let access = call.access.clone();
    shared
        .store
        .write(move |state| {
            // Within the write: between a look and a write somebody else could take the id.
            for name in service::claims(state, &node, &registration) {
                access.write_service(&name)?;
            }
            service::register(state, &node, &registration, replace, &limits)
        })
        .await?;
    Ok(reply::empty())
}

/// An instance may be touched by who may act for its service. One that is not there is the write's business.
fn owned(state: &State, node: &str, access: &Access, id: &str) -> Result<(), Refusal> {
    match state.instance(node, id) {
        Some(instance) => access.write_service(&instance.service.service),
        None => Ok(()),
    }
}

pub(super) async fn unnamed() -> Refusal {
    Refusal::bad("Missing service ID")
}

pub(super) async fn deregister(
    Shares(shared): Shares<Arc<Shared>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let (node, access) = (shared.node().to_owned(), call.access.clone());
    shared
        .store
        .write(move |state| {
            owned(state, &node, &access, &id)?;
            service::deregister(state, &node, &id)
        })
        .await?;
    Ok(reply::empty())
}

pub(super) async fn maintenance(
    Shares(shared): Shares<Arc<Shared>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let enable = agent::enable(&call)?;
    let reason = call.query.value("reason").unwrap_or_default().to_owned();
    let (node, access) = (shared.node().to_owned(), call.access.clone());
    shared
        .store
        .write(move |state| {
            owned(state, &node, &access, &id)?;
            check::maintenance(state, &node, Some(&id), enable, &reason)
        })
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
        let reason = format!("ServiceId {id} not found");
        let body = json!({"AggregatedStatus": "critical", "Service": null, "Checks": null});
        return verdict(&call, StatusCode::NOT_FOUND, &reason, &reason, &body);
    };
    let (body, status) = health_of(&shared, &state, instance);
    verdict(&call, code(status), status.as_str(), status.as_str(), &body)
}

fn health_of(shared: &Shared, state: &State, instance: &Instance) -> (serde_json::Value, Status) {
    let (checks, status) = checks_and_status(shared, state, instance);
    let mut service = instance.service.clone();
    service.datacenter.clone_from(&shared.config.datacenter);
    let body = json!({"AggregatedStatus": status, "Service": service, "Checks": checks});
    (body, status)
}

/// The status is the health. Who asks for text gets a word.
fn verdict(
    call: &Call,
    code: StatusCode,
    reason: &str,
    text: &str,
    body: &impl serde::Serialize,
) -> Result<Response, Refusal> {
    let mut response = if as_text(call) {
        let plain = [(CONTENT_TYPE, HeaderValue::from_static("text/plain"))];
        (code, plain, text.to_owned()).into_response()
    } else {
        reply::json_with(code, call, body)?
    };
    if let Ok(reason) = HeaderValue::from_str(reason) {
        response.headers_mut().insert("x-consul-reason", reason);
    }
    Ok(response)
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
    let found = here.map(|instance| health_of(&shared, &state, instance));
    let (bodies, statuses): (Vec<_>, Vec<_>) = found.unzip();
    let Some(worst) = statuses.into_iter().max() else {
        let reason = format!("ServiceName {name} Not Found");
        return verdict(&call, StatusCode::NOT_FOUND, &reason, &reason, &bodies);
    };
    verdict(&call, code(worst), worst.as_str(), worst.as_str(), &bodies)
}
