//! Running the checks: one task a check that needs a clock or a probe. What a task finds out becomes a write.
//!
//! `reconcile` follows the state: it starts a task for a check that appeared or changed, and ends one whose check is
//! gone. It also removes services whose check has been critical for too long.

mod grpc;
mod http;
mod reap;
mod tcp;
mod threshold;
mod ttl;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_consul::check::{CheckDefinition, HealthCheck, Status};
use rand::RngExt as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::http::Shared;
use crate::state::check::{Method, OUTPUT, method, report};
use crate::state::{Check, Key};
use crate::watch::Topic;
use threshold::Threshold;

/// A probe that names no timeout.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    status: Status,
    output: String,
}

impl Finding {
    fn passing(output: impl Into<String>) -> Self {
        Self {
            status: Status::Passing,
            output: output.into(),
        }
    }

    fn warning(output: impl Into<String>) -> Self {
        Self {
            status: Status::Warning,
            output: output.into(),
        }
    }

    fn critical(output: impl Into<String>) -> Self {
        Self {
            status: Status::Critical,
            output: output.into(),
        }
    }
}

/// The running checks, as handlers see them: their latest output, and the clocks of the TTL ones.
#[derive(Debug, Default)]
pub(crate) struct Runners {
    running: Mutex<HashMap<Key, Running>>,
}

#[derive(Debug)]
struct Running {
    definition: CheckDefinition,
    stop: CancellationToken,
    /// Moved by every report of a TTL check.
    reported: watch::Sender<Instant>,
    output: String,
}

impl Runners {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A TTL check was reported: its clock starts over, and its output is the newest.
    pub(crate) fn report(&self, key: &Key, output: &str) {
        if let Some(running) = self.lock().get_mut(key) {
            running.output = output.chars().take(OUTPUT).collect();
            running.reported.send_replace(Instant::now());
        }
    }

    fn note(&self, key: &Key, output: &str) {
        if let Some(running) = self.lock().get_mut(key) {
            running.output = output.chars().take(OUTPUT).collect();
        }
    }

    fn output(&self, key: &Key) -> String {
        self.lock()
            .get(key)
            .map(|running| running.output.clone())
            .unwrap_or_default()
    }

    /// A check with the newest output, which is not committed while the status stays the same.
    pub(crate) fn with_output(&self, check: &HealthCheck) -> HealthCheck {
        let mut check = check.clone();
        let newest = self.output(&Key::new(&check.node, &check.check_id));
        if !newest.is_empty() {
            check.output = newest;
        }
        check
    }
}

/// Runs until the registry stops. Owns every check's task and awaits them all.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut tasks = JoinSet::new();
    let mut reap = reap::Reaper::default();
    let mut reap_at = Instant::now() + shared.config.limits.check_reap;
    loop {
        let subscription = shared.store.subscribe(vec![Topic::Checks]);
        reconcile(&shared, &mut tasks);
        tokio::select! {
            () = subscription.woken() => {}
            () = shared.stopping.cancelled() => break,
            () = tokio::time::sleep_until(reap_at) => {
                reap.pass(&shared).await;
                reap_at = Instant::now() + shared.config.limits.check_reap;
            }
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
    for running in shared.runners.lock().values() {
        running.stop.cancel();
    }
    while tasks.join_next().await.is_some() {}
}

fn reconcile(shared: &Arc<Shared>, tasks: &mut JoinSet<()>) {
    let state = shared.store.state();
    let wanted = state.checks.iter().filter(|(key, check)| {
        let run = !matches!(method(&check.definition), Method::Given | Method::Alias);
        run && key.node == shared.node()
    });
    let wanted = wanted.collect::<BTreeMap<_, _>>();
    let mut running = shared.runners.lock();
    running.retain(|key, task| {
        let keep = wanted
            .get(key)
            .is_some_and(|check| check.definition == task.definition);
        if !keep {
            task.stop.cancel();
        }
        keep
    });
    for (key, check) in wanted {
        if running.contains_key(key) {
            continue;
        }
        let (reported, reports) = watch::channel(Instant::now());
        let stop = CancellationToken::new();
        let task = Running {
            definition: check.definition.clone(),
            stop: stop.clone(),
            reported,
            output: check.health.output.clone(),
        };
        running.insert(key.clone(), task);
        let (shared, check) = (Arc::clone(shared), Arc::clone(check));
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = one(&shared, &check, reports) => {}
            }
        });
    }
}

async fn one(shared: &Shared, check: &Check, reports: watch::Receiver<Instant>) {
    if method(&check.definition) == Method::Ttl {
        ttl::run(shared, check, reports).await;
    } else {
        probe(shared, check).await;
    }
}

/// Probes at the check's interval, the first time somewhere within it, so that checks registered together do not
/// run together.
async fn probe(shared: &Shared, check: &Check) {
    let definition = &check.definition;
    let asked = definition.interval.as_duration().unwrap_or(TIMEOUT);
    let least = shared.config.limits.check_interval_min;
    if asked < least {
        shared.hits.count("check_interval_min");
    }
    let interval = asked.max(least);
    let timeout = definition
        .timeout
        .as_duration()
        .filter(|timeout| !timeout.is_zero())
        .unwrap_or(TIMEOUT);
    let mut threshold = Threshold::new(definition);
    let prober = http::Prober::new();
    let mut due = Instant::now() + interval.mul_f64(rand::rng().random());
    loop {
        tokio::time::sleep_until(due).await;
        let probe = async {
            match method(definition) {
                Method::Http => prober.probe(definition).await,
                Method::Grpc => grpc::probe(&definition.grpc).await,
                _ => tcp::probe(&definition.tcp).await,
            }
        };
        let finding = match tokio::time::timeout(timeout, probe).await {
            Ok(finding) => finding,
            Err(_) => Finding::critical(format!("no answer within {timeout:?}")),
        };
        shared.runners.note(&check.key(), &finding.output);
        if let Some(status) = threshold.after(finding.status) {
            commit(shared, &check.key(), status, finding.output).await;
        }
        due = (due + interval).max(Instant::now());
    }
}

async fn commit(shared: &Shared, key: &Key, status: Status, output: String) {
    let same = shared
        .store
        .state()
        .checks
        .get(key)
        .is_none_or(|check| check.health.status == status);
    if same {
        return;
    }
    let owned = key.clone();
    let result = shared
        .store
        .write(move |state| Ok(report(state, &owned, status, &output)))
        .await;
    if let Err(refusal) = result {
        tracing::warn!(check = key.id, reason = %refusal, "a check's result could not be stored");
        sleep(Duration::from_secs(1)).await;
    }
}

/// The part of an address that names the host, and its port.
fn host_port(target: &str) -> Option<(String, u16)> {
    let (host, port) = target.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), port.parse().ok()?))
}

/// Resolves a probe's target. Link-local addresses hold machines' secrets, not services.
async fn resolve(target: &str) -> Result<Vec<std::net::SocketAddr>, String> {
    let (host, port) = host_port(target).ok_or_else(|| format!("{target:?} is not host:port"))?;
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let found = found
        .map_err(|error| format!("{host}: {error}"))?
        .collect::<Vec<_>>();
    if found.iter().any(|address| is_link_local(address.ip())) {
        return Err(format!(
            "{host} is a link-local address, which checks do not reach"
        ));
    }
    if found.is_empty() {
        return Err(format!("{host} has no address"));
    }
    Ok(found)
}

fn is_link_local(ip: std::net::IpAddr) -> bool {
    match ip.to_canonical() {
        std::net::IpAddr::V4(ip) => ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
