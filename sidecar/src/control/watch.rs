//! The watches: own definition, intentions, and per upstream its chain and the endpoints of the chain's targets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outrigger_consul::chain;
use outrigger_consul::chain::{ChainOverrides, CompiledChain};
use outrigger_consul::health::ServiceEntry;
use outrigger_consul::service::Service;
use outrigger_consul::watch::{Blocking, Watched, watch};
use outrigger_consul::{Client, GoDuration, Read};
use tokio::sync::watch::Receiver;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::endpoints::{self, States};
use crate::balance::endpoint::Endpoint;
use crate::config::DefaultIntention;
use crate::intention::Intentions;
use crate::route::chain::Chain;
use crate::snapshot::{Shared, Target, Upstream};

/// An answer that takes every endpoint away is believed only if it is still so after this.
const CONFIRM: Duration = Duration::from_secs(10);

/// How long a new chain waits for the endpoints of its new targets before calls go there.
const SETTLE: Duration = Duration::from_millis(300);

/// What all watches share.
#[derive(Clone, Debug)]
pub(super) struct Watches {
    pub(super) client: Client,
    pub(super) shared: Arc<Shared>,
    pub(super) tracker: TaskTracker,
    pub(super) halt: CancellationToken,
    pub(super) states: Arc<States>,
}

/// A target whose endpoints are watched while a chain names it.
struct Running {
    target: Arc<Target>,
    definition: chain::Target,
    stop: CancellationToken,
}

/// Sets the readiness flag once everything was answered; it is never taken back.
pub(super) fn refresh_ready(shared: &Shared) {
    let upstreams = shared.upstreams.values().all(|upstream| {
        let chain = upstream.chain.load();
        chain.as_ref().is_some_and(|chain| {
            chain
                .targets
                .iter()
                .all(|target| target.endpoints.load().is_some())
        })
    });
    let intentions = shared.config.application.is_none() || shared.intentions.load().is_some();
    if upstreams && intentions {
        shared.ready.snapshot.store(true, Ordering::Release);
    }
}

impl Watches {
    /// Our own definition, with central configuration merged in: what it says of upstreams.
    pub(super) fn definition(&self, proxy: &str) -> Receiver<Watched<Service>> {
        let id: Arc<str> = proxy.into();
        let ask_id = id.clone();
        let (receiver, driver) = watch(
            self.client.clone(),
            Blocking::Hash,
            self.halt.clone(),
            move |client: Client, read| {
                let id = ask_id.clone();
                async move { client.agent_service(&id, &read).await }
            },
        );
        self.tracker.spawn(driver);
        self.follow_age("definition", &id, receiver.clone(), self.halt.clone());
        receiver
    }

    /// Who may call us.
    pub(super) fn intentions(&self) {
        if self.shared.config.application.is_none() {
            return;
        }
        let service = self.shared.service.clone();
        let ask_service = service.clone();
        let (mut receiver, driver) = watch(
            self.client.clone(),
            Blocking::Index,
            self.halt.clone(),
            move |client: Client, read| {
                let service = ask_service.clone();
                async move { client.intentions_match(&service, &read).await }
            },
        );
        self.tracker.spawn(driver);
        self.follow_age("intentions", &service, receiver.clone(), self.halt.clone());
        let (shared, halt) = (self.shared.clone(), self.halt.clone());
        self.tracker.spawn(async move {
            let mut changes = shared.changes();
            loop {
                // Ours overrides what the registry announces: `consul agent -dev` announces allow.
                let default_allow = shared.config.intentions.default == DefaultIntention::Allow;
                let list = receiver.borrow_and_update().value.clone();
                if let (Some(list), Some(trust_domain)) = (list, shared.trust_domain()) {
                    let new = Intentions::new(&list, default_allow, &trust_domain);
                    if shared.intentions.load().as_deref() != Some(&new) {
                        shared.intentions.store(Some(Arc::new(new)));
                        refresh_ready(&shared);
                        shared.touch();
                    }
                }
                if !wait(&halt, &mut receiver, &mut changes).await {
                    return;
                }
            }
        });
    }

    /// One upstream: its chain, and below it the endpoints.
    pub(super) fn upstream(
        &self,
        upstream: &Arc<Upstream>,
        definition: Option<Receiver<Watched<Service>>>,
    ) {
        let (watches, upstream) = (self.clone(), upstream.clone());
        self.tracker.spawn(async move {
            let halt = watches.halt.clone();
            tokio::select! {
                () = halt.cancelled() => {}
                () = watches.follow_chain(&upstream, definition) => {}
            }
        });
    }

