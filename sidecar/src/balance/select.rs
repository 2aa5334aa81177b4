//! The choice itself: which of the endpoints known, connected and worth asking. Looks at state, changes only a breaker's probe.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::{Look, ewma, p2c};
use crate::breaker::{self, Permit, guard};
use crate::connect::State;
use crate::snapshot::Target;

/// As many endpoints as most services have: a choice among them allocates nothing.
type Few<T> = SmallVec<[T; 8]>;

/// What the choice came to.
#[derive(Debug)]
pub enum Choice {
    Picked(Picked),
    /// Everybody who is ready has an open breaker; the first one is tried again after this.
    BreakerOpen(Duration),
    /// The registry says that nobody is healthy.
    Empty,
    /// Somebody may become ready.
    Wait,
}

#[derive(Debug)]
pub struct Picked {
    pub endpoint: Arc<Endpoint>,
    /// This attempt is the breaker's probe.
    pub probe: bool,
    /// The breaker is open, but too many are: the endpoint stays in the set.
    pub overruled: bool,
}

/// One moment, as those who keep it tell it.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    pub now: Instant,
    /// Since the process began.
    pub millis: u64,
    pub short: u32,
}

/// Chooses among the targets in order: a later one only when nobody of the earlier ones can be asked.
pub fn choose(
    targets: &[Arc<Target>],
    reach: &impl Look,
    config: &breaker::Config,
    tried: &[Arc<str>],
    time: Time,
) -> Choice {
    let mut verdict = Choice::Empty;
    for target in targets {
        let endpoints = target.endpoints.load();
        let Some(endpoints) = endpoints.as_ref() else {
            verdict = Choice::Wait;
            continue;
        };
        match among(endpoints, reach, config, tried, time) {
            picked @ Choice::Picked(_) => return picked,
            Choice::Empty => {}
            open @ Choice::BreakerOpen(_) => {
                verdict = if matches!(verdict, Choice::Wait) {
                    Choice::Wait
                } else {
                    open
                }
            }
            Choice::Wait => verdict = Choice::Wait,
        }
    }
    verdict
}

fn among(
    endpoints: &[Arc<Endpoint>],
    reach: &impl Look,
    config: &breaker::Config,
    tried: &[Arc<str>],
    time: Time,
) -> Choice {
    let now = time.millis;
    let healthy: Few<&Arc<Endpoint>> = endpoints
        .iter()
        .filter(|endpoint| endpoint.healthy)
        .collect();
    if healthy.is_empty() {
        return Choice::Empty;
    }
    let mut ready = Few::new();
    let mut connecting = false;
    let mut open = Vec::new();
    for (index, endpoint) in healthy.iter().enumerate() {
        match reach.state(endpoint, time.now) {
            State::Ready => ready.push(index),
            State::Connecting | State::Idle | State::Backoff => {
                reach.warm(endpoint);
                connecting = true;
            }
        }
        if !endpoint.state.breaker.would_permit(config, now) {
            open.push((index, endpoint.state.breaker.state().until()));
        }
    }
    let next_probe = open
        .iter()
        .map(|(_, until)| until.saturating_sub(now))
        .min();
    let is_open =
        |index: usize, open: &[(usize, u64)]| open.iter().any(|(known, _)| *known == index);
    let ejected = guard::ejected(open.clone(), healthy.len());
    let mut candidates: Few<usize> = ready
        .iter()
        .copied()
        .filter(|index| !ejected.contains(index))
        .collect();
    prefer(&mut candidates, |index| {
        healthy[index].state.held_until.load(Ordering::Relaxed) <= now
    });
    prefer(&mut candidates, |index| !tried.contains(&healthy[index].id));
    let mut random = rand::rng();
    while !candidates.is_empty() {
        let views = views(&healthy, &candidates, time.short);
        let Some(position) = p2c::pick(&views, &mut random) else {
            break;
        };
        let index = candidates.swap_remove(position);
        let endpoint = healthy[index];
        if is_open(index, &open) {
            return Choice::Picked(Picked {
                endpoint: endpoint.clone(),
                probe: false,
                overruled: true,
            });
        }
        match endpoint.state.breaker.permit(config, now, random.random()) {
            Permit::No => {}
            permit => {
                return Choice::Picked(Picked {
                    endpoint: endpoint.clone(),
                    probe: permit == Permit::Probe,
                    overruled: false,
                });
            }
        }
    }
    match next_probe {
        Some(left) if !ready.is_empty() && !connecting => {
            Choice::BreakerOpen(Duration::from_millis(left))
        }
        _ => Choice::Wait,
    }
}

/// Keeps those that are preferred, if there are any.
fn prefer(candidates: &mut Few<usize>, preferred: impl Fn(usize) -> bool) {
    if candidates.iter().any(|index| preferred(*index)) {
        candidates.retain(|index| preferred(*index));
    }
}

fn views(healthy: &[&Arc<Endpoint>], candidates: &[usize], now: u32) -> Few<p2c::Candidate> {
    // An endpoint without history starts from the median of the others, or it would draw more than its share at first.
    let start = || {
        let mut known: Vec<f32> = candidates
            .iter()
            .filter_map(|index| healthy[*index].state.latency.load())
            .map(|estimate| estimate.read(now))
            .collect();
        known.sort_by(f32::total_cmp);
        known
            .get(known.len() / 2)
            .copied()
            .unwrap_or(0.0)
            .max(ewma::START.as_millis() as f32)
    };
    candidates
        .iter()
        .map(|index| {
            let endpoint = healthy[*index];
            let estimate = endpoint.state.latency.load_or_start(now, start);
            let pending = endpoint.state.pending.load(Ordering::Relaxed);
            p2c::Candidate {
                weight: endpoint.weight,
                load: estimate.read(now) * (pending as f32 + 1.0),
            }
        })
        .collect()
}
