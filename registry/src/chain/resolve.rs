//! Resolvers: redirects, subsets, failover, and the targets they end at.

use outrigger_consul::GoDuration;
use outrigger_consul::Nanos;
use outrigger_consul::chain::{ChainFailover, ChainNode, ChainResolver, Target};
use outrigger_consul::config::ServiceResolver;
use outrigger_consul::config::resolver::{Failover, FailoverTarget, Redirect};

use super::{Compiler, Error};

const CONNECT_TIMEOUT: GoDuration = GoDuration::from_secs(5);

/// A place traffic can go to, before anything is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    service: String,
    subset: String,
    datacenter: String,
    peer: String,
}

impl Place {
    pub(super) fn new(service: &str, subset: &str, datacenter: &str) -> Self {
        Self {
            service: service.to_owned(),
            subset: subset.to_owned(),
            datacenter: datacenter.to_owned(),
            peer: String::new(),
        }
    }

    fn id(&self) -> String {
        let subset = if self.subset.is_empty() {
            String::new()
        } else {
            format!("{}.", self.subset)
        };
        if self.peer.is_empty() {
            format!(
                "{subset}{}.default.default.{}",
                self.service, self.datacenter
            )
        } else {
            format!(
                "{subset}{}.default.default.external.{}",
                self.service, self.peer
            )
        }
    }

    fn sni(&self, trust_domain: &str) -> String {
        let subset = if self.subset.is_empty() {
            String::new()
        } else {
            format!("{}.", self.subset)
        };
        format!(
            "{subset}{}.default.{}.internal.{trust_domain}",
            self.service, self.datacenter
        )
    }

    /// Another place, as a redirect or a failover names it. Changing the service forgets the subset.
    fn rewritten(&self, to: &FailoverTarget) -> Self {
        let mut next = self.clone();
        if !to.service.is_empty() && to.service != self.service {
            next.service.clone_from(&to.service);
            next.subset.clear();
        }
        if !to.service_subset.is_empty() {
            next.subset.clone_from(&to.service_subset);
        }
        if !to.peer.is_empty() {
            next.peer.clone_from(&to.peer);
            next.datacenter.clear();
        }
        if !to.datacenter.is_empty() {
            next.datacenter.clone_from(&to.datacenter);
        }
        next
    }
}

fn as_target(redirect: &Redirect) -> FailoverTarget {
    FailoverTarget {
        service: redirect.service.clone(),
        service_subset: redirect.service_subset.clone(),
        datacenter: redirect.datacenter.clone(),
        peer: redirect.peer.clone(),
        ..FailoverTarget::default()
    }
}

/// The places a failover section lists, as rewrites of the primary.
fn rewrites(failover: &Failover) -> Vec<FailoverTarget> {
    if !failover.targets.is_empty() {
        return failover.targets.clone();
    }
    let one = FailoverTarget {
        service: failover.service.clone(),
        service_subset: failover.service_subset.clone(),
        ..FailoverTarget::default()
    };
    if failover.datacenters.is_empty() {
        return vec![one];
    }
    let each = |datacenter: &String| FailoverTarget {
        datacenter: datacenter.clone(),
        ..one.clone()
    };
    failover.datacenters.iter().map(each).collect()
}

/// An entry that says nothing is as good as none.
fn says_nothing(entry: &ServiceResolver) -> bool {
    entry.default_subset.is_empty()
        && entry.subsets.is_empty()
        && entry.redirect.is_none()
        && entry.failover.is_empty()
        && entry.connect_timeout.is_zero()
        && entry.request_timeout.is_zero()
        && entry.load_balancer.is_none()
        && entry.prioritize_by_locality.is_none()
}

