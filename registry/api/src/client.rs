//! The client: one method a call, each with Consul's exact path.
//!
//! Every call has a deadline. A blocking read waits up to the wait it asked for plus Consul's jitter; dropping the
//! future ends the request.

mod agent;
mod config;
mod discovery;
mod kv;

use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::Error;

/// What a write or a plain read may take.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// The wait a watch asks for.
pub const WAIT: Duration = Duration::from_secs(300);
/// `WAIT` with Consul's jitter of a sixteenth, and slack.
const BLOCKING_LIMIT: Duration = Duration::from_secs(330);
/// More than any answer of a mesh; a larger one is refused, not buffered.
const BODY_LIMIT: usize = 64 << 20;

/// Segments are escaped except for what Consul's names hold; `/` stays in keys only.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
const KEY: &AsciiSet = &SEGMENT.remove(b'/');

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

fn key(text: &str) -> String {
    utf8_percent_encode(text, KEY).to_string()
}

/// How a read is asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Read {
    /// Block until the index passes this one; 0 answers at once.
    pub index: u64,
    /// Block until the content hash differs (only `agent_service`).
    pub hash: Option<String>,
    /// How long to block; the server's default is five minutes.
    pub wait: Option<Duration>,
    pub filter: Option<String>,
    pub datacenter: Option<String>,
}

impl Read {
    /// Blocks until the answer is newer than `index`, as long as a watch does.
    pub fn after(index: u64) -> Self {
        Self {
            index,
            wait: (index > 0).then_some(WAIT),
            ..Self::default()
        }
    }

    /// The same, narrowed by a filter expression.
    #[must_use]
    pub fn filtered(mut self, filter: &str) -> Self {
        self.filter = (!filter.is_empty()).then(|| filter.to_owned());
        self
    }

    fn blocks(&self) -> bool {
        self.index > 0 || self.hash.is_some()
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        if self.index > 0 {
            query.push(("index", self.index.to_string()));
        }
        if let Some(hash) = &self.hash {
            query.push(("hash", hash.clone()));
        }
        if self.blocks() {
            let wait = self.wait.unwrap_or(WAIT);
            query.push(("wait", format!("{}ms", wait.as_millis())));
        }
        if let Some(filter) = &self.filter {
            query.push(("filter", filter.clone()));
        }
        if let Some(datacenter) = &self.datacenter {
            query.push(("dc", datacenter.clone()));
        }
        query
    }
}

/// A read's value with what its headers said.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    pub value: T,
    /// `X-Consul-Index`; absent from streaming servers and hash-blocking reads.
    pub index: Option<u64>,
    /// `X-Consul-ContentHash`.
    pub hash: Option<String>,
    /// `X-Consul-Default-ACL-Policy`: `allow` or `deny`.
    pub default_policy: Option<String>,
}

impl<T> Answer<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer {
            value: change(self.value),
            index: self.index,
            hash: self.hash,
            default_policy: self.default_policy,
        }
    }
}

/// A client of one registry or Consul agent. Clones share the connection pool.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<HeaderValue>,
}

impl std::fmt::Debug for Client {
    /// Leaves out the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of `http://host:port`, with the token to send if there is one.
    pub fn new(address: &str, token: Option<&str>) -> Result<Self, Error> {
        let base = address.trim_end_matches('/');
        let base = if base.contains("://") {
            base.to_owned()
        } else {
            format!("http://{base}")
        };
        let token = match token.map(str::trim).filter(|token| !token.is_empty()) {
            None => None,
            Some(text) => {
                let mut value = HeaderValue::from_str(text).map_err(|_| Error::Token)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        if reqwest::Url::parse(&base).is_err() {
            return Err(Error::Address(address.to_owned()));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(Error::Network)?;
        Ok(Self { http, base, token })
    }

    /// The address this client talks to.
    pub fn address(&self) -> &str {
        &self.base
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Bytes>,
        limit: Duration,
    ) -> Result<Raw, Error> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .query(query)
            .timeout(limit);
        if let Some(token) = &self.token {
            request = request.header("X-Consul-Token", token.clone());
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(Error::Network)?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(Error::Network)? {
            if bytes.len() + chunk.len() > BODY_LIMIT {
                return Err(Error::TooLarge { limit: BODY_LIMIT });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Raw {
            status,
            headers,
            body: bytes,
        })
    }

    async fn read<T: DeserializeOwned>(&self, path: &str, read: &Read) -> Result<Answer<T>, Error> {
        self.get(path, read, &[]).await?.ok()?.decode()
    }

    async fn get(
        &self,
        path: &str,
        read: &Read,
        extra: &[(&'static str, String)],
    ) -> Result<Raw, Error> {
        let mut query = read.query();
        query.extend_from_slice(extra);
        self.send(Method::GET, path, &query, None, limit(read))
            .await
    }

    async fn put(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: Option<Bytes>,
    ) -> Result<Raw, Error> {
        self.send(Method::PUT, path, query, body, CALL_LIMIT)
            .await?
            .ok()
    }

    async fn put_json<B: serde::Serialize + Sync>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<Raw, Error> {
        let body = serde_json::to_vec(body).map_err(Error::Decode)?;
        self.put(path, &[], Some(body.into())).await
    }
}

fn limit(read: &Read) -> Duration {
    match (read.blocks(), read.wait) {
        (false, _) => CALL_LIMIT,
        (true, None) => BLOCKING_LIMIT,
        (true, Some(wait)) => wait + wait / 16 + CALL_LIMIT,
    }
}

struct Raw {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Raw {
    /// Turns every status that is not a success into its error.
    fn ok(self) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        let message = String::from_utf8_lossy(&self.body).trim_end().to_owned();
        Err(Error::from_status(self.status, message))
    }

    /// `None` for 404, which is an answer of its own for config entries and keys.
    fn optional(self) -> Result<Option<Self>, Error> {
        if self.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.ok().map(Some)
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(str::to_owned)
    }

    fn answer<T>(&self, value: T) -> Answer<T> {
        Answer {
            value,
            index: self
                .header("x-consul-index")
                .and_then(|text| text.parse().ok()),
            hash: self.header("x-consul-contenthash"),
            default_policy: self.header("x-consul-default-acl-policy"),
        }
    }

    /// Decodes the body. `null`, which Consul prints for some empty lists, becomes an error only where the type
    /// has no such form.
    fn decode<T: DeserializeOwned>(&self) -> Result<Answer<T>, Error> {
        let value = serde_json::from_slice(&self.body).map_err(Error::Decode)?;
        Ok(self.answer(value))
    }
}
