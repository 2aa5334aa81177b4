//! The route table: method, path, handler, a line each. What is not served is here too, with its answer.

mod agent;
mod agent_check;
mod agent_service;
mod blocking;
mod call;
mod catalog;
mod chain;
mod client_count;
mod config_entry;
mod connect;
mod frame;
mod health;
mod intention;
mod kv;
mod reply;
mod unserved;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post, put};
use tokio_util::sync::CancellationToken;

use crate::ca::Authority;
use crate::check::Runners;
use crate::config::Config;
use crate::limit::Hits;
use crate::store::Store;

pub(crate) use client_count::ClientCount;

/// What every handler can reach.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) authority: Authority,
    pub(crate) runners: Runners,
    pub(crate) node_id: String,
    pub(crate) watches: ClientCount,
    pub(crate) connections: ClientCount,
    pub(crate) hits: Hits,
    /// Parked reads answer at once when this is cancelled.
    pub(crate) stopping: CancellationToken,
}

impl Shared {
    /// The one node all agent registrations live on.
    pub(crate) fn node(&self) -> &str {
        &self.config.node_name
    }
}

#[rustfmt::skip]
fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(unserved::root))

        .route("/v1/status/leader", get(agent::leader))
        .route("/v1/status/peers", get(agent::peers))

        .route("/v1/agent/self", get(agent::own))
        .route("/v1/agent/version", get(agent::version))
        .route("/v1/agent/members", get(agent::members))
        .route("/v1/agent/metrics", get(agent::metrics))
        .route("/v1/agent/maintenance", put(agent::maintenance))
        .route("/v1/agent/services", get(agent_service::list))
        .route("/v1/agent/service/register", put(agent_service::register))
        .route("/v1/agent/service/deregister/{id}", put(agent_service::deregister))
        .route("/v1/agent/service/maintenance/{id}", put(agent_service::maintenance))
        .route("/v1/agent/service/maintenance/", put(agent_service::unnamed))
        .route("/v1/agent/service/{id}", get(agent_service::one))
        .route("/v1/agent/health/service/id/{id}", get(agent_service::health_by_id))
        .route("/v1/agent/health/service/name/{name}", get(agent_service::health_by_name))
        .route("/v1/agent/checks", get(agent_check::list))
        .route("/v1/agent/check/register", put(agent_check::register))
        .route("/v1/agent/check/deregister/{id}", put(agent_check::deregister))
        .route("/v1/agent/check/pass/{id}", put(agent_check::pass))
        .route("/v1/agent/check/warn/{id}", put(agent_check::warn))
        .route("/v1/agent/check/fail/{id}", put(agent_check::fail))
        .route("/v1/agent/check/update/{id}", put(agent_check::update))

        .route("/v1/agent/connect/ca/roots", get(connect::agent_roots))
        .route("/v1/agent/connect/ca/leaf/{service}", get(connect::leaf))
        .route("/v1/connect/ca/roots", get(connect::roots))
        .route("/v1/connect/intentions/match", get(intention::matching))
        .route("/v1/connect/intentions/exact", get(intention::exact).put(intention::put_exact).delete(intention::delete_exact))
        .route("/v1/connect/intentions/check", get(intention::check))
        .route("/v1/connect/intentions", get(intention::list))

        .route("/v1/config", put(config_entry::put))
        .route("/v1/config/{kind}", get(config_entry::list))
        .route("/v1/config/{kind}/{name}", get(config_entry::one).delete(config_entry::delete))
        .route("/v1/discovery-chain/{service}", get(chain::read).post(chain::read_with_overrides))
        .route("/v1/discovery-chain/", get(chain::unnamed).post(chain::unnamed))

        .route("/v1/health/service/{name}", get(health::service))
        .route("/v1/health/connect/{name}", get(health::connect))
        .route("/v1/health/service/", get(health::unnamed))
        .route("/v1/health/connect/", get(health::unnamed))
        .route("/v1/health/checks/{name}", get(health::checks))
        .route("/v1/health/node/{node}", get(health::node))
        .route("/v1/health/state/{state}", get(health::state))

        .route("/v1/catalog/services", get(catalog::services))
        .route("/v1/catalog/service/", get(health::unnamed))
        .route("/v1/catalog/connect/", get(health::unnamed))
        .route("/v1/catalog/service/{name}", get(catalog::service))
        .route("/v1/catalog/connect/{name}", get(catalog::connect))
        .route("/v1/catalog/nodes", get(catalog::nodes))
        .route("/v1/catalog/datacenters", get(catalog::datacenters))

        .route("/v1/kv/", get(kv::read_root).put(kv::unnamed).delete(kv::delete_root))
        .route("/v1/kv/{*key}", get(kv::read).put(kv::put).delete(kv::delete))

        .route("/v1/acl/{*rest}", any(unserved::acl))
        .route("/v1/connect/ca/configuration", any(unserved::not_here))
        .route("/v1/agent/connect/authorize", post(unserved::not_here))
        .route("/v1/connect/intentions/{id}", any(unserved::not_here))
        .route("/v1/txn", any(unserved::not_here))
        .route("/v1/catalog/{*rest}", any(unserved::not_here))
        .route("/v1/session/{*rest}", any(unserved::not_here))
        .route("/v1/event/{*rest}", any(unserved::not_here))
        .route("/v1/query", any(unserved::not_here))
        .route("/v1/query/{*rest}", any(unserved::not_here))
        .route("/v1/operator/{*rest}", any(unserved::not_here))
        .route("/v1/peering", any(unserved::not_here))
        .route("/v1/peering/{*rest}", any(unserved::not_here))
        .route("/v1/peerings", any(unserved::not_here))
        .route("/v1/snapshot", any(unserved::not_here))
        .route("/v1/coordinate/{*rest}", any(unserved::not_here))
        .route("/v1/internal/{*rest}", any(unserved::not_here))
        .fallback(unserved::unknown)
        .with_state(shared)
}

/// The routes in their frame. The frame is around the router, not in it: the methods a path serves are known only to
/// who stands outside.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let routes = routes(Arc::clone(&shared));
    Router::new()
        .fallback_service(routes)
        .layer(from_fn_with_state(shared, frame::frame))
}

/// Puts the caller's address on a request.
pub(crate) fn call_peer<B>(
    mut request: ::http::Request<B>,
    client: std::net::IpAddr,
) -> ::http::Request<B> {
    request.extensions_mut().insert(call::Peer(client));
    request
}
