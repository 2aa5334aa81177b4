//! What runs: `bind` takes the sockets, `run` serves until told to leave.
//!
//! The data plane is one or more threads, each with a runtime and connections of its own. Everything that talks to the registry or to
//! operators lives on the caller's runtime, so that the data path never waits for it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use outrigger_consul::Client;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::bind::{self, Bound};
use crate::admin::{self, Readiness};
use crate::config::{Address, Config, Edge};
use crate::control::{Control, Start};
use crate::identity::{self, Current, connect_ca};
use crate::snapshot::{self, Shared};
use crate::{connect, tls};

/// A connection that carries calls.
mod accepted;

/// Leaving in order.
mod drain;

/// Being replaced by another process.
mod handover;

/// The public's connections over TLS.
mod edge;

/// The mesh's connections.
mod mutual;

/// The bound sockets.
mod sockets;

/// One data-plane thread.
mod thread;

/// An upstream's own port.
mod upstream;

use drain::{How, Signals};
use handover::{Door, Inherited, Predecessor};
use sockets::Sockets;
use thread::{Listeners, Seed};

/// Where a bound sidecar listens.
#[derive(Clone, Debug, Serialize)]
pub struct Addresses {
    pub outbound: Address,
    /// `None` without an application.
    pub inbound: Option<SocketAddr>,
    pub health: SocketAddr,
    pub edge: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge_tls: Option<SocketAddr>,
    /// Upstreams with a port of their own.
    pub upstreams: BTreeMap<String, SocketAddr>,
}

/// How a running sidecar is told to end, and what it says about it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Leave in order.
    pub begin: CancellationToken,
    /// Do not wait any more for what is in progress.
    pub hurry: CancellationToken,
    /// Callers have heard of it and were sent away: now the application may be told.
    pub propagated: CancellationToken,
}

