//! CA roots and leaves.

use std::sync::Arc;

use axum::extract::{Path, State as Shares};
use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use tokio::time::sleep_until;

use super::blocking::Found;
use super::call::Call;
use super::{Shared, blocking, reply};
use crate::error::Refusal;
use crate::watch::Topic;

pub(super) async fn agent_roots(
    shared: Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let mut response = roots(shared, call).await?;
    response
        .headers_mut()
        .insert("x-cache", HeaderValue::from_static("MISS"));
    Ok(response)
}

pub(super) async fn roots(
    Shares(shared): Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    let pem = call
        .query
        .value("pem")
        .is_some_and(|value| value == "true" || value == "1" || value.is_empty());
    blocking::answer(&shared, &call, |state| {
        let (index, topics) = (state.tables.roots, vec![Topic::Roots]);
        if !pem {
            return Ok(Found::json(
                index,
                topics,
                reply::encode(&call, &*state.roots)?,
            ));
        }
        let chain = state.roots.roots.iter().flat_map(|root| {
            std::iter::once(&root.root_cert).chain(root.intermediate_certs.iter().flatten())
        });
        let chain = chain.map(String::as_str).collect::<String>();
        let mut found = Found::json(index, topics, chain.into());
        found.content_type = "application/pem-certificate-chain";
        Ok(found)
    })
    .await
}

/// A leaf waits for its own renewal: its half-life, or another root.
pub(super) async fn leaf(
    Shares(shared): Shares<Arc<Shared>>,
    Path(service): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    call.access.leaf(&service)?;
    if service.trim().is_empty() {
        return Err(Refusal::bad("Invalid service name"));
    }
    if service.len() > shared.config.limits.name {
        return Err(Refusal::bad("Invalid service name").past("name"));
    }
    let options = call.read_options()?;
    let deadline = blocking::deadline(&shared, &options);
    let mut held = None;
    let issued = loop {
        let subscription = shared.store.subscribe(vec![Topic::Roots]);
        let issued = shared.authority.leaf(&shared.store, &service).await?;
        if options.index == 0 || issued.leaf.modify_index > options.index {
            break issued;
        }
        if held.is_none() {
            held = Some(blocking::park(&shared, &call)?);
        }
        tokio::select! {
            () = subscription.woken() => {}
            () = sleep_until(issued.renew_at) => {}
            () = sleep_until(deadline) => break issued,
            () = shared.stopping.cancelled() => break issued,
        }
    };
    drop(held);
    let mut response = reply::json(&call, &*issued.leaf)?;
    let headers = response.headers_mut();
    blocking::index_headers(headers, issued.leaf.modify_index, &options);
    headers.insert("x-cache", HeaderValue::from_static("MISS"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
