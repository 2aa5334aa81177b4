//! Checks: what a definition becomes, and how their state changes.

use std::time::Duration;

use http::StatusCode;
use outrigger_consul::check::{CheckDefinition, HealthCheck, Status};

use super::{Change, Check, Key, State};
use crate::error::Refusal;
use crate::limit::Limits;
use crate::store::Decided;

/// The node's own liveness, which passes as long as anybody can ask.
pub(crate) const SERF: &str = "serfHealth";
pub(crate) const NODE_MAINTENANCE: &str = "_node_maintenance";
const SERVICE_MAINTENANCE: &str = "_service_maintenance:";
/// Bytes of output that are kept.
pub(crate) const OUTPUT: usize = 4096;

/// How a check is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Ttl,
    Http,
    Tcp,
    Grpc,
    Alias,
    /// Set by somebody else: maintenance, `serfHealth`.
    Given,
}

pub(crate) fn method(definition: &CheckDefinition) -> Method {
    let alias = !definition.alias_service.is_empty() || !definition.alias_node.is_empty();
    if alias {
        Method::Alias
    } else if !definition.http.is_empty() {
        Method::Http
    } else if !definition.grpc.is_empty() {
        Method::Grpc
    } else if !definition.tcp.is_empty() {
        Method::Tcp
    } else if !definition.ttl.is_zero() {
        Method::Ttl
    } else {
        Method::Given
    }
}

fn type_name(definition: &CheckDefinition) -> &'static str {
    match method(definition) {
        Method::Ttl => "ttl",
        Method::Http => "http",
        Method::Tcp => "tcp",
        Method::Grpc => "grpc",
        Method::Alias => "alias",
        Method::Given => "",
    }
}

/// Refuses what cannot be run, in Consul's words where it has some.
pub(crate) fn validate(definition: &CheckDefinition, limits: &Limits) -> Result<(), String> {
    let unsupported = [
        (
            "script",
            !definition.script_args.is_empty() || !definition.args.is_empty(),
        ),
        (
            "docker",
            !definition.docker_container_id.is_empty() || !definition.shell.is_empty(),
        ),
        ("os_service", !definition.os_service.is_empty()),
        ("udp", !definition.udp.is_empty()),
        ("h2ping", !definition.h2ping.is_empty()),
    ];
    if let Some((name, _)) = unsupported.iter().find(|(_, used)| *used) {
        return Err(format!("{name} checks are not run by this registry"));
    }
    if definition.grpc_use_tls || definition.tcp_use_tls || definition.http.starts_with("https:") {
        return Err("checks over TLS are not run by this registry".to_owned());
    }
    let (interval, ttl) = (definition.interval.0 > 0, definition.ttl.0 > 0);
    let probes = [&definition.http, &definition.grpc, &definition.tcp];
    let probe = probes.iter().any(|target| !target.is_empty());
    match method(definition) {
        Method::Alias if interval => {
            return Err("Interval cannot be set for Alias checks".to_owned());
        }
        Method::Alias if ttl => return Err("TTL must be not be set for Alias checks".to_owned()),
        Method::Alias => {}
        _ if interval && ttl => return Err("Interval and TTL cannot both be specified".to_owned()),
        _ if probe && !interval => {
            return Err(
                "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
                    .to_owned(),
            );
        }
        _ if !probe && !ttl => return Err("TTL must be > 0 for TTL checks".to_owned()),
        _ => {}
    }
    if !definition.http.is_empty() && http::Uri::try_from(definition.http.as_str()).is_err() {
        return Err(format!("HTTP address {:?} is not a URL", definition.http));
    }
    if definition.output_max_size < 0 {
        return Err("MaxOutputMaxSize must be positive".to_owned());
    }
    let text = [
        &definition.name,
        &definition.notes,
        &definition.http,
        &definition.grpc,
        &definition.tcp,
        &definition.body,
    ];
    if text.iter().any(|text| text.len() > limits.filter_bytes)
        || definition.check_id.len() > 2 * limits.name
    {
        return Err("a field is too long".to_owned());
    }
    Ok(())
}

/// The initial status a definition asks for.
pub(crate) fn initial_status(definition: &CheckDefinition) -> Option<Status> {
    match definition.status.as_str() {
        "" => Some(Status::Critical),
        text => Status::parse(text),
    }
}

/// A check as first seen. The caller keeps the state of one that exists.
pub(crate) fn fresh(
    node: &str,
    service: Option<(&str, &str, &[String])>,
    definition: CheckDefinition,
) -> Check {
    let (service_id, service_name, tags) = service.unwrap_or(("", "", &[]));
    let print = |duration: outrigger_consul::GoDuration| {
        if duration.is_zero() {
            String::new()
        } else {
            duration.to_string()
        }
    };
    let mut health = HealthCheck {
        node: node.to_owned(),
        check_id: definition.check_id.clone(),
        name: definition.name.clone(),
        status: initial_status(&definition).unwrap_or_default(),
        notes: definition.notes.clone(),
        service_id: service_id.to_owned(),
        service_name: service_name.to_owned(),
        service_tags: tags.to_vec(),
        r#type: type_name(&definition).to_owned(),
        interval: print(definition.interval),
        timeout: print(definition.timeout),
        ..HealthCheck::default()
    };
    health.definition.http.clone_from(&definition.http);
    health.definition.tcp.clone_from(&definition.tcp);
    health.definition.grpc.clone_from(&definition.grpc);
    health.definition.interval = definition.interval;
    health.definition.timeout = definition.timeout;
    Check { health, definition }
}

