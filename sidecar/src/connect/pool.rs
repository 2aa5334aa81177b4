//! Mesh connections by endpoint, of one thread.
//!
//! One connection an endpoint; another when the calls open on it use up what the peer takes. A connection that ends, is told GOAWAY or
//! retires by age or by a leaf's expiry is replaced at once, unless another one has room for its calls; calls on it go on. Failed attempts back off, and go on in the background as
//! long as somebody asked lately.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hashbrown::HashMap;
use http::uri::Scheme;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Metrics;
use super::backoff::Backoff;
use super::choice;
use super::dial::{self, Dialed};
use super::idle::idle;
use super::strangers::Strangers;
use crate::accept::rate::Rate;
use crate::balance::endpoint::Endpoint;
use crate::config::{Limits, Scope};
use crate::error::{Error, Kind};
use crate::http2;
use crate::http2::client::{Client, PingTimes, Setup, Share};
use crate::http2::meter::Limit;
use crate::identity::{Current, Material, now};
use crate::tls;

/// From so many connections to an endpoint on, calls use them up before another one is made.
const MOST: usize = 24;

/// Nobody asked for an endpoint for this long: it is not redialled by itself.
const INTEREST: Duration = Duration::from_secs(60);

/// Whether an endpoint can take a call on this thread now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A connection with a free stream is open.
    Ready,
    /// A connection is being made.
    Connecting,
    /// The last attempt failed; the next one waits.
    Backoff,
    /// Nobody asked yet.
    Idle,
}

/// What a pool is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) identity: Arc<Current>,
    pub(crate) limits: Limits,
    pub(crate) tasks: TaskTracker,
    /// Ends connections with what is on them.
    pub(crate) cut: CancellationToken,
    pub(crate) metrics: Metrics,
    pub(crate) handshakes: tls::Metrics,
    pub(crate) bounds: http2::Metrics,
    /// Of all threads.
    pub(crate) dials: Arc<Mutex<Rate>>,
}

/// The mesh connections of one thread.
#[derive(Debug)]
pub struct Pool {
    pub(super) parts: Parts,
    setup: Setup,
    entries: RefCell<HashMap<Arc<str>, Rc<Entry>>>,
    changed: Rc<Notify>,
}

/// One endpoint.
#[derive(Debug)]
struct Entry {
    endpoint: Arc<Endpoint>,
    connections: RefCell<Vec<Rc<Client>>>,
    phase: Cell<Phase>,
    backoff: Cell<Backoff>,
    failure: RefCell<Option<dial::Error>>,
    asked: Cell<Instant>,
    /// The endpoint moved: nothing is dialled for this entry any more.
    gone: Cell<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Resting,
    Dialing,
    Waiting,
}

// === impl Pool ===