    /// Follows the chain; what our definition says of the upstream changes how it is asked for.
    async fn follow_chain(
        &self,
        upstream: &Arc<Upstream>,
        mut definition: Option<Receiver<Watched<Service>>>,
    ) {
        let mut running: BTreeMap<String, Running> = BTreeMap::new();
        loop {
            let overrides = definition
                .as_mut()
                .map(|definition| {
                    overrides(
                        definition.borrow_and_update().value.as_deref(),
                        &upstream.name,
                    )
                })
                .unwrap_or_default();
            let stop = self.halt.child_token();
            let mut chains = self.chain(upstream, &overrides, &stop);
            loop {
                let value = chains.borrow_and_update().value.clone();
                if let Some(compiled) = value {
                    self.apply(upstream, &compiled, &mut running).await;
                }
                tokio::select! {
                    changed = chains.changed() => if changed.is_err() { return },
                    () = redefined(&mut definition, &upstream.name, &overrides) => break,
                }
            }
            stop.cancel();
        }
    }

    fn chain(
        &self,
        upstream: &Arc<Upstream>,
        overrides: &ChainOverrides,
        stop: &CancellationToken,
    ) -> Receiver<Watched<CompiledChain>> {
        let (name, overrides) = (upstream.name.clone(), overrides.clone());
        let (receiver, driver) = watch(
            self.client.clone(),
            Blocking::Index,
            stop.clone(),
            move |client: Client, read| {
                let (name, overrides) = (name.clone(), overrides.clone());
                async move { client.discovery_chain(&name, &overrides, &read).await }
            },
        );
        self.tracker.spawn(driver);
        self.follow_age("chain", &upstream.name, receiver.clone(), stop.clone());
        receiver
    }

    /// A new chain: watches its new targets, then lets calls walk it. One that cannot be walked leaves the last good one.
    async fn apply(
        &self,
        upstream: &Arc<Upstream>,
        compiled: &CompiledChain,
        running: &mut BTreeMap<String, Running>,
    ) {
        for (id, definition) in &compiled.targets {
            if running
                .get(id)
                .is_some_and(|known| known.definition == *definition)
            {
                continue;
            }
            let target = running.get(id).map_or_else(
                || Target::new(id, &definition.service),
                |known| known.target.clone(),
            );
            let stop = self.halt.child_token();
            self.endpoints(upstream, &target, definition, &stop);
            if let Some(old) = running.insert(
                id.clone(),
                Running {
                    target,
                    definition: definition.clone(),
                    stop,
                },
            ) {
                old.stop.cancel();
            }
        }
        let targets = running
            .iter()
            .map(|(id, running)| (id.clone(), running.target.clone()))
            .collect();
        let chain = match Chain::new(compiled, &targets) {
            Ok(chain) => chain,
            Err(error) => {
                tracing::error!(%error, service = &*upstream.name, "the discovery chain cannot be used; the last good one stays");
                return;
            }
        };
        self.settle(&chain).await;
        upstream.chain.store(Some(Arc::new(chain)));
        refresh_ready(&self.shared);
        self.shared.touch();
        running.retain(|id, running| {
            let named = compiled.targets.contains_key(id);
            if !named {
                running.stop.cancel();
            }
            named
        });
    }

