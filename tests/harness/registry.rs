//! The registry of a mesh under test: the embedded one, in this process, or a real Consul.

mod consul;
mod embedded;

use std::time::Duration;

use serde_json::{Value, json};

pub use consul::Consul;
pub use embedded::Embedded;

use crate::eventually::{eventually, holds};

/// Which registry a test runs against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Embedded,
    Consul,
}

/// One running registry, spoken to over HTTP as an operator would.
#[derive(Debug)]
pub struct Registry {
    pub server: Server,
    client: HttpClient,
}

/// What runs it.
#[derive(Debug)]
pub enum Server {
    Embedded(Embedded),
    Consul(Consul),
}

impl Registry {
    /// Starts the embedded registry; its leaves live as long as given.
    pub async fn embedded(services: &[&str], leaf_ttl: Option<Duration>) -> Self {
        Self::new(Server::Embedded(Embedded::start(services, leaf_ttl).await)).await
    }

    /// Starts Consul, or says that it is not there.
    pub async fn consul() -> Option<Self> {
        let consul = Consul::start()?;
        Some(Self::new(Server::Consul(consul)).await)
    }

    async fn new(server: Server) -> Self {
        let (address, token) = match &server {
            Server::Embedded(server) => {
                (server.address(), Some(server.management_token().to_owned()))
            }
            Server::Consul(consul) => (consul.address(), None),
        };
        let client = HttpClient {
            address,
            token,
            http: reqwest::Client::new(),
        };
        let registry = Self { server, client };
        eventually("the registry has a leader", async || {
            let leader = registry.get("/v1/status/leader").await?;
            holds(
                leader.as_str().is_some_and(|leader| !leader.is_empty()),
                leader,
            )
        })
        .await;
        registry
    }

    /// `http://127.0.0.1:…`
    pub fn address(&self) -> String {
        self.client.address.clone()
    }

    /// The token that may do everything.
    pub fn management_token(&self) -> Option<&str> {
        self.client.token.as_deref()
    }

    /// The token of one service.
    pub fn service_token(&self, service: &str) -> Option<String> {
        match &self.server {
            Server::Embedded(server) => Some(server.service_token(service)),
            Server::Consul(_) => None,
        }
    }

    /// Ends it, as the end of its machine would: what connects finds nobody.
    pub async fn stop(&mut self) {
        match &mut self.server {
            Server::Embedded(server) => server.stop().await,
            Server::Consul(_) => panic!("a dev agent forgets everything when it stops"),
        }
    }

    /// Starts it again where it was.
    pub async fn start(&mut self) {
        match &mut self.server {
            Server::Embedded(server) => server.start_again().await,
            Server::Consul(_) => panic!("a dev agent forgets everything when it stops"),
        }
    }

    /// Reads JSON.
    pub async fn get(&self, path: &str) -> Result<Value, String> {
        Ok(self.client.read(path).await?.1)
    }

    /// Reads JSON with its index; a blocking query by its parameters.
    pub async fn indexed(&self, path: &str) -> Result<(u64, Value), String> {
        self.client.indexed(path).await
    }

    /// Somebody who asks while the test goes on.
    pub fn clone_client(&self) -> HttpClient {
        self.client.clone()
    }

    /// Writes JSON.
    pub async fn put(&self, path: &str, body: Value) -> Result<String, String> {
        self.client.put(path, body).await
    }

    /// Writes a config entry.
    pub async fn write(&self, entry: Value) {
        self.put("/v1/config", entry).await.unwrap();
    }

    /// Says what a service speaks; without it the chain has no splitter.
    pub async fn write_protocol(&self, service: &str, protocol: &str) {
        self.write(json!({"Kind": "service-defaults", "Name": service, "Protocol": protocol}))
            .await;
    }

    /// Says who may call a service.
    pub async fn write_callers(&self, service: &str, callers: &[&str]) {
        let sources: Vec<Value> = callers
            .iter()
            .map(|caller| json!({"Name": caller, "Action": "allow", "Type": "consul"}))
            .collect();
        if sources.is_empty() {
            return;
        }
        self.write(json!({"Kind": "service-intentions", "Name": service, "Sources": sources}))
            .await;
    }
}

/// Speaks to the registry as an operator does, with the token that may do everything.
#[derive(Debug, Clone)]
pub struct HttpClient {
    address: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl HttpClient {
    /// The index of the answer (0 where a path has none) and the answer.
    async fn read(&self, path: &str) -> Result<(u64, Value), String> {
        let (headers, text) = self.send(reqwest::Method::GET, path, None).await?;
        let index = headers
            .get("x-consul-index")
            .and_then(|index| index.to_str().ok()?.parse().ok())
            .unwrap_or_default();
        let body =
            serde_json::from_str(&text).map_err(|error| format!("{path}: {error}: {text}"))?;
        Ok((index, body))
    }

    /// The answer of a query that has an index.
    pub async fn indexed(&self, path: &str) -> Result<(u64, Value), String> {
        match self.read(path).await? {
            (0, body) => Err(format!("{path} has no index: {body}")),
            answer => Ok(answer),
        }
    }

    async fn put(&self, path: &str, body: Value) -> Result<String, String> {
        let (_, text) = self.send(reqwest::Method::PUT, path, Some(body)).await?;
        Ok(text)
    }

    async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(reqwest::header::HeaderMap, String), String> {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.address))
            .timeout(Duration::from_secs(40));
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token);
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| error.to_string())?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.map_err(|error| error.to_string())?;
        if status.is_success() {
            Ok((headers, text))
        } else {
            Err(format!("{method} {path}: {status} {text} for {body:?}"))
        }
    }
}
