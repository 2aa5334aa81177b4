//! Registering and deregistering instances, with their checks and nested sidecars.

mod validate;

use std::collections::{BTreeMap, BTreeSet};

use outrigger_consul::check::CheckDefinition;
use outrigger_consul::proxy::ProxyConfig;
use outrigger_consul::service::{
    CONNECT_PROXY, Service, ServiceAddress, ServiceConnect, ServiceRegistration, Weights,
};

use super::{Change, Instance, Key, State, check};
use crate::error::Refusal;
use crate::limit::Limits;
use crate::store::Decided;

/// The ports nested sidecars get, lowest free first.
const SIDECAR_PORTS: std::ops::RangeInclusive<u16> = 21000..=21255;

/// The service names a registration touches: its own, its destination's for a sidecar, its nested sidecar's, and
/// those whose instances or checks it would take over. The empty name stands for the node. A token must cover all.
pub(crate) fn claims(
    state: &State,
    node: &str,
    registration: &ServiceRegistration,
) -> BTreeSet<String> {
    let mut names = BTreeSet::from([registration.name.clone()]);
    if registration.kind == CONNECT_PROXY {
        let proxy = registration.proxy.as_ref();
        names.extend(
            proxy
                .map(|proxy| proxy.destination_service_name.clone())
                .filter(|name| !name.is_empty()),
        );
    }
    let service = service_of(registration);
    let nested_id = format!("{}-sidecar-proxy", service.id);
    let mut checks = definitions(registration, &service);
    let connect = registration.connect.as_ref();
    let nested = connect.and_then(|connect| connect.sidecar_service.as_deref());
    if let Some(nested) = nested {
        if !nested.name.is_empty() {
            names.insert(nested.name.clone());
        }
        let own = service_of(&ServiceRegistration {
            id: nested_id.clone(),
            ..nested.clone()
        });
        checks.extend(definitions(nested, &own));
    }
    let ids = std::iter::once(&service.id).chain(nested.map(|_| &nested_id));
    let taken = ids.filter_map(|id| state.instance(node, id));
    names.extend(taken.map(|instance| instance.service.service.clone()));
    let taken = checks
        .iter()
        .filter_map(|definition| state.check(node, &definition.check_id));
    names.extend(taken.map(|check| check.health.service_name.clone()));
    names
}

/// Registers or updates an instance on a node.
pub(crate) fn register(
    state: &State,
    node: &str,
    registration: &ServiceRegistration,
    replace_checks: bool,
    limits: &Limits,
) -> Result<Decided, Refusal> {
    validate::registration(registration, limits)?;
    let service = service_of(registration);
    let definitions = definitions(registration, &service);
    let mut changes = Vec::new();
    put(
        state,
        node,
        &service,
        "",
        definitions,
        replace_checks,
        &mut changes,
    );
    let nested = registration
        .connect
        .as_ref()
        .and_then(|connect| connect.sidecar_service.as_deref());
    if let Some(nested) = nested {
        sidecar(
            state,
            node,
            &service,
            nested,
            replace_checks,
            limits,
            &mut changes,
        )?;
    }
    Ok(Decided::done(changes))
}

fn service_of(registration: &ServiceRegistration) -> Service {
    let id = if registration.id.is_empty() {
        &registration.name
    } else {
        &registration.id
    };
    let mut tagged = registration.tagged_addresses.clone();
    fill_tagged(&mut tagged, &registration.address, registration.port);
    let native = registration
        .connect
        .as_ref()
        .is_some_and(|connect| connect.native);
    Service {
        kind: registration.kind.clone(),
        id: id.clone(),
        service: registration.name.clone(),
        tags: registration.tags.clone(),
        meta: registration.meta.clone(),
        port: registration.port,
        address: registration.address.clone(),
        weights: registration.weights.clone().unwrap_or(Weights {
            passing: 1,
            warning: 1,
        }),
        enable_tag_override: registration.enable_tag_override,
        tagged_addresses: tagged,
        socket_path: registration.socket_path.clone(),
        locality: registration.locality.clone(),
        proxy: registration.proxy.clone().map(with_defaults),
        connect: native.then(|| ServiceConnect {
            native,
            sidecar_service: None,
        }),
        ..Service::default()
    }
}

fn with_defaults(mut proxy: ProxyConfig) -> ProxyConfig {
    for upstream in &mut proxy.upstreams {
        if upstream.destination_type.is_empty() {
            upstream.destination_type = "service".to_owned();
        }
    }
    proxy
}

fn fill_tagged(tagged: &mut BTreeMap<String, ServiceAddress>, address: &str, port: u16) {
    let Ok(ip) = address.parse::<std::net::IpAddr>() else {
        return;
    };
    let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
    for scope in ["lan", "wan"] {
        let own = || ServiceAddress {
            address: address.to_owned(),
            port,
        };
        tagged
            .entry(format!("{scope}_{family}"))
            .or_insert_with(own);
    }
}

/// `Check` and `Checks` with their ids and names filled in.
fn definitions(registration: &ServiceRegistration, service: &Service) -> Vec<CheckDefinition> {
    // Clients that have no check to register send an empty one.
    let single = registration.check.iter();
    let all = single
        .filter(|definition| **definition != CheckDefinition::default())
        .chain(&registration.checks)
        .cloned()
        .collect::<Vec<_>>();
    let several = all.len() > 1;
    let named = all
        .into_iter()
        .enumerate()
        .map(|(position, mut definition)| {
            if definition.check_id.is_empty() {
                definition.check_id = if several {
                    format!("service:{}:{}", service.id, position + 1)
                } else {
                    format!("service:{}", service.id)
                };
            }
            if definition.name.is_empty() {
                definition.name = format!("Service '{}' check", service.service);
            }
            definition
        });
    named.collect()
}

