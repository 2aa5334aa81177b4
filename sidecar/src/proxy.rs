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
use crate::config::{Address, Config};
use crate::control::{Control, Start};
use crate::identity::{self, Current, connect_ca};
use crate::snapshot::{self, Shared};
use crate::{connect, http2, tls};

/// Leaving in order.
mod drain;

/// One data-plane thread.
mod thread;

use drain::Signals;
use thread::{Seed, Sockets};

/// Where a bound sidecar listens.
#[derive(Clone, Debug, Serialize)]
pub struct Addresses {
    pub outbound: Address,
    /// `None` without an application.
    pub inbound: Option<SocketAddr>,
    pub health: SocketAddr,
    pub edge: Option<SocketAddr>,
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
    #[error("the registry cannot be talked to: {0}")]
    Registry(#[from] outrigger_consul::Error),
    #[error("cannot write the report {}: {source}", path.display())]
    Report { path: PathBuf, source: io::Error },
    #[error("a data-plane thread cannot run: {0}")]
    Thread(#[source] io::Error),
    #[error("a data-plane thread ended unasked")]
    ThreadEnded,
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
    addresses: Addresses,
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
    /// Takes all sockets and writes the report. Nothing is accepted yet; connections wait in the backlog.
    pub fn bind(config: Config) -> Result<Self, Error> {
        let shared = Shared::new(Arc::new(config))?;
        let config = Arc::clone(&shared.config);
        let client = Client::new(&config.registry.address, token(&config)?.as_deref())?;
        let search = config.port_search;
        let tcp = |address: SocketAddr| Bound::bind(&Address::Tcp(address), search);
        let sockets = Sockets {
            outbound: Bound::bind(&config.outbound.bind, search)?,
            upstreams: bind_upstreams(&config)?,
            inbound: config
                .application
                .as_ref()
                .map(|_| tcp(config.inbound.bind))
                .transpose()?,
            edge: config
                .edge
                .as_ref()
                .map(|edge| tcp(edge.plain))
                .transpose()?,
        };
        let health = tcp(config.health.bind)?;
        let addresses = sockets.addresses(&health).map_err(Error::Socket)?;
        if let Some(path) = &config.report {
            report(path, &addresses).map_err(|source| Error::Report {
                path: path.clone(),
                source,
            })?;
        }
        Ok(Self {
            config,
            shared,
            client,
            sockets,
            health,
            addresses,
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
            addresses,
        } = self;
        let identity = Arc::new(Current::default());
        let metrics = Metrics::default();
        let registry = Arc::new(metrics.registry(&shared));
        let signals = Signals::default();
        let seed = Seed {
            shared: Arc::clone(&shared),
            identity: Arc::clone(&identity),
            signals: signals.clone(),
            connects: metrics.connects,
            handshakes: metrics.handshakes,
            bounds: metrics.bounds,
        };
        let threads = thread::start(&seed, &sockets, config.threads)?;
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
        tasks.spawn(admin::serve(health, view, stop.clone()));
        let trusted = {
            let shared = Arc::clone(&shared);
            move |domain: &str| shared.set_trust_domain(domain)
        };
        tasks.spawn(connect_ca::run(
            client.clone(),
            config.service.clone(),
            identity,
            metrics.identity,
            stop.clone(),
            trusted,
        ));
        let control = Control::start(Start {
            config: Arc::clone(&config),
            addresses,
            shared: Arc::clone(&shared),
            client,
            tracker: tasks.clone(),
            shutdown: stop.clone(),
        });

        let ended = tokio::select! {
            () = shutdown.begin.cancelled() => Ok(()),
            () = threads.ended() => Err(Error::ThreadEnded),
            () = readiness.narrate() => Ok(()),
        };
        drain::drain(&config.drain, &signals, &control, &readiness, &shutdown).await;
        threads.join().await;
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        // Exporting the last spans blocks for up to two seconds.
        if tokio::task::spawn_blocking(move || shared.shut_down_telemetry())
            .await
            .is_err()
        {
            tracing::warn!("the last spans may not have been exported");
        }
        ended
    }
}

/// What this half of the sidecar counts.
#[derive(Debug, Default)]
struct Metrics {
    identity: identity::Metrics,
    connects: connect::Metrics,
    handshakes: tls::Metrics,
    bounds: http2::Metrics,
}

// === impl Metrics ===

impl Metrics {
    fn registry(&self, shared: &Arc<Shared>) -> Registry {
        let mut registry = Registry::default();
        shared.register(&mut registry);
        self.identity.register(&mut registry);
        self.connects.register(&mut registry);
        self.handshakes.register(&mut registry);
        self.bounds.register(&mut registry);
        self.bounds.state(&shared.config.limits);
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

fn bind_upstreams(config: &Config) -> Result<Vec<(String, Bound)>, bind::Error> {
    let own_port = config
        .upstreams
        .iter()
        .filter_map(|upstream| Some((upstream.name.clone(), upstream.bind?)));
    own_port
        .map(|(name, address)| {
            Ok((
                name,
                Bound::bind(&Address::Tcp(address), config.port_search)?,
            ))
        })
        .collect()
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