/// Why a sidecar does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Bind(#[from] bind::Error),
    #[error(transparent)]
    Contract(#[from] snapshot::Error),
    #[error("cannot read the registry token {}: {source}", path.display())]
    Token { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Certificate(#[from] tls::edge::Error),
    #[error("the registry cannot be talked to: {0}")]
    Registry(#[from] outrigger_consul::Error),
    #[error("cannot write the report {}: {source}", path.display())]
    Report { path: PathBuf, source: io::Error },
    #[error("a data-plane thread cannot run: {0}")]
    Thread(#[source] io::Error),
    #[error("a data-plane thread ended unasked")]
    ThreadEnded,
    #[error("cannot offer the sockets to a successor at {}: {source}; check that the folder is there and writable", path.display())]
    Handover { path: PathBuf, source: io::Error },
    #[error("a bound socket is unusable: {0}")]
    Socket(#[source] io::Error),
}

/// A sidecar with its sockets, not yet serving.
#[derive(Debug)]
pub struct Proxy {
    config: Arc<Config>,
    shared: Arc<Shared>,
    client: Client,
    sockets: Sockets,
    health: Bound,
    certificate: Option<Arc<tls::edge::Current>>,
    addresses: Addresses,
    door: Option<Door>,
    predecessor: Option<Predecessor>,
}

#[derive(Serialize)]
struct Report<'a> {
    pid: u32,
    #[serde(flatten)]
    addresses: &'a Addresses,
}

// === impl Shutdown ===

impl Shutdown {
    pub fn at_once(&self) {
        self.hurry.cancel();
        self.begin.cancel();
    }
}

// === impl Proxy ===

impl Proxy {
    /// Takes all sockets, those of a process to be replaced first, and writes the report. Nothing is accepted yet; connections wait in
    /// the backlog.
    pub fn bind(config: Config) -> Result<Self, Error> {
        let shared = Shared::new(Arc::new(config))?;
        let config = Arc::clone(&shared.config);
        let client = Client::new(&config.registry.address, token(&config)?.as_deref())?;
        let certificate = certificate(&config)?;
        let inherited = config.handover.as_deref().map(Inherited::ask);
        let mut inherited = inherited.unwrap_or_default();
        let (sockets, health) = sockets::bind(&config, &mut inherited)?;
        let addresses = sockets.addresses(&health).map_err(Error::Socket)?;
        if let Some(path) = &config.report {
            report(path, &addresses).map_err(|source| Error::Report {
                path: path.clone(),
                source,
            })?;
        }
        let door = config.handover.as_deref().map(open).transpose()?;
        Ok(Self {
            config,
            shared,
            client,
            sockets,
            health,
            certificate,
            addresses,
            door,
            predecessor: inherited.predecessor(),
        })
    }

    pub fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Serves until `shutdown`, then leaves in order: callers move on, calls in progress end, the registry forgets us.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Error> {
        let Self {
            config,
            shared,
            client,
            sockets,
            health,
            certificate,
            addresses,
            door,
            predecessor,
        } = self;
        let (identity, metrics) = (Arc::new(Current::default()), Metrics::default());
        let registry = Arc::new(metrics.registry(&shared, certificate.as_deref()));
        let signals = Signals::default();
        let seed = Seed {
            shared: Arc::clone(&shared),
            identity: Arc::clone(&identity),
            certificate: certificate.clone(),
            signals: signals.clone(),
            connects: metrics.connects,
            handshakes: metrics.handshakes,
            listeners: Listeners::new(&config.limits, shared.memory.metrics()),
        };
        let threads = thread::start(&seed, &sockets, config.threads)?;
        let offered = sockets.named(&health).map_err(Error::Socket)?;
        drop(sockets);

        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let readiness = Arc::new(Readiness::new(Arc::clone(&identity), Arc::clone(&shared)));
        let view = admin::View {
            readiness: Arc::clone(&readiness),
            registry,
            pulses: threads.pulses(),
            shared: Arc::clone(&shared),
        };
        let told = stop.child_token();
        tasks.spawn(admin::serve(health, view, told.clone()));
        watch(&tasks, &shared, certificate, &stop);
        tasks.spawn(connect_ca::run(
            client.clone(),
            config.service.clone(),
            identity,
            metrics.identity,
            stop.clone(),
            trust(&shared),
        ));
        let control = Control::start(Start {
            config: Arc::clone(&config),
            addresses,
            shared: Arc::clone(&shared),
            client,
            tracker: tasks.clone(),
            shutdown: stop.clone(),
        });

        if let Some(predecessor) = predecessor {
            tasks.spawn(dismiss(predecessor, Arc::clone(&readiness), stop.clone()));
        }
        let (how, ended) = tokio::select! {
            () = shutdown.begin.cancelled() => (How::Leaving, Ok(())),
            () = replaced(door, offered, &stop) => (How::Replaced, Ok(())),
            () = threads.ended() => (How::Leaving, Err(Error::ThreadEnded)),
            () = readiness.narrate() => (How::Leaving, Ok(())),
        };
        if how == How::Replaced {
            // The successor answers on the same socket.
            told.cancel();
        }
        drain::drain(
            &config.drain,
            how,
            &signals,
            &control,
            &readiness,
            &shutdown,
        )
        .await;
        threads.join().await;
        end(&tasks, &stop, shared).await;
        ended
    }
}

/// Looks at memory, and at the files of the edge's certificate.
fn watch(
    tasks: &TaskTracker,
    shared: &Arc<Shared>,
    certificate: Option<Arc<tls::edge::Current>>,
    stop: &CancellationToken,
) {
    if let Some(certificate) = certificate {
        tasks.spawn(tls::edge::follow(certificate, stop.clone()));
    }
    let (shared, stop) = (Arc::clone(shared), stop.clone());
    tasks.spawn(async move {
        stop.run_until_cancelled(shared.memory.watch()).await;
    });
}

/// Takes the trust domain that the registry names.
fn trust(shared: &Arc<Shared>) -> impl Fn(&str) + use<> {
    let shared = Arc::clone(shared);
    move |domain| shared.set_trust_domain(domain)
}

/// Ready when another process has taken over.
async fn replaced(door: Option<Door>, offered: Vec<(String, Bound)>, stop: &CancellationToken) {
    match door {
        Some(door) => door.replaced(offered, stop.clone()).await,
        None => std::future::pending().await,
    }
}

/// What stands beside the data plane ends; exporting the last spans may block for up to two seconds.
async fn end(tasks: &TaskTracker, stop: &CancellationToken, shared: Arc<Shared>) {
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    let exported = tokio::task::spawn_blocking(move || shared.shut_down_telemetry());
    if exported.await.is_err() {
        tracing::warn!("the last spans may not have been exported");
    }
}

/// What this half of the sidecar counts.
#[derive(Debug, Default)]
struct Metrics {
    identity: identity::Metrics,
    connects: connect::Metrics,
    handshakes: tls::Metrics,
}

// === impl Metrics ===

impl Metrics {
    fn registry(&self, shared: &Arc<Shared>, certificate: Option<&tls::edge::Current>) -> Registry {
        let mut registry = Registry::default();
        shared.register(&mut registry);
        self.identity.register(&mut registry);
        self.connects.register(&mut registry);
        self.handshakes.register(&mut registry);
        shared.memory.metrics().register(&mut registry);
        if let Some(certificate) = certificate {
            certificate.metrics().register(&mut registry);
        }
        registry
    }
}

fn token(config: &Config) -> Result<Option<String>, Error> {
    let Some(path) = &config.registry.token_file else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path).map_err(|source| Error::Token {
        path: path.clone(),
        source,
    })?;
    Ok(Some(text.trim().to_owned()))
}

/// The edge's, if it is to have a TLS listener: both files are named then.
fn certificate(config: &Config) -> Result<Option<Arc<tls::edge::Current>>, tls::edge::Error> {
    let Some(Edge {
        tls: Some(_),
        certificate: Some(certificate),
        key: Some(key),
        ..
    }) = &config.edge
    else {
        return Ok(None);
    };
    let files = tls::edge::Files {
        certificate: certificate.clone(),
        key: key.clone(),
    };
    tls::edge::Current::load(files).map(Arc::new).map(Some)
}

fn open(path: &std::path::Path) -> Result<Door, Error> {
    Door::open(path).map_err(|source| Error::Handover {
        path: path.to_owned(),
        source,
    })
}

/// Lets the replaced process go as soon as this one can take over everything it does.
async fn dismiss(predecessor: Predecessor, readiness: Arc<Readiness>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = readiness.ready() => predecessor.dismiss(),
    }
}

/// Written beside and renamed, so that whoever waits for the file reads all of it.
fn report(path: &std::path::Path, addresses: &Addresses) -> io::Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(
        &fresh,
        serde_json::to_vec(&Report {
            pid: std::process::id(),
            addresses,
        })?,
    )?;
    std::fs::rename(&fresh, path)
}
