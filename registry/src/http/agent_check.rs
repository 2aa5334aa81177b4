//! `/v1/agent/check*`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State as Shares};
use axum::response::Response;
use outrigger_consul::check::{CheckDefinition, CheckUpdate, HealthCheck, Status};

use super::call::Call;
use super::health::{filter, keeps};
use super::{Shared, reply};
use crate::error::Refusal;
use crate::state::{Key, State, check};
use crate::token::Access;

pub(super) async fn list(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let filter = filter::<HealthCheck>(&shared, &call)?;
    let state = shared.store.state();
    let all = state.checks.values().map(|check| &check.health);
    let own = all.filter(|check| check.node == shared.node() && check.check_id != check::SERF);
    let kept = own.filter(|check| keeps(filter.as_ref(), check));
    let by_id = kept.map(|check| (check.check_id.as_str(), shared.runners.with_output(check)));
    reply::json(&call, &by_id.collect::<BTreeMap<_, _>>())
}

pub(super) async fn register(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let definition = call.decode::<CheckDefinition>()?;
    let (node, limits) = (shared.node().to_owned(), shared.config.limits.clone());
    let access = call.access.clone();
    shared
        .store
        .write(move |state| {
            may_write(state, &node, &access, &definition.service_id)?;
            if let Some(taken) = state.check(&node, check::id_of(&definition)) {
                may_write(state, &node, &access, &taken.health.service_id)?;
            }
            check::register(state, &node, definition, &limits)
        })
        .await?;
    Ok(reply::empty())
}

/// A check of a service needs the service's rights, one of the node needs management.
fn may_write(state: &State, node: &str, access: &Access, service_id: &str) -> Result<(), Refusal> {
    if service_id.is_empty() {
        return access.manage();
    }
    match state.instance(node, service_id) {
        Some(instance) => access.write_service(&instance.service.service),
        None => access.manage().or(Err(Refusal::not_found(format!(
            "ServiceID {service_id:?} does not exist"
        )))),
    }
}

/// The check, if the caller may touch it.
fn owned(shared: &Shared, call: &Call, id: &str) -> Result<Key, Refusal> {
    let state = shared.store.state();
    let check = state
        .check(shared.node(), id)
        .ok_or_else(|| check::unknown(id))?;
    may_write(
        &state,
        shared.node(),
        &call.access,
        &check.health.service_id,
    )?;
    Ok(check.key())
}

pub(super) async fn deregister(
    Shares(shared): Shares<Arc<Shared>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    owned(&shared, &call, &id)?;
    let node = shared.node().to_owned();
    shared
        .store
        .write(move |state| check::deregister(state, &node, &id))
        .await?;
    Ok(reply::empty())
}

pub(super) async fn pass(
    Shares(shared): Shares<Arc<Shared>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let note = call.query.value("note").unwrap_or_default().to_owned();
    report(&shared, &call, &id, Status::Passing, &note).await
}

pub(super) async fn warn(
    Shares(shared): Shares<Arc<Shared>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let note = call.query.value("note").unwrap_or_default().to_owned();
    report(&shared, &call, &id, Status::Warning, &note).await
}

pub(super) async fn fail(
    Shares(shared): Shares<Arc<Shared>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let note = call.query.value("note").unwrap_or_default().to_owned();
    report(&shared, &call, &id, Status::Critical, &note).await
}

pub(super) async fn update(
    Shares(shared): Shares<Arc<Shared>>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let update = call.decode::<CheckUpdate>()?;
    let invalid = || Refusal::bad(format!("Invalid check status: '{}'", update.status));
    let status = Status::parse(&update.status).ok_or_else(invalid)?;
    report(&shared, &call, &id, status, &update.output).await
}

async fn report(
    shared: &Shared,
    call: &Call,
    id: &str,
    status: Status,
    output: &str,
) -> Result<Response, Refusal> {
    let key = owned(shared, call, id)?;
    let definition = shared
        .store
        .state()
        .checks
        .get(&key)
        .map(|check| check.definition.clone());
    if definition.is_none_or(|definition| check::method(&definition) != check::Method::Ttl) {
        return Err(Refusal::server(format!(
            "CheckID {id:?} does not have associated TTL"
        )));
    }
    // The clock is set back before the write: an expiry that is under way finds a newer report.
    shared.runners.report(&key, output);
    let output = output.to_owned();
    shared
        .store
        .write(move |state| Ok(check::report(state, &key, status, &output)))
        .await?;
    Ok(reply::empty())
}
