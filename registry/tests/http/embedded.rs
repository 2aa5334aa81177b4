//! The registry in this process, on a port and in a folder of its own.

use std::net::SocketAddr;

use outrigger_registry::{Config, Policy, Server};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::Api;

pub(crate) struct Embedded {
    pub(crate) api: Api,
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    running: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl Embedded {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With another configuration than a test usually has.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: Some(folder.path().to_owned()),
            node_name: "test".to_owned(),
            // What `consul agent -dev` has.
            default_policy: Policy::Allow,
            ..Config::default()
        };
        change(&mut config);
        let server = Server::bind(config).await.unwrap();
        let address = server.address();
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        let stop = shutdown.clone();
        running.spawn(async move { server.run(stop).await.unwrap() });
        Self {
            api: Api::new(&format!("http://{address}"), false),
            address,
            shutdown,
            running,
            _folder: folder,
        }
    }

    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap();
        }
    }
}
