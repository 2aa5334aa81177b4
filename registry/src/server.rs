//! The process: open the data, commit what a registry always holds, accept, and stop in order.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use outrigger_consul::check::{CheckDefinition, Status};
use outrigger_consul::connect::CaRoots;
use outrigger_consul::health::Node;
use outrigger_consul::service::{Service, Weights};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ca::Authority;
use crate::check;
use crate::config::Config;
use crate::error::Error;
use crate::http::call_peer;
use crate::http::{ClientCount, Shared, router};
use crate::journal::Journal;
use crate::limit::Hits;
use crate::state::check::{SERF, fresh};
use crate::state::{Change, Instance, State};
use crate::store::{Decided, Store};

/// How long open requests may take once the registry stops; parked reads answer at once.
const DRAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// A registry that is bound and recovered, but serves nobody yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
    /// Held for its lock: one registry a folder.
    _lock: Option<File>,
}

impl Server {
    /// Recovers the data folder and binds.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        if !config.bind.ip().is_loopback() {
            return Err(Error::NotLoopback(config.bind));
        }
        let (lock, journal, state) = open(&config)?;
        let listener = TcpListener::bind(config.bind);
        let listener = listener.await.map_err(|source| Error::Bind {
            addr: config.bind,
            source,
        })?;
        let address = listener.local_addr().map_err(|source| Error::Bind {
            addr: config.bind,
            source,
        })?;
        let (authority, roots) = Authority::open(
            config.data_dir.as_deref(),
            &state.roots,
            config.trust_domain.as_deref(),
            &config.datacenter,
            config.leaf_ttl,
        )?;
        let (store, writer) = Store::start(journal, state)?;
        let node_id = establish(&store, &config, roots).await?;
        let limits = &config.limits;
        let watches = ClientCount::new(
            ("watches_per_client", limits.watches_per_client),
            ("watches_loopback", limits.watches_loopback),
        );
        let connections = ClientCount::new(
            (
                "http_connections_per_client",
                limits.http_connections_per_client,
            ),
            (
                "http_connections_loopback",
                limits.http_connections_loopback,
            ),
        );
        let shared = Shared {
            config,
            store,
            authority,
            runners: check::Runners::default(),
            node_id,
            watches,
            connections,
            hits: Hits::default(),
            stopping: CancellationToken::new(),
        };
        Ok(Self {
            listener,
            address,
            shared: Arc::new(shared),
            writer,
            _lock: lock,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then lets open requests end.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let tasks = TaskTracker::new();
        tasks.spawn(check::run(Arc::clone(&self.shared)));
        let app = router(Arc::clone(&self.shared));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: others must close first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            let held = match self.shared.connections.take(peer.ip()) {
                Ok(held) => held,
                Err(limit) => {
                    self.shared.hits.count(limit);
                    tracing::debug!(%peer, limit, "closed a connection over its client's bound");
                    continue;
                }
            };
            let (app, shared) = (app.clone(), Arc::clone(&self.shared));
            tasks.spawn(async move {
                serve(stream, peer, app, &shared).await;
                drop(held);
            });
        }
        drop(self.listener);
        self.shared.stopping.cancel();
        tasks.close();
        if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
            tracing::warn!("requests were still open at the end of the drain");
        }
        self.shared.store.stop().await;
        let joined = tokio::task::spawn_blocking(move || self.writer.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the writer thread ended with a panic");
        }
        Ok(())
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, app: axum::Router, shared: &Shared) {
    // Without it a small answer may wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    let app = tower::ServiceBuilder::new()
        .map_request(move |request: http::Request<hyper::body::Incoming>| {
            call_peer(request, peer.ip())
        })
        .service(app);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.config.limits.head_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shared.stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

fn open(config: &Config) -> Result<(Option<File>, Option<Journal>, State), Error> {
    let Some(folder) = &config.data_dir else {
        return Ok((None, None, State::default()));
    };
    let lock = lock(folder)?;
    let (journal, state) = Journal::open(folder, config.limits.journal_bytes)?;
    Ok((Some(lock), Some(journal), state))
}

fn lock(folder: &Path) -> Result<File, Error> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let failed = |source| Error::DataDir {
        path: folder.to_owned(),
        source,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    let path = folder.join("lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked(folder.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Commits what every registry holds: its node with `serfHealth`, the service `consul`, the CA's roots. Answers the
/// node's stable id.
async fn establish(
    store: &Store,
    config: &Config,
    roots: Option<CaRoots>,
) -> Result<String, Error> {
    let name = config.node_name.clone();
    let datacenter = config.datacenter.clone();
    let known = store.state().nodes.get(&name).map(|node| node.id.clone());
    let id = known.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let node = Node {
        id: id.clone(),
        node: name.clone(),
        address: "127.0.0.1".to_owned(),
        datacenter,
        tagged_addresses: ["lan", "lan_ipv4", "wan", "wan_ipv4"]
            .map(|tag| (tag.to_owned(), "127.0.0.1".to_owned()))
            .into(),
        meta: BTreeMap::from([("consul-version".to_owned(), "1.21.4".to_owned())]),
        ..Node::default()
    };
    let decide = move |state: &State| {
        let mut changes = Vec::new();
        let same = state.nodes.get(&name).is_some_and(|old| {
            let stamped = Node {
                create_index: old.create_index,
                modify_index: old.modify_index,
                ..node.clone()
            };
            **old == stamped
        });
        if !same {
            changes.push(Change::PutNode(Box::new(node)));
        }
        if state.check(&name, SERF).is_none() {
            let definition = CheckDefinition {
                check_id: SERF.to_owned(),
                name: "Serf Health Status".to_owned(),
                status: Status::Passing.as_str().to_owned(),
                ..CheckDefinition::default()
            };
            let mut check = fresh(&name, None, definition);
            check.health.output = "Agent alive and reachable".to_owned();
            changes.push(Change::PutCheck(Box::new(check)));
        }
        if state.instance(&name, "consul").is_none() {
            let service = Service {
                id: "consul".to_owned(),
                service: "consul".to_owned(),
                port: 8300,
                weights: Weights {
                    passing: 1,
                    warning: 1,
                },
                ..Service::default()
            };
            changes.push(Change::PutInstance(Box::new(Instance {
                node: name,
                service,
                sidecar_of: String::new(),
            })));
        }
        changes.extend(roots.map(|roots| Change::PutRoots(Box::new(roots))));
        Ok(Decided::done(changes))
    };
    store.write(decide).await.map_err(Error::Start)?;
    Ok(id)
}