impl Compiler<'_> {
    /// Builds the resolver of a place; answers its node's key.
    pub(super) fn resolver(&mut self, place: Place) -> Result<String, Error> {
        let (place, entry) = self.settle(place)?;
        let id = place.id();
        let key = format!("resolver:{id}");
        if self.nodes.contains_key(&key) {
            return Ok(key);
        }
        let connect_timeout = self.target(&place, &entry);
        let mut resolver = ChainResolver {
            default: says_nothing(&entry),
            connect_timeout,
            request_timeout: Nanos(entry.request_timeout.0),
            target: id.clone(),
            failover: None,
        };
        let section = entry
            .failover
            .get(&place.subset)
            .or_else(|| entry.failover.get("*"));
        if let Some(section) = section {
            resolver.failover = self.failover(&place, section)?;
        }
        let node = ChainNode {
            r#type: "resolver".to_owned(),
            name: id,
            resolver: Some(resolver),
            load_balancer: entry.load_balancer.clone(),
            ..ChainNode::default()
        };
        self.nodes.insert(key.clone(), node);
        Ok(key)
    }

    fn failover(
        &mut self,
        primary: &Place,
        section: &Failover,
    ) -> Result<Option<ChainFailover>, Error> {
        let mut targets = Vec::new();
        for rewrite in rewrites(section) {
            let place = primary.rewritten(&rewrite);
            if place == *primary {
                continue;
            }
            // A failover's own failover is not followed: only its place is settled.
            let (place, entry) = self.settle(place)?;
            self.target(&place, &entry);
            targets.push(place.id());
        }
        Ok((!targets.is_empty()).then(|| ChainFailover {
            targets,
            policy: section.policy.clone(),
        }))
    }

    /// Follows redirects and default subsets until a place stays what it is.
    fn settle(&mut self, mut place: Place) -> Result<(Place, ServiceResolver), Error> {
        let mut seen = Vec::<Place>::new();
        loop {
            if place.peer.is_empty() {
                self.record_protocol(&place.service)?;
            }
            if seen.contains(&place) {
                let mut path = seen.iter().map(Place::id).collect::<Vec<_>>();
                path.push(place.id());
                return Err(Error::CircularRedirect(path.join(" -> ")));
            }
            seen.push(place.clone());
            let remote = !place.peer.is_empty();
            let entry = if remote {
                None
            } else {
                self.resolver_of(&place.service)
            }
            .cloned()
            .unwrap_or_default();
            self.refuse_external(&place, &entry)?;
            if let Some(redirect) = &entry.redirect {
                let next = place.rewritten(&as_target(redirect));
                if next != place {
                    place = next;
                    continue;
                }
            }
            if place.subset.is_empty() && !entry.default_subset.is_empty() {
                place.subset.clone_from(&entry.default_subset);
                continue;
            }
            if !place.subset.is_empty() && !remote && !entry.subsets.contains_key(&place.subset) {
                return Err(Error::MissingSubset {
                    service: place.service,
                    subset: place.subset,
                });
            }
            return Ok((place, entry));
        }
    }

    fn refuse_external(&mut self, place: &Place, entry: &ServiceResolver) -> Result<(), Error> {
        let external = self
            .defaults_of(&place.service)
            .is_some_and(|defaults| !defaults.external_sni.is_empty());
        let what = match entry {
            _ if !external => return Ok(()),
            entry if entry.redirect.is_some() => "redirects",
            entry if !entry.subsets.is_empty() => "subsets",
            entry if !entry.failover.is_empty() => "failover",
            _ => return Ok(()),
        };
        Err(Error::External {
            service: place.service.clone(),
            what,
        })
    }

    /// Records the target of a settled place; answers its connect timeout.
    fn target(&mut self, place: &Place, entry: &ServiceResolver) -> GoDuration {
        let overrides = self.request.overrides;
        let own = if entry.connect_timeout.is_zero() {
            CONNECT_TIMEOUT
        } else {
            entry.connect_timeout
        };
        let mut connect_timeout = own;
        if overrides.override_connect_timeout.0 > 0 && overrides.override_connect_timeout != own {
            connect_timeout = overrides.override_connect_timeout;
            self.customized = true;
        }
        let sni = place.sni(self.request.trust_domain);
        let mut target = Target {
            id: place.id(),
            service: place.service.clone(),
            service_subset: place.subset.clone(),
            namespace: "default".to_owned(),
            partition: "default".to_owned(),
            datacenter: place.datacenter.clone(),
            peer: place.peer.clone(),
            connect_timeout,
            name: sni.clone(),
            sni,
            ..Target::default()
        };
        if let Some(subset) = entry.subsets.get(&place.subset) {
            target.subset = subset.clone();
        }
        if let Some(global) = self.global() {
            target.mesh_gateway = global.mesh_gateway.clone();
            target.transparent_proxy.dialed_directly = global.transparent_proxy.dialed_directly;
        }
        if let Some(defaults) = self.defaults_of(&place.service) {
            if !defaults.mesh_gateway.mode.is_empty() {
                target.mesh_gateway = defaults.mesh_gateway.clone();
            }
            target.transparent_proxy.dialed_directly |= defaults.transparent_proxy.dialed_directly;
            if !defaults.external_sni.is_empty() {
                target.sni.clone_from(&defaults.external_sni);
                target.external = true;
            }
        }
        let mode = &overrides.override_mesh_gateway.mode;
        if !mode.is_empty() && *mode != target.mesh_gateway.mode {
            target.mesh_gateway = overrides.override_mesh_gateway.clone();
            self.customized = true;
        }
        self.targets.insert(target.id.clone(), target);
        connect_timeout
    }
}
