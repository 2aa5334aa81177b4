//! One request as handlers see it: parameters, rights, body.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use outrigger_consul::duration;
use outrigger_consul::shape::Shaped;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::de::DeserializeOwned;

use super::Shared;
use crate::config_entry::decode;
use crate::error::Refusal;
use crate::token::Access;

/// What a query escapes; a space becomes a plus afterwards.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b' ');

/// The address a connection came from; put on every request by the accept loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The query string, in order. A parameter without a value is a flag.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let decode = |part: &str| {
            percent_decode_str(&part.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Sorted and encoded again: how Consul quotes a query.
    pub(super) fn encoded(&self) -> String {
        let mut pairs = self.0.iter().collect::<Vec<_>>();
        pairs.sort_by_key(|(name, _)| name);
        let escape = |text: &str| {
            utf8_percent_encode(text, QUERY)
                .to_string()
                .replace(' ', "+")
        };
        let pairs = pairs
            .into_iter()
            .map(|(name, value)| format!("{}={}", escape(name), escape(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// A number that must be one.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.value(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            Refusal::server(format!(
                "strconv.ParseUint: parsing {text:?}: invalid syntax"
            ))
        })
    }
}

/// How a read wants to be answered.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadOptions {
    pub(super) index: u64,
    pub(super) wait: Option<Duration>,
    pub(super) consistency: &'static str,
    pub(super) cached: bool,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) query: Query,
    pub(super) access: Access,
    pub(super) client: IpAddr,
    pub(super) body: Bytes,
    pub(super) wants_text: bool,
}

impl FromRequest<Arc<Shared>> for Call {
    type Rejection = Refusal;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let limits = &shared.config.limits;
        let limit = if parts.uri.path().starts_with("/v1/kv/") {
            ("kv_value", limits.kv_value)
        } else {
            ("body", limits.body)
        };
        let body = if parts.method == Method::GET || parts.method == Method::HEAD {
            Bytes::new()
        } else {
            let collected = Limited::new(body, limit.1).collect().await;
            collected
                .map_err(|error| refused_body(&*error, &parts.headers, limit))?
                .to_bytes()
        };
        let accept = parts
            .headers
            .get(http::header::ACCEPT)
            .and_then(|value| value.to_str().ok());
        Ok(Self {
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            access: parts
                .extensions
                .get::<Access>()
                .cloned()
                .ok_or_else(Refusal::denied)?,
            client: parts
                .extensions
                .get::<Peer>()
                .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0),
            wants_text: accept.is_some_and(|accept| accept.starts_with("text/plain")),
            body,
        })
    }
}

fn refused_body(
    error: &(dyn std::error::Error + 'static),
    headers: &http::HeaderMap,
    (name, limit): (&'static str, usize),
) -> Refusal {
    if error.is::<http_body_util::LengthLimitError>() {
        let sent = headers
            .get(http::header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok());
        let sent = sent.map_or_else(|| format!("more than {limit}"), str::to_owned);
        let text = format!(
            "Request body({sent} bytes) too large, max size: {limit} bytes. See limits.registry.{name}."
        );
        return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text).past(name);
    }
    Refusal::bad(format!("the body could not be read: {error}"))
}

impl Call {
    /// The body of an agent endpoint; unknown fields are refused.
    pub(super) fn decode<T: Shaped + DeserializeOwned>(&self) -> Result<T, Refusal> {
        let failed = |message: String| Refusal::bad(format!("Request decode failed: {message}"));
        decode::exact(&self.json().map_err(failed)?).map_err(failed)
    }

    /// The body as JSON. A body that ends early is told in Go's words, which clients match.
    pub(super) fn json(&self) -> Result<serde_json::Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| {
            if self.body.iter().all(u8::is_ascii_whitespace) {
                "EOF".to_owned()
            } else if error.is_eof() {
                "unexpected EOF".to_owned()
            } else {
                error.to_string()
            }
        })
    }

    pub(super) fn read_options(&self) -> Result<ReadOptions, Refusal> {
        let query = &self.query;
        let index = match query.value("index").filter(|text| !text.is_empty()) {
            None => 0,
            Some(text) => text.parse().map_err(|_| Refusal::bad("Invalid index"))?,
        };
        let wait = match query.value("wait").filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => {
                let nanos =
                    duration::parse(text).ok_or_else(|| Refusal::bad("Invalid wait time"))?;
                u64::try_from(nanos)
                    .ok()
                    .filter(|nanos| *nanos > 0)
                    .map(Duration::from_nanos)
            }
        };
        let (stale, consistent, cached) = (
            query.has("stale"),
            query.has("consistent"),
            query.has("cached"),
        );
        if stale && consistent {
            return Err(Refusal::bad(
                "Cannot specify ?stale with ?consistent, conflicting semantics.",
            ));
        }
        if cached && consistent {
            return Err(Refusal::bad(
                "Cannot specify ?cached with ?consistent, conflicting semantics.",
            ));
        }
        if let Some(text) = query.value("max_stale").filter(|text| !text.is_empty()) {
            duration::parse(text)
                .ok_or_else(|| Refusal::bad(format!("Invalid max_stale value {text:?}")))?;
        }
        let consistency = match (stale, consistent) {
            (true, _) => "stale",
            (_, true) => "consistent",
            _ => "leader",
        };
        Ok(ReadOptions {
            index,
            wait,
            consistency,
            cached,
        })
    }
}