impl Pool {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let connect = &parts.limits.connect;
        let setup = Setup {
            limits: parts.limits.mesh(),
            scheme: Scheme::HTTPS,
            ping: Some(PingTimes {
                interval: connect.ping_interval,
                timeout: connect.ping_timeout,
            }),
            patience: connect.stream_progress,
            preface: connect.preface,
            header_block: connect.header_block,
            metrics: parts.bounds.clone(),
        };
        Rc::new(Self {
            parts,
            setup,
            entries: RefCell::default(),
            changed: Rc::default(),
        })
    }

    /// Whether a call can go to `endpoint` now.
    pub fn state(&self, endpoint: &Arc<Endpoint>, now: Instant) -> State {
        let entries = self.entries.borrow();
        let entry = entries.get(&endpoint.id);
        let Some(entry) = entry.filter(|entry| entry.leads_to(endpoint)) else {
            return State::Idle;
        };
        entry.asked.set(now);
        entry.state()
    }

    /// Why the last connection to it was not made.
    pub fn failure(&self, endpoint: &Arc<Endpoint>) -> Option<Kind> {
        let entry = self.known(endpoint)?;
        let failure = entry.failure.borrow();
        failure.as_ref().map(dial::Error::kind)
    }

    /// As many calls as may wait for an instance of `upstream` do.
    pub(crate) fn crowded(&self, upstream: &str) {
        self.parts.bounds.hit(Scope::Mesh, Limit::Queued, &upstream);
    }

    /// Room for calls of strangers to one upstream.
    pub(crate) fn strangers(&self) -> Strangers {
        let parts = &self.parts;
        Strangers::new(&self.setup.limits, &parts.tasks, &parts.bounds)
    }

    /// Starts connecting if nothing is open; returns at once.
    pub fn warm(self: &Rc<Self>, endpoint: &Arc<Endpoint>) {
        let entry = self.entry(endpoint);
        if entry.state() == State::Idle {
            self.dial(&entry);
        }
    }

    /// Ready when some endpoint's state has changed since this future was made.
    pub fn changed(&self) -> impl Future<Output = ()> + use<> {
        let changed = Rc::clone(&self.changed);
        let mut waiting = Box::pin(async move {
            let notified = changed.notified();
            notified.await;
        });
        // Registers now, so that nothing is missed between the look at the state and the first poll.
        let early = futures::FutureExt::now_or_never(&mut waiting).is_some();
        async move {
            if !early {
                waiting.await;
            }
        }
    }

    /// A connection with room for one more call. Waits while one is being made; a failed attempt is an answer, not a reason to wait.
    pub(crate) async fn acquire(
        self: &Rc<Self>,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Rc<Client>, Error> {
        let known = self.known(endpoint);
        if let Some(client) = known.and_then(|entry| entry.choose()) {
            return Ok(client);
        }
        let entry = self.entry(endpoint);
        let until = Instant::now() + self.parts.limits.connect.timeout * 2;
        loop {
            if let Some(client) = entry.choose() {
                return Ok(client);
            }
            match entry.phase.get() {
                Phase::Waiting => return Err(entry.refusal()),
                Phase::Resting => self.dial(&entry),
                Phase::Dialing => {}
            }
            if tokio::time::timeout_at(until, self.changed())
                .await
                .is_err()
            {
                return Err(entry.refusal());
            }
        }
    }

    /// Closes every connection to new calls; those in progress end as they do.
    pub(crate) fn close(&self) {
        for entry in self.entries.borrow().values() {
            entry.gone.set(true);
            for client in entry.connections.borrow().iter() {
                client.close();
            }
        }
    }

    fn known(&self, endpoint: &Arc<Endpoint>) -> Option<Rc<Entry>> {
        self.entries
            .borrow()
            .get(&endpoint.id)
            .filter(|entry| entry.leads_to(endpoint))
            .cloned()
    }

    fn entry(&self, endpoint: &Arc<Endpoint>) -> Rc<Entry> {
        if let Some(entry) = self.known(endpoint) {
            entry.asked.set(Instant::now());
            return entry;
        }
        let connect = &self.parts.limits.connect;
        let entry = Rc::new(Entry::new(
            Arc::clone(endpoint),
            Backoff::new(connect.backoff_first, connect.backoff_longest),
        ));
        let moved = self
            .entries
            .borrow_mut()
            .insert(Arc::clone(&endpoint.id), Rc::clone(&entry));
        if let Some(moved) = moved {
            moved.gone.set(true);
            moved
                .connections
                .borrow_mut()
                .drain(..)
                .for_each(|client| client.close());
        }
        entry
    }

    fn dial(self: &Rc<Self>, entry: &Rc<Entry>) {
        let is_over = self.parts.cut.is_cancelled() || entry.gone.get();
        if entry.phase.get() != Phase::Resting || is_over {
            return;
        }
        entry.phase.set(Phase::Dialing);
        let (pool, entry) = (Rc::clone(self), Rc::clone(entry));
        self.parts.tasks.spawn_local(async move {
            tokio::select! {
                () = pool.parts.cut.cancelled() => {}
                () = pool.reach(&entry) => {}
            }
            entry.phase.set(Phase::Resting);
            pool.changed.notify_waiters();
        });
    }

    /// Tries until a connection stands, or nobody is interested any more.
    async fn reach(self: &Rc<Self>, entry: &Rc<Entry>) {
        while entry.wanted() {
            entry.phase.set(Phase::Dialing);
            self.changed.notify_waiters();
            match self.attempt(entry).await {
                Ok(dialed) => return self.adopt(entry, dialed),
                Err(err) => {
                    let wait = entry.failed(err);
                    self.changed.notify_waiters();
                    sleep(wait).await;
                }
            }
        }
    }

    /// How long until it is our turn to dial.
    fn turn(&self) -> Duration {
        let dials = self.parts.dials.lock();
        dials
            .unwrap_or_else(PoisonError::into_inner)
            .take(Instant::now())
    }

    /// Many endpoints that come at once are not all dialled at once.
    async fn wait_for_turn(&self, endpoint: &Endpoint) {
        let wait = self.turn();
        if !wait.is_zero() {
            self.parts
                .bounds
                .hit(Scope::Mesh, Limit::DialsPerSecond, &endpoint.id);
            sleep(wait).await;
        }
    }

    async fn attempt(&self, entry: &Entry) -> Result<Dialed, dial::Error> {
        let endpoint = &*entry.endpoint;
        self.dialed(endpoint, async |identity| {
            dial::mesh(endpoint, &identity, &self.setup).await
        })
        .await
    }

    /// One attempt in its turn and its time; a failure is counted and told.
    pub(super) async fn dialed<T>(
        &self,
        endpoint: &Endpoint,
        dial: impl AsyncFnOnce(Arc<Material>) -> Result<T, dial::Error>,
    ) -> Result<T, dial::Error> {
        self.wait_for_turn(endpoint).await;
        let identity = self.parts.identity.load().ok_or(dial::Error::NoIdentity)?;
        let limit = self.parts.limits.connect.timeout;
        let dialed = timeout(limit, dial(identity)).await.unwrap_or_else(|_| {
            let detail = format!("no connection within {}", humantime::format_duration(limit));
            Err(dial::Error::Connect {
                address: endpoint.address.to_string(),
                detail,
            })
        });
        if let Err(err) = &dialed {
            self.parts.metrics.failed.inc();
            if let dial::Error::Handshake { cause, .. } = err {
                self.parts.handshakes.outbound(*cause);
            }
            tracing::info!(endpoint = %endpoint.id, error = %err, "endpoint not reached");
        }
        dialed
    }

    fn adopt(self: &Rc<Self>, entry: &Rc<Entry>, dialed: Dialed) {
        entry.succeeded();
        entry
            .connections
            .borrow_mut()
            .push(Rc::clone(&dialed.client));
        self.parts.metrics.opened.inc();
        self.parts.metrics.open.inc();
        let (pool, entry) = (Rc::clone(self), Rc::clone(entry));
        self.parts.tasks.spawn_local(async move {
            pool.drive(&entry, dialed).await;
            pool.parts.metrics.open.dec();
        });
    }

    /// Owns one connection to its end.
    async fn drive(self: &Rc<Self>, entry: &Rc<Entry>, dialed: Dialed) {
        let Dialed {
            client,
            mut driver,
            validity,
        } = dialed;
        let own = self
            .parts
            .identity
            .load()
            .map_or(validity, |material| material.validity);
        let first = if own.not_after < validity.not_after {
            own
        } else {
            validity
        };
        let mut schedule =
            pin!(self.schedule(entry, &client, first.retires_in(now()), first.left(now())));
        let ended = std::future::poll_fn(|cx| {
            let polled = driver.poll(cx);
            if polled.is_ready() {
                return polled;
            }
            if client.is_closed() && entry.forget(&client) {
                self.changed.notify_waiters();
                self.replace(entry, &client);
            }
            if schedule.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            Poll::Pending
        })
        .await;
        if let Err(err) = ended {
            tracing::info!(endpoint = %entry.endpoint.id, error = %err, "mesh connection lost");
        }
        drop(driver);
        if entry.forget(&client) {
            self.changed.notify_waiters();
            self.replace(entry, &client);
        }
    }

    /// Retires the connection in time: a replacement first, then no new calls, at a leaf's expiry the end. Returns when it has to end.
    async fn schedule(
        self: &Rc<Self>,
        entry: &Rc<Entry>,
        client: &Rc<Client>,
        retires: Duration,
        expires: Duration,
    ) {
        let connect = &self.parts.limits.connect;
        let age = connect.age.mul_f64(0.9 + 0.2 * rand::random::<f64>());
        let expiry = Instant::now() + expires;
        let retirement = Instant::now() + retires.min(age);
        tokio::select! {
            () = self.parts.cut.cancelled() => return client.cut(),
            () = idle(client, connect.idle) => client.close(),
            () = tokio::time::sleep_until(retirement) => self.retire(entry, client, expiry).await,
        }
        tokio::select! {
            () = self.parts.cut.cancelled() => {}
            () = tokio::time::sleep_until(expiry) => {}
        }
        client.cut();
    }

    async fn retire(self: &Rc<Self>, entry: &Rc<Entry>, client: &Rc<Client>, expiry: Instant) {
        self.replace(entry, client);
        while entry
            .connections
            .borrow()
            .iter()
            .all(|other| Rc::ptr_eq(other, client) || !other.has_room(Share::All))
            && entry.wanted()
            && Instant::now() < expiry
        {
            self.replace(entry, client);
            if tokio::time::timeout_at(expiry, self.changed())
                .await
                .is_err()
            {
                break;
            }
        }
        client.close();
        entry.forget(client);
        self.changed.notify_waiters();
    }

    /// What a burst needed is not made anew.
    fn replace(self: &Rc<Self>, entry: &Rc<Entry>, client: &Rc<Client>) {
        if entry.wanted() && !entry.is_light_without(client) {
            self.dial(entry);
        }
    }
}

