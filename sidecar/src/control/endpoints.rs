//! From the registry's instances to endpoints the balancer can use. Pure, but for the table of what is known of each.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use outrigger_consul::chain;
use outrigger_consul::check::Status;
use outrigger_consul::health::ServiceEntry;

use crate::balance::endpoint::{Endpoint, State};
use crate::identity::spiffe::SpiffeId;

const MAX_WEIGHT: i64 = 128;

/// What is known of an endpoint (breaker, estimate, open attempts), kept by registry id while anybody uses it: it survives churn, and
/// two targets that hold the same instance see the same.
#[derive(Debug, Default)]
pub(super) struct States(Mutex<HashMap<Arc<str>, Weak<State>>>);

impl States {
    fn of(&self, id: &Arc<str>) -> Arc<State> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = known.get(id).and_then(Weak::upgrade) {
            return state;
        }
        known.retain(|_, state| state.strong_count() > 0);
        let state = Arc::new(State::default());
        known.insert(id.clone(), Arc::downgrade(&state));
        state
    }
}

/// The endpoints of one target. Instances without an address of their own or of their node are left out.
pub(super) fn build(
    entries: &[ServiceEntry],
    target: &chain::Target,
    trust_domain: &str,
    states: &States,
) -> Vec<Arc<Endpoint>> {
    let uri = format!(
        "spiffe://{trust_domain}/ns/{}/dc/{}/svc/{}",
        or_default(&target.namespace),
        target.datacenter,
        target.service
    );
    let identity = match SpiffeId::parse(&uri) {
        Ok(identity) => Arc::new(identity),
        Err(error) => {
            tracing::error!(%error, uri, "nobody can have this identity; the target has no endpoints");
            return Vec::new();
        }
    };
    let (service, sni): (Arc<str>, Arc<str>) =
        (target.service.as_str().into(), target.sni.as_str().into());
    let endpoint = |entry: &ServiceEntry| {
        let address = SocketAddr::new(
            entry.dial_address().parse::<IpAddr>().ok()?,
            entry.service.dial_port(),
        );
        if address.port() == 0 {
            return None;
        }
        let id: Arc<str> = entry.service.id.as_str().into();
        let (healthy, weight) = health(entry, target.subset.only_passing);
        Some(Arc::new(Endpoint {
            state: states.of(&id),
            id,
            service: service.clone(),
            address,
            identity: identity.clone(),
            sni: sni.clone(),
            weight,
            healthy,
            version: entry
                .service
                .meta
                .get("version")
                .map(|version| version.as_str().into()),
        }))
    };
    entries.iter().filter_map(endpoint).collect()
}

/// Critical is out, warning too where only passing instances are wanted; the weight follows the status.
fn health(entry: &ServiceEntry, only_passing: bool) -> (bool, u32) {
    let (weights, status) = (&entry.service.weights, entry.status());
    let weight = match status {
        Status::Passing => weights.passing,
        Status::Warning => weights.warning,
        Status::Critical => 0,
    };
    let healthy = weight >= 1 && (status == Status::Passing || !only_passing);
    (
        healthy,
        u32::try_from(weight.clamp(1, MAX_WEIGHT)).unwrap_or(1),
    )
}

/// Whether an answer may replace the last one at once: one that takes everybody away must be confirmed first.
pub(super) fn may_replace(known: Option<&[Arc<Endpoint>]>, new: &[Arc<Endpoint>]) -> bool {
    let anybody = |endpoints: &[Arc<Endpoint>]| endpoints.iter().any(|endpoint| endpoint.healthy);
    anybody(new) || !known.is_some_and(anybody)
}

fn or_default(namespace: &str) -> &str {
    if namespace.is_empty() {
        "default"
    } else {
        namespace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_consul::check::HealthCheck;
    use outrigger_consul::service::{Service, Weights};

    fn entry(id: &str, status: Status, weights: (i64, i64)) -> ServiceEntry {
        let service = Service {
            id: id.to_owned(),
            port: 21000,
            address: "127.0.0.1".to_owned(),
            weights: Weights {
                passing: weights.0,
                warning: weights.1,
            },
            ..Service::default()
        };
        let check = HealthCheck {
            status,
            ..HealthCheck::default()
        };
        ServiceEntry {
            service,
            checks: vec![check],
            ..ServiceEntry::default()
        }
    }

    fn target() -> chain::Target {
        chain::Target {
            service: "web".to_owned(),
            namespace: "default".to_owned(),
            datacenter: "dc1".to_owned(),
            sni: "web.default.dc1.internal.x.consul".to_owned(),
            ..chain::Target::default()
        }
    }

    #[test]
    fn health_and_weight_follow_the_checks() {
        for (status, weights, only_passing, expected) in [
            (Status::Passing, (1, 1), false, (true, 1)),
            (Status::Passing, (500, 1), false, (true, 128)),
            (Status::Passing, (0, 1), false, (false, 1)),
            (Status::Warning, (10, 3), false, (true, 3)),
            (Status::Warning, (10, 0), false, (false, 1)),
            (Status::Warning, (10, 3), true, (false, 3)),
            (Status::Critical, (10, 3), false, (false, 1)),
        ] {
            assert_eq!(
                health(&entry("a", status, weights), only_passing),
                expected,
                "{status:?} {weights:?}"
            );
        }
    }

    #[test]
    fn what_is_known_survives_churn() {
        let states = States::default();
        let first = build(
            &[
                entry("a", Status::Passing, (1, 1)),
                entry("b", Status::Passing, (1, 1)),
            ],
            &target(),
            "x.consul",
            &states,
        );
        let second = build(
            &[entry("b", Status::Critical, (1, 1))],
            &target(),
            "x.consul",
            &states,
        );
        assert!(Arc::ptr_eq(&first[1].state, &second[0].state));
        assert_eq!(
            second[0].identity.as_str(),
            "spiffe://x.consul/ns/default/dc/dc1/svc/web"
        );
    }

    #[test]
    fn an_answer_that_takes_everybody_away_waits() {
        let states = States::default();
        let healthy = build(
            &[entry("a", Status::Passing, (1, 1))],
            &target(),
            "x.consul",
            &states,
        );
        let critical = build(
            &[entry("a", Status::Critical, (1, 1))],
            &target(),
            "x.consul",
            &states,
        );
        for (known, new, expected) in [
            (None, &critical[..], true),
            (Some(&healthy[..]), &critical[..], false),
            (Some(&healthy), &[], false),
            (Some(&critical), &[], true),
            (Some(&critical), &healthy, true),
            (Some(&healthy), &healthy, true),
        ] {
            assert_eq!(may_replace(known, new), expected);
        }
    }

    #[test]
    fn instances_that_cannot_be_dialled_are_left_out() {
        let mut nowhere = entry("a", Status::Passing, (1, 1));
        nowhere.service.port = 0;
        let mut named = entry("b", Status::Passing, (1, 1));
        named.service.address = "host.example".to_owned();
        assert!(build(&[nowhere, named], &target(), "x.consul", &States::default()).is_empty());
    }
}
