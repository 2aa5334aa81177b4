//! `/v1/discovery-chain/:service`, compiled on every read; the wait is on every entry that was consulted.

use std::sync::Arc;

use axum::extract::{Path, State as Shares};
use axum::response::Response;
use outrigger_consul::chain::{ChainAnswer, ChainOverrides};

use super::blocking::Found;
use super::call::Call;
use super::{Shared, blocking, reply};
use crate::chain::Request;
use crate::config_entry::decode;
use crate::error::Refusal;
use crate::state::config_entry;
use crate::watch::Topic;

pub(super) async fn unnamed() -> Refusal {
    Refusal::bad("Missing chain name")
}

pub(super) async fn read(
    shared: Shares<Arc<Shared>>,
    name: Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    compiled(shared, name, call, ChainOverrides::default()).await
}

pub(super) async fn read_with_overrides(
    shared: Shares<Arc<Shared>>,
    name: Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let failed = |message: String| Refusal::bad(format!("Request decoding failed: {message}"));
    let overrides =
        decode::lenient::<ChainOverrides>(&call.json().map_err(failed)?).map_err(failed)?;
    if !["", "none", "local", "remote"].contains(&overrides.override_mesh_gateway.mode.as_str()) {
        return Err(Refusal::bad("Invalid OverrideMeshGateway.Mode parameter"));
    }
    compiled(shared, name, call, overrides).await
}

async fn compiled(
    Shares(shared): Shares<Arc<Shared>>,
    Path(name): Path<String>,
    call: Call,
    overrides: ChainOverrides,
) -> Result<Response, Refusal> {
    let asked = call
        .query
        .value("compile-dc")
        .filter(|datacenter| !datacenter.is_empty());
    let datacenter = asked.unwrap_or(&shared.config.datacenter);
    let request = Request {
        service: &name,
        datacenter,
        trust_domain: shared.authority.trust_domain(),
        overrides: &overrides,
    };
    blocking::answer(&shared, &call, |state| {
        let compiled = config_entry::chain_of(state, request)
            .map_err(|failed| Refusal::server(failed.error.to_string()))?;
        let mut topics = compiled
            .consulted
            .into_iter()
            .map(|(kind, name)| Topic::Config(kind, name))
            .collect::<Vec<_>>();
        topics.push(Topic::Roots);
        let body = reply::encode(
            &call,
            &ChainAnswer {
                chain: compiled.chain,
            },
        )?;
        Ok(Found::json(state.tables.config.max(state.tables.roots), topics, body).suppressing())
    })
    .await
}
