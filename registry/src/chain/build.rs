//! Routers and splitters.

use outrigger_consul::chain::{ChainNode, ChainRoute, ChainSplit};
use outrigger_consul::config::ServiceSplitter;
use outrigger_consul::config::resolver::LoadBalancer;
use outrigger_consul::config::router::{HttpMatch, RouteDestination, RouteMatch, ServiceRoute};

use super::resolve::Place;
use super::{Compiler, Error};

fn node_name(service: &str) -> String {
    format!("{service}.default.default")
}

fn is_hash_based(balancer: &LoadBalancer) -> bool {
    ["maglev", "ring_hash"].contains(&balancer.policy.as_str())
}

impl Compiler<'_> {
    /// Builds everything the chain can reach; answers the start node's key.
    pub(super) fn start(&mut self) -> Result<String, Error> {
        let service = self.request.service;
        let Some(router) = self.router_of(service) else {
            return self.splitter_or_resolver(service);
        };
        if self.plain {
            self.customized = true;
            return self.splitter_or_resolver(service);
        }
        self.advanced = true;
        self.record_protocol(service)?;
        let mut routes = Vec::new();
        for route in &router.routes {
            let destination = route.destination.as_ref();
            let named = destination
                .map(|destination| destination.service.as_str())
                .filter(|name| !name.is_empty());
            let name = named.unwrap_or(service);
            let subset = destination.map_or("", |destination| destination.service_subset.as_str());
            let next_node = if subset.is_empty() {
                self.splitter_or_resolver(name)?
            } else {
                self.resolver(Place::new(name, subset, self.request.datacenter))?
            };
            routes.push(ChainRoute {
                definition: route.clone(),
                next_node,
            });
        }
        let next_node = self.splitter_or_resolver(service)?;
        routes.push(ChainRoute {
            definition: catch_all(service),
            next_node,
        });
        let name = node_name(service);
        let key = format!("router:{name}");
        let node = ChainNode {
            r#type: "router".to_owned(),
            name,
            routes,
            ..ChainNode::default()
        };
        self.nodes.insert(key.clone(), node);
        Ok(key)
    }

    fn splitter_or_resolver(&mut self, service: &str) -> Result<String, Error> {
        if !self.plain
            && let Some(splitter) = self.splitter_of(service)
        {
            return self.splitter(splitter);
        }
        self.resolver(Place::new(service, "", self.request.datacenter))
    }

    fn splitter(&mut self, splitter: &ServiceSplitter) -> Result<String, Error> {
        let service = splitter.name.as_str();
        let name = node_name(service);
        let key = format!("splitter:{name}");
        if self.nodes.contains_key(&key) {
            return Ok(key);
        }
        self.advanced = true;
        // Recorded before its legs are built, so that a cycle ends here and is found afterwards.
        let node = ChainNode {
            r#type: "splitter".to_owned(),
            name,
            ..ChainNode::default()
        };
        self.nodes.insert(key.clone(), node.clone());
        let mut node = node;
        for split in &splitter.splits {
            let leg = if split.service.is_empty() {
                service
            } else {
                split.service.as_str()
            };
            let inner = if leg != service && split.service_subset.is_empty() {
                self.splitter_of(leg)
            } else {
                None
            };
            let next_node = match inner {
                Some(inner) => self.splitter(inner)?,
                None => self.resolver(Place::new(
                    leg,
                    &split.service_subset,
                    self.request.datacenter,
                ))?,
            };
            let balancer = self
                .nodes
                .get(&next_node)
                .filter(|next| next.r#type == "resolver");
            let balancer = balancer
                .and_then(|next| next.load_balancer.clone())
                .filter(is_hash_based);
            node.load_balancer = node.load_balancer.or(balancer);
            node.splits.push(ChainSplit {
                definition: split.clone(),
                weight: split.weight,
                next_node,
            });
        }
        self.nodes.insert(key.clone(), node);
        Ok(key)
    }
}

fn catch_all(service: &str) -> ServiceRoute {
    let http = HttpMatch {
        path_prefix: "/".to_owned(),
        ..HttpMatch::default()
    };
    let destination = RouteDestination {
        service: service.to_owned(),
        namespace: "default".to_owned(),
        partition: "default".to_owned(),
        ..RouteDestination::default()
    };
    ServiceRoute {
        r#match: Some(RouteMatch { http: Some(http) }),
        destination: Some(destination),
    }
}
