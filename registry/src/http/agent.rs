//! The registry as an agent and a server: who it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State as Shares;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use outrigger_consul::agent::{AgentConfig, AgentSelf};
use serde_json::json;

use super::call::Call;
use super::{Shared, reply};
use crate::error::Refusal;
use crate::state::check;

/// The level of Consul's API that is implemented; clients compare it.
pub(crate) const API_VERSION: &str = "1.21.4";
const SERVER: &str = "127.0.0.1:8300";
const BUILD_DATE: &str = "2026-01-01T00:00:00Z";

pub(super) async fn leader(call: Call) -> Result<Response, Refusal> {
    reply::json(&call, &SERVER)
}

pub(super) async fn peers(call: Call) -> Result<Response, Refusal> {
    reply::json(&call, &[SERVER])
}

pub(super) async fn own(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let datacenter = shared.config.datacenter.clone();
    let config = AgentConfig {
        primary_datacenter: datacenter.clone(),
        datacenter,
        node_name: shared.node().to_owned(),
        node_id: shared.node_id.clone(),
        revision: format!("outrigger-{}", env!("CARGO_PKG_VERSION")),
        server: true,
        version: API_VERSION.to_owned(),
        build_date: BUILD_DATE.to_owned(),
    };
    reply::json(
        &call,
        &AgentSelf {
            config,
            ..AgentSelf::default()
        },
    )
}

pub(super) async fn version(call: Call) -> Result<Response, Refusal> {
    let version = json!({
        "SHA": "", "BuildDate": BUILD_DATE, "HumanVersion": API_VERSION, "FIPS": "",
    });
    reply::json(&call, &version)
}

pub(super) async fn members(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let tags = BTreeMap::from([
        ("role", "consul"),
        ("dc", &shared.config.datacenter),
        ("port", "8300"),
        ("build", "1.21.4:"),
        ("vsn", "2"),
        ("id", &shared.node_id),
        ("segment", ""),
    ]);
    let member = json!({
        "Name": shared.node(), "Addr": "127.0.0.1", "Port": 8301, "Status": 1, "Tags": tags,
        "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2, "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4,
    });
    reply::json(&call, &[member])
}

/// The bounds with their levels and hits. Consul's own JSON form is not served.
pub(super) async fn metrics(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    if call.query.value("format") != Some("prometheus") {
        return Err(Refusal::not_found(
            "Outrigger's registry serves /v1/agent/metrics with ?format=prometheus only",
        ));
    }
    let usage = [shared.connections.usage(), shared.watches.usage()].concat();
    let text = shared.hits.prometheus(&shared.config.limits, &usage);
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, text).into_response())
}

/// `?enable=`, which must be there.
pub(super) fn enable(call: &Call) -> Result<bool, Refusal> {
    match call.query.value("enable") {
        None | Some("") => Err(Refusal::bad("Missing value for enable")),
        Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
        Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(Refusal::bad(format!("Invalid value for enable: {other:?}"))),
    }
}

/// Takes the whole node, and every service on it, out.
pub(super) async fn maintenance(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    call.access.manage()?;
    let enable = enable(&call)?;
    let reason = call.query.value("reason").unwrap_or_default().to_owned();
    let node = shared.node().to_owned();
    shared
        .store
        .write(move |state| check::maintenance(state, &node, None, enable, &reason))
        .await?;
    Ok(reply::empty())
}
