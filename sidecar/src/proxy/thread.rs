//! One data-plane thread: a runtime of its own, the connections it accepted and those it opened.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::drain::{Class, Signals};
use super::{Addresses, Error};
use crate::accept::bind::Bound;
use crate::accept::detect::{Spoken, detect};
use crate::accept::stream::Plain;
use crate::accept::{self, Permit};
use crate::config::{Address, Connection};
use crate::connect::{self, Application, Buffered, Pool, READ_BUFFER};
use crate::http2::server::Ending;
use crate::identity::spiffe::SpiffeId;
use crate::identity::{Current, Material, Validity, certificate, now};
use crate::snapshot::{Shared, Thread};
use crate::stack::{Dispatch, Peer};
use crate::tls::{self, Cause};
use crate::{edge, http1, http2, inbound, outbound};

/// Connections that carry nothing are closed.
const EDGE_IDLE: Duration = Duration::from_secs(300);
const LOCAL_IDLE: Duration = Duration::from_secs(900);

/// What every thread is made of.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    pub(super) shared: Arc<Shared>,
    pub(super) identity: Arc<Current>,
    pub(super) signals: Signals,
    pub(super) connects: connect::Metrics,
    pub(super) handshakes: tls::Metrics,
    pub(super) bounds: http2::Metrics,
}

/// The bound sockets of the data plane; every thread accepts on all of them.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) outbound: Bound,
    pub(super) upstreams: Vec<(String, Bound)>,
    pub(super) inbound: Option<Bound>,
    pub(super) edge: Option<Bound>,
}

/// The running threads.
#[derive(Debug)]
pub(super) struct Threads {
    handles: Vec<JoinHandle<io::Result<()>>>,
    pulses: Arc<[AtomicU64]>,
    /// Cancelled when any of them ends.
    ended: CancellationToken,
}

/// Starts `count` threads.
pub(super) fn start(seed: &Seed, sockets: &Sockets, count: usize) -> Result<Threads, Error> {
    let ended = CancellationToken::new();
    let pulses: Arc<[AtomicU64]> = (0..count).map(|_| AtomicU64::new(0)).collect();
    let mut handles = Vec::new();
    for index in 0..count {
        let (seed, sockets, pulses) = (
            seed.clone(),
            sockets.share().map_err(Error::Socket)?,
            Arc::clone(&pulses),
        );
        let guard = ended.clone().drop_guard();
        let thread = std::thread::Builder::new()
            .name(format!("data-{index}"))
            .spawn(move || {
                let _ended = guard;
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .build_local(LocalOptions::default())?;
                runtime.block_on(run(seed, sockets, pulses, index))
            });
        handles.push(thread.map_err(Error::Thread)?);
    }
    Ok(Threads {
        handles,
        pulses,
        ended,
    })
}

// === impl Threads ===

impl Threads {
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// One counter a thread, which turns while its loop does.
    pub(super) fn pulses(&self) -> Arc<[AtomicU64]> {
        Arc::clone(&self.pulses)
    }

    /// Waits for all of them; they were told to stop.
    pub(super) async fn join(self) {
        for handle in self.handles {
            match tokio::task::spawn_blocking(move || handle.join()).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(err))) => tracing::error!(error = %err, "a data-plane thread failed"),
                Ok(Err(_)) | Err(_) => tracing::error!("a data-plane thread panicked"),
            }
        }
    }
}

// === impl Sockets ===

impl Sockets {
    pub(super) fn addresses(&self, health: &Bound) -> io::Result<Addresses> {
        let tcp = |bound: &Bound| match bound.address()? {
            Address::Tcp(address) => Ok(address),
            Address::Unix(_) => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        };
        Ok(Addresses {
            outbound: self.outbound.address()?,
            inbound: self.inbound.as_ref().map(tcp).transpose()?,
            health: tcp(health)?,
            edge: self.edge.as_ref().map(tcp).transpose()?,
            upstreams: self
                .upstreams
                .iter()
                .map(|(name, bound)| Ok((name.clone(), tcp(bound)?)))
                .collect::<io::Result<_>>()?,
        })
    }

    fn share(&self) -> io::Result<Self> {
        Ok(Self {
            outbound: self.outbound.share()?,
            upstreams: self
                .upstreams
                .iter()
                .map(|(name, bound)| Ok((name.clone(), bound.share()?)))
                .collect::<io::Result<_>>()?,
            inbound: self.inbound.as_ref().map(Bound::share).transpose()?,
            edge: self.edge.as_ref().map(Bound::share).transpose()?,
        })
    }
}