/// Writes a check, keeping the state of one that exists under the same id. `None` if nothing changes.
pub(crate) fn upsert(state: &State, mut check: Check) -> Option<Change> {
    if let Some(old) = state.checks.get(&check.key()) {
        check.health.status = old.health.status;
        check.health.output.clone_from(&old.health.output);
        check.health.create_index = old.health.create_index;
        check.health.modify_index = old.health.modify_index;
        if **old == check {
            return None;
        }
    }
    Some(Change::PutCheck(Box::new(check)))
}

/// The id a check that is registered by itself gets.
pub(crate) fn id_of(definition: &CheckDefinition) -> &str {
    let given = [&definition.check_id, &definition.id];
    let given = given.into_iter().find(|id| !id.is_empty());
    given.unwrap_or(&definition.name)
}

/// Registers a check by itself, on the node or on a service of it.
pub(crate) fn register(
    state: &State,
    node: &str,
    mut definition: CheckDefinition,
    limits: &Limits,
) -> Result<Decided, Refusal> {
    if definition.name.is_empty() {
        return Err(Refusal::bad("Missing check name"));
    }
    if initial_status(&definition).is_none() {
        return Err(Refusal::bad("Bad check status"));
    }
    validate(&definition, limits)
        .map_err(|message| Refusal::bad(format!("Invalid check: {message}")))?;
    definition.check_id = id_of(&definition).to_owned();
    let service_id = definition.service_id.clone();
    let instance = match service_id.as_str() {
        "" => None,
        id => {
            let unknown = || Refusal::not_found(format!("ServiceID {id:?} does not exist"));
            Some(state.instance(node, id).ok_or_else(unknown)?)
        }
    };
    let service = instance.map(|instance| {
        let service = &instance.service;
        (
            service.id.as_str(),
            service.service.as_str(),
            service.tags.as_slice(),
        )
    });
    let check = fresh(node, service, definition);
    Ok(Decided::done(upsert(state, check).into_iter().collect()))
}

pub(crate) fn unknown(id: &str) -> Refusal {
    Refusal::not_found(format!(
        "Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name."
    ))
}

pub(crate) fn deregister(state: &State, node: &str, id: &str) -> Result<Decided, Refusal> {
    state.check(node, id).ok_or_else(|| unknown(id))?;
    Ok(Decided::done(vec![Change::DeleteCheck(Key::new(node, id))]))
}

/// A runner's or a TTL client's report. A new output alone changes nothing: it must not wake every watcher.
pub(crate) fn report(state: &State, key: &Key, status: Status, output: &str) -> Decided {
    let Some(old) = state
        .checks
        .get(key)
        .filter(|check| check.health.status != status)
    else {
        return Decided::done(Vec::new());
    };
    let mut next = Check::clone(old);
    next.health.status = status;
    next.health.output = truncated(output);
    Decided::done(vec![Change::PutCheck(Box::new(next))])
}

fn truncated(output: &str) -> String {
    let mut end = output.len().min(OUTPUT);
    while !output.is_char_boundary(end) {
        end -= 1;
    }
    output.get(..end).unwrap_or_default().to_owned()
}

/// Puts a service, or the whole node, into maintenance: a critical check that nobody runs.
pub(crate) fn maintenance(
    state: &State,
    node: &str,
    service: Option<&str>,
    enable: bool,
    reason: &str,
) -> Result<Decided, Refusal> {
    let id = service.map_or_else(
        || NODE_MAINTENANCE.to_owned(),
        |id| format!("{SERVICE_MAINTENANCE}{id}"),
    );
    let instance = match service {
        None => None,
        Some(id) => {
            let missing = || {
                Refusal::new(
                    StatusCode::NOT_FOUND,
                    format!("No service registered with ID {id:?}"),
                )
            };
            Some(state.instance(node, id).ok_or_else(missing)?)
        }
    };
    let exists = state.check(node, &id).is_some();
    if !enable {
        let change = exists.then(|| Change::DeleteCheck(Key::new(node, &id)));
        return Ok(Decided::done(change.into_iter().collect()));
    }
    if exists {
        return Ok(Decided::done(Vec::new()));
    }
    let (name, default) = match service {
        Some(_) => (
            "Service Maintenance Mode",
            "Maintenance mode is enabled for this service, but no reason was provided. This is a default message.",
        ),
        None => (
            "Node Maintenance Mode",
            "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.",
        ),
    };
    let notes = if reason.is_empty() { default } else { reason };
    let definition = CheckDefinition {
        check_id: id,
        name: name.to_owned(),
        notes: notes.to_owned(),
        ..CheckDefinition::default()
    };
    let service = instance.map(|instance| {
        let service = &instance.service;
        (
            service.id.as_str(),
            service.service.as_str(),
            service.tags.as_slice(),
        )
    });
    let mut check = fresh(node, service, definition);
    check.health.r#type = "maintenance".to_owned();
    Ok(Decided::done(vec![Change::PutCheck(Box::new(check))]))
}

/// How long a service's check may stay critical before the service is removed.
pub(crate) fn deregister_after(check: &Check, limits: &Limits) -> Option<Duration> {
    let after = check.definition.deregister_critical_service_after;
    let after = (!after.is_zero()).then(|| after.as_duration()).flatten()?;
    Some(after.max(limits.deregister_min))
}