    /// Gives new targets a moment to learn their endpoints, so that a shift of traffic finds them.
    async fn settle(&self, chain: &Chain) {
        let mut changes = self.shared.changes();
        let known = async {
            while !chain
                .targets
                .iter()
                .all(|target| target.endpoints.load().is_some())
            {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(SETTLE, known).await;
    }

    fn endpoints(
        &self,
        upstream: &Arc<Upstream>,
        target: &Arc<Target>,
        definition: &chain::Target,
        stop: &CancellationToken,
    ) {
        let ask = {
            let definition = definition.clone();
            move |client: Client, read: Read| {
                let definition = definition.clone();
                async move {
                    let read = Read {
                        datacenter: Some(definition.datacenter.clone())
                            .filter(|name| !name.is_empty()),
                        ..read.filtered(&definition.subset.filter)
                    };
                    client.health_connect(&definition.service, &read).await
                }
            }
        };
        let (receiver, driver) = watch(
            self.client.clone(),
            Blocking::Index,
            stop.clone(),
            ask.clone(),
        );
        self.tracker.spawn(driver);
        self.follow_age("endpoints", &target.id, receiver.clone(), stop.clone());
        let (watches, upstream, target, definition, stop) = (
            self.clone(),
            upstream.clone(),
            target.clone(),
            definition.clone(),
            stop.clone(),
        );
        self.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = watches.follow_endpoints(&upstream, &target, &definition, receiver, ask) => {}
            }
        });
    }

    async fn follow_endpoints<Ask, Fut>(
        &self,
        upstream: &Upstream,
        target: &Target,
        definition: &chain::Target,
        mut receiver: Receiver<Watched<Vec<ServiceEntry>>>,
        ask: Ask,
    ) where
        Ask: Fn(Client, Read) -> Fut,
        Fut: Future<
            Output = Result<outrigger_consul::Answer<Vec<ServiceEntry>>, outrigger_consul::Error>,
        >,
    {
        let mut changes = self.shared.changes();
        loop {
            let entries = receiver.borrow_and_update().value.clone();
            if let (Some(entries), Some(trust_domain)) = (entries, self.shared.trust_domain()) {
                let new = endpoints::build(&entries, definition, &trust_domain, &self.states);
                let known = target.endpoints.load_full();
                if endpoints::may_replace(known.as_deref().map(Vec::as_slice), &new) {
                    self.replace(upstream, target, new);
                } else {
                    tracing::warn!(
                        service = &*upstream.name,
                        target = &*target.id,
                        "the registry says that nobody is healthy; the last endpoints stay until it says so again"
                    );
                    tokio::select! {
                        changed = receiver.changed() => if changed.is_err() { return } else { continue },
                        () = sleep(CONFIRM) => {}
                    }
                    if let Ok(answer) = ask(self.client.clone(), Read::default()).await {
                        let again = endpoints::build(
                            &answer.value,
                            definition,
                            &trust_domain,
                            &self.states,
                        );
                        self.replace(upstream, target, again);
                    } else {
                        continue;
                    }
                }
            }
            if !wait(&self.halt, &mut receiver, &mut changes).await {
                return;
            }
        }
    }

    fn replace(&self, upstream: &Upstream, target: &Target, new: Vec<Arc<Endpoint>>) {
        if target
            .endpoints
            .load()
            .as_deref()
            .is_some_and(|known| same(known, &new))
        {
            return;
        }
        let healthy = new.iter().filter(|endpoint| endpoint.healthy).count();
        tracing::debug!(
            service = &*upstream.name,
            target = &*target.id,
            healthy,
            all = new.len(),
            "endpoints changed"
        );
        target.endpoints.store(Some(Arc::new(new)));
        refresh_ready(&self.shared);
        self.shared.touch();
    }

    /// Copies the watch's age and failures to where the metrics read them.
    fn follow_age<T: Send + Sync + 'static>(
        &self,
        kind: &'static str,
        what: &Arc<str>,
        receiver: Receiver<Watched<T>>,
        stop: CancellationToken,
    ) {
        let (shared, what) = (self.shared.clone(), what.clone());
        self.tracker.spawn(async move {
            shared.ages.watches.fetch_add(1, Ordering::Relaxed);
            let mut ticks = interval(Duration::from_secs(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut failures = 0;
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    _ = ticks.tick() => {}
                }
                let (confirmed, now_failing) = {
                    let watched = receiver.borrow();
                    (watched.confirmed, watched.failures)
                };
                if let Some(at) = confirmed {
                    shared.ages.confirm(kind, &what, at);
                }
                shared.ages.errors.fetch_add(
                    u64::from(now_failing.saturating_sub(failures)),
                    Ordering::Relaxed,
                );
                failures = now_failing;
            }
            shared.ages.watches.fetch_sub(1, Ordering::Relaxed);
            shared.ages.forget(kind, &what);
        });
    }
}

/// Waits for a new value or another snapshot; `false` = it is over.
async fn wait<T>(
    halt: &CancellationToken,
    receiver: &mut Receiver<Watched<T>>,
    changes: &mut Receiver<u64>,
) -> bool {
    tokio::select! {
        () = halt.cancelled() => false,
        changed = receiver.changed() => changed.is_ok(),
        changed = changes.changed() => changed.is_ok(),
    }
}

/// Ready when our definition asks for the chain differently.
async fn redefined(
    definition: &mut Option<Receiver<Watched<Service>>>,
    upstream: &str,
    current: &ChainOverrides,
) {
    let Some(definition) = definition else {
        return std::future::pending().await;
    };
    loop {
        if definition.changed().await.is_err() {
            return std::future::pending().await;
        }
        let service = definition.borrow_and_update().value.clone();
        if service.is_some() && overrides(service.as_deref(), upstream) != *current {
            return;
        }
    }
}

/// What our definition says of an upstream's protocol and connect timeout; both spellings of the keys.
fn overrides(service: Option<&Service>, upstream: &str) -> ChainOverrides {
    let declared = service
        .and_then(|service| service.proxy.as_ref())
        .and_then(|proxy| {
            proxy
                .upstreams
                .iter()
                .find(|known| known.destination_name == upstream)
        });
    let Some(declared) = declared else {
        return ChainOverrides::default();
    };
    let text = |key: &str| {
        declared
            .config
            .get(key)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let millis = declared
        .config
        .get("connect_timeout_ms")
        .and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()))
        .filter(|millis| *millis > 0);
    ChainOverrides {
        override_protocol: text("protocol"),
        override_connect_timeout: millis.map_or_else(GoDuration::default, |millis| {
            GoDuration(millis.saturating_mul(1_000_000))
        }),
        ..ChainOverrides::default()
    }
}

/// Whether two lists say the same, so that nothing needs to be published.
fn same(known: &[Arc<Endpoint>], new: &[Arc<Endpoint>]) -> bool {
    let facts = |endpoint: &Endpoint| {
        (
            endpoint.id.clone(),
            endpoint.address,
            endpoint.weight,
            endpoint.healthy,
            endpoint.sni.clone(),
            endpoint.identity.clone(),
        )
    };
    known.len() == new.len()
        && known
            .iter()
            .zip(new)
            .all(|(known, new)| facts(known) == facts(new))
}