async fn run(
    seed: Seed,
    sockets: Sockets,
    pulses: Arc<[AtomicU64]>,
    index: usize,
) -> io::Result<()> {
    let config = Arc::clone(&seed.shared.config);
    let signals = &seed.signals;
    let opened = TaskTracker::new();
    let pool = Pool::new(connect::Parts {
        identity: Arc::clone(&seed.identity),
        limits: config.limits.clone(),
        tasks: opened.clone(),
        cut: signals.cut_pool.clone(),
        metrics: seed.connects.clone(),
        handshakes: seed.handshakes.clone(),
        bounds: seed.bounds.clone(),
    });
    let application = config.application.as_ref().map(|application| {
        Application::new(connect::ApplicationParts {
            address: application.address.clone(),
            protocol: application.protocol,
            limits: config.limits.clone(),
            tasks: opened.clone(),
            cut: signals.cut_application.clone(),
            bounds: seed.bounds.clone(),
        })
    });
    let thread = Thread::new(Arc::clone(&seed.shared), Rc::clone(&pool), application);
    let stop = signals.stop.clone();
    opened.spawn_local(until(stop.clone(), outbound::keep_warm(Rc::clone(&thread))));
    opened.spawn_local(until(stop.clone(), pulse(pulses, index)));

    let listening = Listening {
        seed: Rc::new(seed),
        thread,
    };
    listening.start(sockets)?;

    stop.cancelled().await;
    pool.close();
    opened.close();
    // What is left is closing sockets; dropping the runtime ends it too.
    if timeout(Duration::from_millis(100), opened.wait())
        .await
        .is_err()
    {
        tracing::debug!("connections were still closing");
    }
    Ok(())
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

async fn pulse(pulses: Arc<[AtomicU64]>, index: usize) {
    let mut ticks = interval(Duration::from_secs(1));
    while let Some(pulse) = pulses.get(index) {
        ticks.tick().await;
        pulse.fetch_add(1, Ordering::Relaxed);
    }
}

/// Starts the accept loops of one thread.
struct Listening {
    seed: Rc<Seed>,
    thread: Rc<Thread>,
}

// === impl Listening ===

impl Listening {
    fn start(&self, sockets: Sockets) -> io::Result<()> {
        let limits = &self.seed.shared.config.limits;
        self.plain(
            sockets.outbound,
            &self.seed.signals.outbound,
            outbound::listener(&self.thread, None),
            limits.local(),
            LOCAL_IDLE,
        )?;
        for (name, bound) in sockets.upstreams {
            let dispatch = outbound::listener(&self.thread, Some(&name));
            self.plain(
                bound,
                &self.seed.signals.outbound,
                dispatch,
                limits.local(),
                LOCAL_IDLE,
            )?;
        }
        if let Some(bound) = sockets.edge {
            self.plain(
                bound,
                &self.seed.signals.inbound,
                edge::listener(&self.thread),
                limits.edge(),
                EDGE_IDLE,
            )?;
        }
        if let Some(bound) = sockets.inbound {
            self.mutual(bound, inbound::listener(&self.thread))?;
        }
        Ok(())
    }

    /// A listener in clear: our application's, or the public's.
    fn plain(
        &self,
        bound: Bound,
        class: &Class,
        dispatch: Rc<dyn Dispatch>,
        limits: Connection,
        idle: Duration,
    ) -> io::Result<()> {
        let listener = bound.listen()?;
        let seed = Rc::clone(&self.seed);
        let connect = &seed.shared.config.limits.connect;
        let (preface, header_block, most) =
            (connect.preface, connect.header_block, connect.accepted);
        let edge = limits.is_strange();
        let patience = if edge {
            connect.stream_progress / 2
        } else {
            connect.stream_progress
        };
        let class = class.clone();
        class.accepting.clone().spawn_local(async move {
            if !edge && !seed.ready_to_call(&class.leave).await {
                return;
            }
            let (leave, tasks) = (class.leave.clone(), class.tasks.clone());
            accept::run(listener, most, leave, |stream, permit| {
                let peer = match stream.peer() {
                    Some(address) if edge => Peer::Public(address),
                    _ => Peer::Application,
                };
                let accepted = Accepted {
                    dispatch: Rc::clone(&dispatch),
                    peer,
                    limits,
                    idle,
                    preface,
                    header_block,
                    patience,
                    bounds: seed.bounds.clone(),
                };
                let ending = class.ending();
                tasks.spawn_local(held(
                    permit,
                    accepted.serve(stream, ending, class.tasks.clone()),
                ));
            })
            .await;
        });
        Ok(())
    }

    /// The mesh's listener: mTLS or nothing.
    fn mutual(&self, bound: Bound, dispatch: Rc<dyn Dispatch>) -> io::Result<()> {
        let listener = bound.listen()?;
        let seed = Rc::clone(&self.seed);
        let class = seed.signals.inbound.clone();
        class.accepting.clone().spawn_local(async move {
            if !seed.has_identity(&class.leave).await {
                return;
            }
            let most = seed.shared.config.limits.connect.accepted;
            let (leave, tasks) = (class.leave.clone(), class.tasks.clone());
            accept::run(listener, most, leave, |stream, permit| {
                let (seed, dispatch, class) =
                    (Rc::clone(&seed), Rc::clone(&dispatch), class.clone());
                tasks.spawn_local(held(permit, async move {
                    mutual(&seed, stream, dispatch, &class).await;
                }));
            })
            .await;
        });
        Ok(())
    }
}

async fn held(permit: Permit, work: impl Future<Output = ()>) {
    work.await;
    drop(permit);
}

// === impl Seed ===

impl Seed {
    /// False when `leave` came first.
    async fn has_identity(&self, leave: &CancellationToken) -> bool {
        let mut changes = self.identity.changes();
        while self.identity.load().is_none() {
            tokio::select! {
                () = leave.cancelled() => return false,
                changed = changes.changed() => if changed.is_err() { return false },
            }
        }
        true
    }

    /// Roots, leaf and the first snapshot are there: until then an application's connections wait in the backlog.
    async fn ready_to_call(&self, leave: &CancellationToken) -> bool {
        let mut changes = self.shared.changes();
        while !self.shared.ready.has_snapshot() {
            tokio::select! {
                () = leave.cancelled() => return false,
                changed = changes.changed() => if changed.is_err() { return false },
            }
        }
        self.has_identity(leave).await
    }
}

/// What a plain connection is served with.
struct Accepted {
    dispatch: Rc<dyn Dispatch>,
    peer: Peer,
    limits: Connection,
    idle: Duration,
    preface: Duration,
    header_block: Duration,
    patience: Duration,
    bounds: http2::Metrics,
}

// === impl Accepted ===

impl Accepted {
    async fn serve<IO, L, C>(self, io: IO, ending: Ending<L, C>, tasks: TaskTracker)
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
        L: Future<Output = ()>,
        C: Future<Output = ()>,
    {
        let Self {
            dispatch,
            peer,
            limits,
            idle,
            preface,
            header_block,
            patience,
            bounds,
        } = self;
        match timeout(preface, detect(io)).await {
            Ok(Ok((Spoken::Http2, io))) => {
                let accepted = http2::server::Accepted {
                    dispatch,
                    peer,
                    limits,
                    idle,
                    preface,
                    header_block,
                    patience,
                    metrics: bounds,
                };
                http2::server::serve(io, Rc::new(accepted), ending, tasks).await;
            }
            Ok(Ok((Spoken::Http1, io))) => {
                let accepted = http1::server::Accepted {
                    dispatch,
                    peer,
                    header_block,
                    header_count: limits.header_count as usize,
                };
                http1::server::serve(io, Rc::new(accepted), ending).await;
            }
            Ok(Ok((Spoken::Neither, _))) => {
                tracing::debug!(peer = ?peer, "a connection speaks neither HTTP/2 nor HTTP/1");
            }
            Ok(Err(err)) => {
                tracing::debug!(error = %err, "a connection ended before it said anything");
            }
            Err(_) => tracing::debug!("a connection said nothing in time"),
        }
    }
}

/// One inbound mesh connection: handshake, who it is, calls.
async fn mutual(seed: &Seed, stream: Plain, dispatch: Rc<dyn Dispatch>, class: &Class) {
    let address = stream.peer();
    let Plain::Tcp(stream) = stream else { return };
    let Some(identity) = seed.identity.load() else {
        return;
    };
    let limits = &seed.shared.config.limits;
    let accepting = async {
        connect::tune(&stream)?;
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.server));
        acceptor
            .accept(BufReader::with_capacity(READ_BUFFER, stream))
            .await
    };
    let failed = |err: &io::Error| {
        seed.handshakes.inbound(Cause::of(err));
        tracing::info!(peer = ?address, error = %err, "handshake refused");
    };
    let stream = match timeout(limits.connect.handshake, accepting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(err)) => return failed(&err),
        Err(_) => return failed(&io::ErrorKind::TimedOut.into()),
    };
    let Some((peer, validity)) = peer(&stream) else {
        return failed(&io::Error::other(rustls::Error::NoCertificatesPresented));
    };
    let accepted = Accepted {
        dispatch,
        peer: Peer::Mesh(Arc::new(peer)),
        limits: limits.mesh(),
        idle: limits.connect.idle,
        preface: limits.connect.preface,
        header_block: limits.connect.header_block,
        patience: limits.connect.stream_progress,
        bounds: seed.bounds.clone(),
    };
    accepted
        .serve(
            stream,
            resting_on(&identity, validity, class),
            class.tasks.clone(),
        )
        .await;
}

fn peer(stream: &TlsStream<Buffered>) -> Option<(SpiffeId, Validity)> {
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    certificate::read(leaf)
        .ok()
        .map(|facts| (facts.id, facts.validity))
}

/// The connection leaves before the earlier of both leaves expires, a little after the caller would have left by itself; then it ends.
fn resting_on(
    identity: &Material,
    peer: Validity,
    class: &Class,
) -> Ending<impl Future<Output = ()> + use<>, impl Future<Output = ()> + use<>> {
    let first = if identity.validity.not_after < peer.not_after {
        identity.validity
    } else {
        peer
    };
    let left = first.left(now());
    let leaves = left.saturating_sub(first.margin() / 2);
    let ending = class.ending();
    Ending {
        leave: async move {
            tokio::select! {
                () = ending.leave => {}
                () = tokio::time::sleep(leaves) => {}
            }
        },
        cut: async move {
            tokio::select! {
                () = ending.cut => {}
                () = tokio::time::sleep(left) => {}
            }
        },
    }
}