// === impl Entry ===

impl Entry {
    fn new(endpoint: Arc<Endpoint>, backoff: Backoff) -> Self {
        Self {
            endpoint,
            connections: RefCell::default(),
            phase: Cell::new(Phase::Resting),
            backoff: Cell::new(backoff),
            failure: RefCell::default(),
            asked: Cell::new(Instant::now()),
            gone: Cell::new(false),
        }
    }

    fn leads_to(&self, endpoint: &Endpoint) -> bool {
        std::ptr::eq(&raw const *self.endpoint, endpoint)
            || (self.endpoint.address == endpoint.address
                && self.endpoint.identity == endpoint.identity)
    }

    fn state(&self) -> State {
        if self.choose().is_some() {
            return State::Ready;
        }
        match self.phase.get() {
            Phase::Resting => State::Idle,
            Phase::Dialing => State::Connecting,
            Phase::Waiting => State::Backoff,
        }
    }

    fn choose(&self) -> Option<Rc<Client>> {
        choice::first_light(&self.connections.borrow(), MOST, Share::All)
    }

    /// Whether calls have a place when `client` takes none.
    fn is_light_without(&self, client: &Rc<Client>) -> bool {
        let connections = self.connections.borrow();
        let mut others = connections
            .iter()
            .filter(|other| !Rc::ptr_eq(other, client));
        others.any(|other| other.is_light())
    }

    fn wanted(&self) -> bool {
        !self.gone.get() && self.asked.get().elapsed() < INTEREST
    }

    fn failed(&self, err: dial::Error) -> Duration {
        *self.failure.borrow_mut() = Some(err);
        self.phase.set(Phase::Waiting);
        let mut backoff = self.backoff.get();
        let wait = backoff.next(rand::random());
        self.backoff.set(backoff);
        wait
    }

    fn succeeded(&self) {
        self.failure.borrow_mut().take();
        self.phase.set(Phase::Resting);
        let mut backoff = self.backoff.get();
        backoff.reset();
        self.backoff.set(backoff);
    }

    /// True if the connection was still in the list.
    fn forget(&self, client: &Rc<Client>) -> bool {
        let mut connections = self.connections.borrow_mut();
        let before = connections.len();
        connections.retain(|other| !Rc::ptr_eq(other, client));
        connections.len() < before
    }

    fn refusal(&self) -> Error {
        match &*self.failure.borrow() {
            Some(failure) => Error::unprocessed(failure.kind(), failure.to_string()),
            None => Error::unprocessed(
                Kind::Connect,
                format!("no connection to {} in time", self.endpoint.address),
            ),
        }
    }
}
