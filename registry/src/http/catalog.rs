//! `/v1/catalog/*`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Path, State as Shares};
use axum::response::Response;
use outrigger_consul::catalog::CatalogService;
use outrigger_consul::health::Node;

use super::blocking::Found;
use super::call::Call;
use super::health::{encode_list, filter, keeps, names, node_meta};
use super::{Shared, blocking, reply};
use crate::error::Refusal;
use crate::state::{Instance, State};
use crate::watch::Topic;

/// Every service name with the union of its tags.
pub(super) async fn services(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    blocking::answer(&shared, &call, |state| {
        let mut services = BTreeMap::<&str, BTreeSet<&str>>::new();
        for instance in state.instances.values() {
            let tags = services.entry(&instance.service.service).or_default();
            tags.extend(instance.service.tags.iter().map(String::as_str));
        }
        let body = reply::encode(&call, &services)?;
        Ok(Found::json(
            state.tables.services,
            vec![Topic::Services],
            body,
        ))
    })
    .await
}

pub(super) async fn service(
    Shares(shared): Shares<Arc<Shared>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let topic = Topic::Service(name.clone());
    instances(&shared, &call, topic, |instance| {
        instance.service.service == name
    })
    .await
}

pub(super) async fn connect(
    Shares(shared): Shares<Arc<Shared>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let topic = Topic::Connect(name.clone());
    instances(&shared, &call, topic, |instance| {
        instance.connect_destination() == Some(&name)
    })
    .await
}

async fn instances(
    shared: &Arc<Shared>,
    call: &Call,
    topic: Topic,
    wanted: impl Fn(&Instance) -> bool,
) -> Result<Response, Refusal> {
    let filter = filter::<CatalogService>(shared, call)?;
    let tags = call
        .query
        .values("tag")
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let node_meta = node_meta(call);
    blocking::answer(shared, call, |state| {
        let all = state.instances.values().filter(|instance| wanted(instance));
        let all = all.collect::<Vec<_>>();
        let index = state.index_of_names(names(all.iter().copied()).into_iter());
        let rows = all
            .into_iter()
            .filter_map(|instance| row(state, instance))
            .filter(|row| {
                tags.iter().all(|tag| row.service_tags.contains(tag))
                    && node_meta
                        .iter()
                        .all(|(key, value)| row.node_meta.get(key) == Some(value))
                    && keeps(filter.as_ref(), row)
            });
        let body = encode_list(shared, call, &rows.collect::<Vec<_>>())?;
        Ok(Found::json(index, vec![topic.clone()], body))
    })
    .await
}

fn row(state: &State, instance: &Instance) -> Option<CatalogService> {
    let node = state.nodes.get(&instance.node)?;
    let service = instance.service.clone();
    Some(CatalogService {
        id: node.id.clone(),
        node: node.node.clone(),
        address: node.address.clone(),
        datacenter: node.datacenter.clone(),
        tagged_addresses: node.tagged_addresses.clone(),
        node_meta: node.meta.clone(),
        service_kind: service.kind,
        service_id: service.id,
        service_name: service.service,
        service_tags: service.tags,
        service_address: service.address,
        service_tagged_addresses: service.tagged_addresses,
        service_weights: service.weights,
        service_meta: service.meta,
        service_port: service.port,
        service_socket_path: service.socket_path,
        service_enable_tag_override: service.enable_tag_override,
        service_proxy: service.proxy.unwrap_or_default(),
        service_connect: service.connect.unwrap_or_default(),
        service_locality: service.locality,
        create_index: service.create_index,
        modify_index: service.modify_index,
    })
}

pub(super) async fn nodes(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let filter = filter::<Node>(&shared, &call)?;
    blocking::answer(&shared, &call, |state| {
        let nodes = state
            .nodes
            .values()
            .filter(|node| keeps(filter.as_ref(), &***node))
            .map(AsRef::as_ref);
        let body = encode_list::<&Node>(&shared, &call, &nodes.collect::<Vec<_>>())?;
        Ok(Found::json(state.tables.nodes, vec![Topic::Nodes], body))
    })
    .await
}

pub(super) async fn datacenters(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    reply::json(&call, &[&shared.config.datacenter])
}