fn put(
    state: &State,
    node: &str,
    service: &Service,
    sidecar_of: &str,
    definitions: Vec<CheckDefinition>,
    replace_checks: bool,
    changes: &mut Vec<Change>,
) {
    let mut instance = Instance {
        node: node.to_owned(),
        service: service.clone(),
        sidecar_of: sidecar_of.to_owned(),
    };
    let old = state.instance(node, &service.id);
    if let Some(old) = old {
        instance.service.create_index = old.service.create_index;
        instance.service.modify_index = old.service.modify_index;
    }
    if old.is_none_or(|old| **old != instance) {
        changes.push(Change::PutInstance(Box::new(instance)));
    }
    let sent = definitions
        .iter()
        .map(|definition| definition.check_id.clone())
        .collect::<BTreeSet<_>>();
    let owner = Some((
        service.id.as_str(),
        service.service.as_str(),
        service.tags.as_slice(),
    ));
    let checks = definitions
        .into_iter()
        .map(|definition| check::fresh(node, owner, definition));
    changes.extend(checks.filter_map(|check| check::upsert(state, check)));
    if replace_checks {
        let gone = state
            .checks_of(node, &service.id)
            .filter(|check| !sent.contains(&check.health.check_id));
        changes.extend(gone.map(|check| Change::DeleteCheck(check.key())));
    }
}

/// The second service that `Connect.SidecarService` asks for.
fn sidecar(
    state: &State,
    node: &str,
    parent: &Service,
    nested: &ServiceRegistration,
    replace_checks: bool,
    limits: &Limits,
    changes: &mut Vec<Change>,
) -> Result<(), Refusal> {
    let mut registration = nested.clone();
    registration.id = format!("{}-sidecar-proxy", parent.id);
    if registration.name.is_empty() {
        registration.name = format!("{}-sidecar-proxy", parent.service);
    }
    registration.kind = CONNECT_PROXY.to_owned();
    if registration.meta.is_empty() {
        registration.meta.clone_from(&parent.meta);
    }
    if registration.tags.is_empty() {
        registration.tags.clone_from(&parent.tags);
    }
    if registration.address.is_empty() {
        registration.address.clone_from(&parent.address);
    }
    registration.locality = registration.locality.or_else(|| parent.locality.clone());
    let proxy = registration.proxy.get_or_insert_default();
    proxy.destination_service_name.clone_from(&parent.service);
    proxy.destination_service_id.clone_from(&parent.id);
    if proxy.local_service_socket_path.is_empty() {
        if proxy.local_service_address.is_empty() {
            proxy.local_service_address = "127.0.0.1".to_owned();
        }
        if proxy.local_service_port == 0 {
            proxy.local_service_port = parent.port;
        }
    }
    if registration.port == 0 {
        registration.port = sidecar_port(state, node, &registration.id)
            .ok_or_else(|| Refusal::server("none left in the configured sidecar port range"))?;
    }
    if registration.check.is_none() && registration.checks.is_empty() {
        registration.checks = default_checks(&registration, &parent.id);
    }
    validate::registration(&registration, limits).map_err(|refusal| {
        match refusal.message.strip_prefix("Invalid check: ") {
            Some(message) => Refusal::bad(format!("Invalid check in sidecar_service: {message}")),
            None => Refusal::bad(format!("Invalid SidecarService: {}", refusal.message)),
        }
    })?;
    let service = service_of(&registration);
    let definitions = definitions(&registration, &service);
    put(
        state,
        node,
        &service,
        &parent.id,
        definitions,
        replace_checks,
        changes,
    );
    Ok(())
}

fn sidecar_port(state: &State, node: &str, id: &str) -> Option<u16> {
    if let Some(own) = state
        .instance(node, id)
        .filter(|instance| SIDECAR_PORTS.contains(&instance.service.port))
    {
        return Some(own.service.port);
    }
    let here = state
        .instances
        .values()
        .filter(|instance| instance.node == node);
    let taken = here
        .map(|instance| instance.service.port)
        .collect::<BTreeSet<_>>();
    SIDECAR_PORTS.into_iter().find(|port| !taken.contains(port))
}

fn default_checks(registration: &ServiceRegistration, parent: &str) -> Vec<CheckDefinition> {
    let address = if registration.address.is_empty() {
        "127.0.0.1"
    } else {
        &registration.address
    };
    let listening = CheckDefinition {
        name: "Connect Sidecar Listening".to_owned(),
        tcp: format!("{address}:{}", registration.port),
        interval: outrigger_consul::GoDuration::from_secs(10),
        ..CheckDefinition::default()
    };
    let aliasing = CheckDefinition {
        name: format!("Connect Sidecar Aliasing {parent}"),
        alias_service: parent.to_owned(),
        ..CheckDefinition::default()
    };
    vec![listening, aliasing]
}

/// Removes an instance, its checks and the sidecar that came with it.
pub(crate) fn deregister(state: &State, node: &str, id: &str) -> Result<Decided, Refusal> {
    if state.instance(node, id).is_none() {
        return Err(Refusal::not_found(format!(
            "Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name."
        )));
    }
    let mut changes = Vec::new();
    remove(state, node, id, &mut changes);
    let nested = state
        .instances
        .values()
        .filter(|instance| instance.node == node && instance.sidecar_of == id);
    for instance in nested {
        remove(state, node, &instance.service.id, &mut changes);
    }
    Ok(Decided::done(changes))
}

fn remove(state: &State, node: &str, id: &str, changes: &mut Vec<Change>) {
    changes.extend(
        state
            .checks_of(node, id)
            .map(|check| Change::DeleteCheck(check.key())),
    );
    changes.push(Change::DeleteInstance(Key::new(node, id)));
}
