//! `/v1/kv/*`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State as Shares};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::StatusCode;

use super::blocking::Found;
use super::call::Call;
use super::health::encode_list;
use super::{Shared, blocking, reply};
use crate::error::Refusal;
use crate::state::{State, kv};
use crate::watch::Topic;

pub(super) async fn unnamed() -> Refusal {
    Refusal::bad("Missing key name")
}

/// The whole tree: `GET /v1/kv/?recurse` and `?keys`.
pub(super) async fn read_root(
    shared: Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    read(shared, Path(String::new()), call).await
}

pub(super) async fn delete_root(
    shared: Shares<Arc<Shared>>,
    call: Call,
) -> Result<Response, Refusal> {
    delete(shared, Path(String::new()), call).await
}

pub(super) async fn read(
    Shares(shared): Shares<Arc<Shared>>,
    Path(key): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    let query = &call.query;
    if query.has("keys") {
        let separator = query
            .value("separator")
            .or(query.value("seperator"))
            .unwrap_or_default();
        return blocking::answer(&shared, &call, |state| {
            keys(&shared, &call, state, &key, separator)
        })
        .await;
    }
    if query.has("recurse") {
        return blocking::answer(&shared, &call, |state| {
            let pairs = kv::under(state, &key)
                .map(AsRef::as_ref)
                .collect::<Vec<_>>();
            let (index, topics) = (
                kv::prefix_index(state, &key),
                vec![Topic::Prefix(key.clone())],
            );
            if pairs.is_empty() {
                return Ok(Found::absent(index, topics, String::new()));
            }
            Ok(Found::json(
                index,
                topics,
                encode_list(&shared, &call, &pairs)?,
            ))
        })
        .await;
    }
    if key.is_empty() {
        return Err(Refusal::bad("Missing key name"));
    }
    let raw = query.has("raw");
    let mut response =
        blocking::answer(&shared, &call, |state| one(&call, state, &key, raw)).await?;
    if raw && response.status() == StatusCode::OK {
        let headers = response.headers_mut();
        headers.insert(
            "x-content-type-options",
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(
            "content-security-policy",
            HeaderValue::from_static("sandbox"),
        );
    }
    Ok(response)
}

fn one(call: &Call, state: &State, key: &str, raw: bool) -> Result<Found, Refusal> {
    let (index, topics) = (kv::key_index(state, key), vec![Topic::Key(key.to_owned())]);
    let Some(pair) = state.kv.get(key) else {
        return Ok(Found::absent(index, topics, String::new()));
    };
    if !raw {
        return Ok(Found::json(index, topics, reply::encode(call, &[&**pair])?));
    }
    let value = pair
        .decode()
        .map_err(|error| Refusal::server(error.to_string()))?;
    let mut found = Found::json(index, topics, Bytes::from(value));
    found.content_type = "text/plain";
    Ok(found)
}

fn keys(
    shared: &Shared,
    call: &Call,
    state: &State,
    prefix: &str,
    separator: &str,
) -> Result<Found, Refusal> {
    let names = kv::under(state, prefix).map(|pair| {
        let rest = pair.key.get(prefix.len()..).unwrap_or_default();
        let end = if separator.is_empty() {
            None
        } else {
            rest.find(separator)
        };
        let length = end.map_or(pair.key.len(), |end| prefix.len() + end + separator.len());
        pair.key.get(..length).unwrap_or_default()
    });
    let names = names
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>();
    let (index, topics) = (
        kv::prefix_index(state, prefix),
        vec![Topic::Prefix(prefix.to_owned())],
    );
    if names.is_empty() && !prefix.is_empty() {
        return Ok(Found::absent(index, topics, String::new()));
    }
    Ok(Found::json(
        index,
        topics,
        encode_list(shared, call, &names)?,
    ))
}

pub(super) async fn put(
    Shares(shared): Shares<Arc<Shared>>,
    Path(key): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    call.access.manage()?;
    if key.len() > 4 * shared.config.limits.name {
        return Err(Refusal::bad(format!(
            "the key is longer than {} bytes",
            4 * shared.config.limits.name
        ))
        .past("name"));
    }
    let exclusive = ["cas", "acquire", "release"]
        .into_iter()
        .filter(|name| call.query.has(name));
    if exclusive.count() > 1 {
        return Err(Refusal::bad(format!(
            "Conflicting flags: {}\n",
            call.query.encoded()
        )));
    }
    if call.query.has("acquire") || call.query.has("release") {
        return Err(Refusal::not_found(
            "Outrigger's registry does not serve locks",
        ));
    }
    let (flags, cas) = (call.query.number("flags")?, call.query.number("cas")?);
    let value = call.body.clone();
    let committed = shared
        .store
        .write(move |state| Ok(kv::put(state, &key, &value, flags, cas)))
        .await?;
    reply::json(&call, &committed.answer)
}

pub(super) async fn delete(
    Shares(shared): Shares<Arc<Shared>>,
    Path(key): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    call.access.manage()?;
    let recurse = call.query.has("recurse");
    let cas = call.query.number("cas")?;
    if recurse && cas.is_some() {
        return Err(Refusal::bad(format!(
            "Conflicting flags: {}\n",
            call.query.encoded()
        )));
    }
    if key.is_empty() && !recurse {
        return Err(Refusal::bad("Missing key name"));
    }
    let decide = move |state: &State| {
        Ok(if recurse {
            kv::delete_tree(state, &key)
        } else {
            kv::delete(state, &key, cas)
        })
    };
    let committed = shared.store.write(decide).await?;
    reply::json(&call, &committed.answer)
}
