//! One data-plane thread: a runtime of its own, the connections it accepted and those it opened.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accepted::Accepted;
use super::drain::{Class, Signals};
use super::edge as public;
use super::sockets::Sockets;
use super::upstream::Port;
use super::{Error, mutual};
use crate::accept::admission::{self, Admission, Permit};
use crate::accept::bind::Bound;
use crate::accept::rate::Rate;
use crate::accept::{self, Arrived, Opening};
use crate::config::{Limits, Scope};
use crate::connect::{self, Application, Pool};
use crate::http2::server::Ending;
use crate::identity::Current;
use crate::snapshot::{Shared, Thread};
use crate::stack::{Dispatch, Peer};
use crate::tls;
use crate::{edge, http2, memory, outbound};

/// Connections of our application that carry nothing are closed.
const LOCAL_IDLE: Duration = Duration::from_secs(900);

/// What every thread is made of.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    pub(super) shared: Arc<Shared>,
    pub(super) identity: Arc<Current>,
    /// The edge's certificate, if it has a TLS listener.
    pub(super) certificate: Option<Arc<tls::edge::Current>>,
    pub(super) signals: Signals,
    pub(super) connects: connect::Metrics,
    pub(super) handshakes: tls::Metrics,
    pub(super) listeners: Listeners,
}

/// Who may connect to which kind of listener, over all threads, and how fast we dial.
#[derive(Clone, Debug)]
pub(super) struct Listeners {
    pub(super) edge: Arc<Admission>,
    pub(super) mesh: Arc<Admission>,
    app_out: Arc<Admission>,
    dials: Arc<Mutex<Rate>>,
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

// === impl Listeners ===

impl Listeners {
    pub(super) fn new(limits: &Limits, metrics: &http2::Metrics) -> Self {
        let admission = |scope| Admission::new(limits.of(scope), metrics.clone());
        Self {
            edge: admission(Scope::Edge),
            mesh: admission(Scope::Mesh),
            app_out: admission(Scope::AppOut),
            dials: Arc::new(Mutex::new(Rate::new(limits.mesh().dials_per_second))),
        }
    }
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
        bounds: seed.shared.memory.metrics().clone(),
        dials: Arc::clone(&seed.listeners.dials),
    });
    let application = config.application.as_ref().map(|application| {
        Application::new(connect::ApplicationParts {
            address: application.address.clone(),
            protocol: application.protocol,
            limits: config.limits.clone(),
            tasks: opened.clone(),
            cut: signals.cut_application.clone(),
            bounds: seed.shared.memory.metrics().clone(),
        })
    });
    let thread = Thread::new(Arc::clone(&seed.shared), Rc::clone(&pool), application);
    let stop = signals.stop.clone();
    opened.spawn_local(until(stop.clone(), outbound::keep_warm(Rc::clone(&thread))));
    opened.spawn_local(until(stop.clone(), pulse(pulses, index)));
    opened.spawn_local(until(stop.clone(), obey(seed.shared.memory.orders())));

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

/// Does what the process's memory asks for.
async fn obey(mut orders: watch::Receiver<memory::Order>) {
    while orders.changed().await.is_ok() {
        let order = *orders.borrow_and_update();
        http2::obey(&order);
        if order.give_back {
            memory::give_back();
        }
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
        let listeners = &self.seed.listeners;
        self.plain(
            sockets.outbound,
            &self.seed.signals.outbound,
            outbound::listener(&self.thread, None),
            &listeners.app_out,
            LOCAL_IDLE,
            None,
        )?;
        for (name, bound) in sockets.upstreams {
            let dispatch = outbound::listener(&self.thread, Some(&name));
            self.plain(
                bound,
                &self.seed.signals.outbound,
                dispatch,
                &listeners.app_out,
                LOCAL_IDLE,
                Port::new(&self.thread, &name),
            )?;
        }
        if let Some(bound) = sockets.edge {
            self.plain(
                bound,
                &self.seed.signals.inbound,
                edge::listener(&self.thread),
                &listeners.edge,
                public::IDLE,
                None,
            )?;
        }
        if let (Some(bound), Some(certificate)) = (sockets.edge_tls, &self.seed.certificate) {
            let dispatch = edge::listener(&self.thread);
            public::listen(&self.seed, bound, Arc::clone(certificate), dispatch)?;
        }
        if let Some(bound) = sockets.inbound {
            mutual::listen(&self.seed, bound, &self.thread)?;
        }
        Ok(())
    }

    /// A listener in clear: our application's, `own` where it is for one upstream alone, or the public's.
    fn plain(
        &self,
        bound: Bound,
        class: &Class,
        dispatch: Rc<dyn Dispatch>,
        admission: &Arc<Admission>,
        idle: Duration,
        own: Option<Rc<Port>>,
    ) -> io::Result<()> {
        let listener = bound.listen()?;
        let seed = Rc::clone(&self.seed);
        let connect = &seed.shared.config.limits.connect;
        let (preface, header_block) = (connect.preface, connect.header_block);
        let admission = Arc::clone(admission);
        let limits = seed.shared.config.limits.of(admission.scope());
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
            accept::run(listener, admission, Opening::Nothing, leave, |arrived| {
                let Arrived {
                    stream, mut permit, ..
                } = arrived;
                let address = stream.peer();
                let counted = address.map_or(admission::Peer::Socket, |address| {
                    admission::Peer::Address(address.ip())
                });
                if !permit.counts_for(counted) {
                    return;
                }
                let peer = match address {
                    Some(address) if edge => Peer::Public(address),
                    _ => Peer::Application,
                };
                let accepted = Accepted {
                    dispatch: Rc::clone(&dispatch),
                    peer,
                    agreed: None,
                    limits,
                    idle,
                    preface,
                    header_block,
                    patience,
                    bounds: seed.shared.memory.metrics().clone(),
                };
                let seat = seed.shared.memory.seat();
                let (own, class) = (own.clone(), class.clone());
                tasks.spawn_local(async move {
                    match own {
                        Some(own) => Box::pin(own.serve(stream, accepted, &class, &seat)).await,
                        None => {
                            let ending = sent_away(class.ending(), &seat);
                            let serving = accepted.serve(stream, ending, class.tasks.clone());
                            Box::pin(serving).await;
                        }
                    }
                    drop((permit, seat));
                });
            })
            .await;
        });
        Ok(())
    }
}

pub(super) async fn held(places: (Permit, memory::Seat), work: impl Future<Output = ()>) {
    work.await;
    drop(places);
}

/// The connection leaves also when memory is short and it is one of the newest.
pub(super) fn sent_away<L: Future<Output = ()>, C>(
    ending: Ending<L, C>,
    seat: &memory::Seat,
) -> Ending<impl Future<Output = ()> + use<L, C>, C> {
    let sent_away = seat.sent_away();
    Ending {
        leave: async move {
            tokio::select! {
                () = ending.leave => {}
                () = sent_away => {}
            }
        },
        cut: ending.cut,
    }
}

// === impl Seed ===

impl Seed {
    /// False when `leave` came first.
    pub(super) async fn has_identity(&self, leave: &CancellationToken) -> bool {
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
