//! A service, booted the way its `main` does it, on a Unix socket of its own.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use outrigger_proto::shop::auth::v1::Principal;
use prost::Message as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::client::{Outbound, Peer};
use crate::{Address, Config, Environment, Listener};

/// Ends with the test; [`Served::stop`] asserts that it ended well.
#[derive(Debug)]
pub struct Served {
    folder: Arc<TempDir>,
    shutdown: CancellationToken,
    running: JoinSet<anyhow::Result<()>>,
}

impl Served {
    /// `env`: the service's settings, given the folder of the test's files.
    pub async fn start<C, F, R>(serve: F, env: impl FnOnce(&std::path::Path) -> Environment) -> Self
    where
        C: Config,
        F: FnOnce(C, Listener, CancellationToken) -> R,
        R: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let folder = Arc::new(tempfile::tempdir().expect("a folder for the service"));
        Self::start_in(folder, serve, env).await
    }

    /// The same in the folder of one that was stopped: a restart.
    pub async fn start_in<C, F, R>(
        folder: Arc<TempDir>,
        serve: F,
        env: impl FnOnce(&std::path::Path) -> Environment,
    ) -> Self
    where
        C: Config,
        F: FnOnce(C, Listener, CancellationToken) -> R,
        R: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let address = Address::Unix(folder.path().join("run/app.sock"));
        let listener = Listener::bind(&address)
            .await
            .expect("the service's socket");
        let config = C::load(&env(folder.path())).expect("the service's settings");
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(serve(config, listener, shutdown.clone()));
        Self {
            folder,
            shutdown,
            running,
        }
    }

    /// Dials the service as its sidecar would.
    pub fn peer(&self) -> Peer {
        let address = Address::Unix(self.folder.path().join("run/app.sock"));
        Outbound::new(address)
            .peer("service")
            .expect("a plain name")
    }

    /// Status and body of an HTTP/1.1 GET.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let socket = self.folder.path().join("run/app.sock");
        let mut stream = UnixStream::connect(socket)
            .await
            .expect("a listening service");
        let request = format!("GET {path} HTTP/1.1\r\nhost: service\r\nconnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a reading service");
        let mut response = String::new();
        stream
            .read_to_string(&mut response)
            .await
            .expect("an answering service");
        let (head, body) = response.split_once("\r\n\r\n").expect("an HTTP answer");
        assert!(
            head.contains("x-served-by: "),
            "an answer names no maker: {head}"
        );
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.expect("an HTTP status"), body.to_owned())
    }

    /// The folder of the service's files.
    pub fn folder(&self) -> Arc<TempDir> {
        Arc::clone(&self.folder)
    }

    /// Begins the drain.
    pub fn drain(&self) {
        self.shutdown.cancel();
    }

    /// Drains it; panics unless it ends without an error.
    pub async fn stop(mut self) {
        self.drain();
        let ended = self.running.join_next().await.expect("it runs");
        ended.expect("no panic").expect("a clean end");
    }
}

/// A request as the sidecar hands it on when another service made it.
pub fn as_service<T>(service: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let peer = format!("spiffe://test.consul/ns/default/dc/dc1/svc/{service}");
    let peer = peer.parse().expect("a name is ASCII");
    request.metadata_mut().insert("x-outrigger-peer", peer);
    request
}

/// A request that the gateway made for a user with these scopes.
pub fn as_user<T>(user_id: u32, scopes: &[&str], message: T) -> Request<T> {
    let mut request = as_service("gateway", message);
    let principal = Principal {
        user_id,
        session_id: "session".to_owned(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        token_id: "token".to_owned(),
        issued_at: None,
    };
    let principal = URL_SAFE_NO_PAD.encode(principal.encode_to_vec());
    let principal = principal.parse().expect("base64 is ASCII");
    request
        .metadata_mut()
        .insert("x-outrigger-principal", principal);
    request
}
