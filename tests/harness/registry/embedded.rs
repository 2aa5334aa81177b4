//! The registry of this workspace, in the test's own process, durable enough to be stopped and started again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use outrigger_registry::{Config, Server, Tokens};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A running embedded registry.
#[derive(Debug)]
pub struct Embedded {
    address: SocketAddr,
    leaf_ttl: Option<Duration>,
    management: String,
    services: BTreeMap<String, String>,
    folder: tempfile::TempDir,
    shutdown: CancellationToken,
    running: JoinSet<()>,
}

impl Embedded {
    /// Starts it on a port nobody chose, with a token for each service.
    pub async fn start(services: &[&str], leaf_ttl: Option<Duration>) -> Self {
        let mut registry = Self {
            address: "127.0.0.1:0".parse().unwrap(),
            leaf_ttl,
            management: uuid::Uuid::new_v4().to_string(),
            services: services
                .iter()
                .map(|name| ((*name).to_owned(), uuid::Uuid::new_v4().to_string()))
                .collect(),
            folder: tempfile::tempdir().unwrap(),
            shutdown: CancellationToken::new(),
            running: JoinSet::new(),
        };
        registry.start_again().await;
        registry
    }

    pub(super) async fn start_again(&mut self) {
        let services = self.services.iter();
        let services = services.map(|(name, token)| (name.clone(), vec![token.clone()]));
        let defaults = Config::default();
        let config = Config {
            bind: self.address,
            data_dir: Some(self.folder.path().to_owned()),
            tokens: Some(Tokens::new(
                std::slice::from_ref(&self.management),
                services.collect(),
            )),
            leaf_ttl: self.leaf_ttl.unwrap_or(defaults.leaf_ttl),
            ..defaults
        };
        let server = Server::bind(config).await.unwrap();
        self.address = server.address();
        self.shutdown = CancellationToken::new();
        let shutdown = self.shutdown.clone();
        self.running.spawn(async move {
            server.run(shutdown).await.unwrap();
        });
    }

    pub(super) async fn stop(&mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap();
        }
    }

    pub(super) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn management_token(&self) -> &str {
        &self.management
    }

    pub(super) fn service_token(&self, service: &str) -> String {
        self.services
            .get(service)
            .unwrap_or_else(|| panic!("the mesh was built without a service {service}"))
            .clone()
    }
}
