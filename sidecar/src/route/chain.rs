//! The compiled discovery chain, turned into a tree a call can walk. Pure; what cannot be evaluated is an error, and the last good chain
//! stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outrigger_consul::chain::{ChainNode, CompiledChain};
use outrigger_consul::config::router::RouteDestination;

use super::matcher::{self, Matcher, Request};
use super::modify::{self, Modify};
use super::split::{self, How};
use crate::attempt::Policy;
use crate::deadline::Limit;
use crate::snapshot::Target;

/// Chains are shallow; deeper ones go in circles.
const MAX_DEPTH: usize = 16;

/// A chain cannot be walked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the chain names the node {0:?}, which it does not have")]
    MissingNode(String),
    #[error("the chain names the target {0:?}, which it does not have")]
    MissingTarget(String),
    #[error("the chain has a node of type {0:?}, which is not known here")]
    UnknownNode(String),
    #[error("the chain is deeper than {MAX_DEPTH} nodes")]
    TooDeep,
    #[error(transparent)]
    Match(#[from] matcher::Error),
    #[error(transparent)]
    Modify(#[from] modify::Error),
}

/// A chain ready to be walked.
#[derive(Debug)]
pub struct Chain {
    root: Step,
    /// What the registry says is spoken: `tcp` also where nobody has declared anything.
    pub protocol: Box<str>,
    pub leaves: Vec<Arc<Leaf>>,
    /// All targets, failover included.
    pub targets: Vec<Arc<Target>>,
}

/// Where a walk ends: whom to call and how.
#[derive(Debug)]
pub struct Leaf {
    /// Name of the leg or target, as metrics and log print it.
    pub name: Arc<str>,
    /// The target, then its failover targets in order.
    pub targets: Vec<Arc<Target>>,
    /// The targets of the largest leg, for the last repeat of a call whose leg fails; empty where there is no other leg.
    pub escape: Vec<Arc<Target>>,
    pub limit: Limit,
    pub policy: Policy,
    pub modify: Arc<Modify>,
}

#[derive(Debug)]
enum Step {
    Route(Vec<(Matcher, Self)>),
    Split { weights: Vec<u32>, legs: Vec<Self> },
    Leaf(usize),
}

/// Where a call goes and how its leg was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    pub leaf: usize,
    pub how: Option<How>,
}

/// What the nodes above a leaf have settled.
#[derive(Clone, Debug, Default)]
struct Settled {
    limit: Limit,
    policy: Policy,
    modify: Modify,
    leg: Option<String>,
}

struct Compiler<'a> {
    chain: &'a CompiledChain,
    targets: &'a BTreeMap<String, Arc<Target>>,
    leaves: Vec<Leaf>,
}

// === impl Chain ===

impl Chain {
    /// `targets` holds an entry for every target of the chain, kept by id over changes.
    pub fn new(
        chain: &CompiledChain,
        targets: &BTreeMap<String, Arc<Target>>,
    ) -> Result<Self, Error> {
        let mut compiler = Compiler {
            chain,
            targets,
            leaves: Vec::new(),
        };
        let root = compiler.step(&chain.start_node, &Settled::default(), 0)?;
        let mut targets = Vec::new();
        for target in compiler.leaves.iter().flat_map(|leaf| &leaf.targets) {
            if !targets.iter().any(|known| Arc::ptr_eq(known, target)) {
                targets.push(target.clone());
            }
        }
        Ok(Self {
            root,
            protocol: chain.protocol.as_str().into(),
            leaves: compiler.leaves.into_iter().map(Arc::new).collect(),
            targets,
        })
    }

    /// Nobody has said that calls are spoken.
    pub fn is_opaque(&self) -> bool {
        matches!(&*self.protocol, "tcp" | "")
    }

    /// First matching route, weighted draw per splitter; `None` = nothing matches.
    pub fn walk(
        &self,
        request: &Request<'_>,
        random: &mut impl FnMut() -> f64,
        ready: &dyn Fn(&Leaf) -> bool,
    ) -> Option<Walked> {
        let first = |routes: &[(Matcher, Step)]| {
            routes
                .iter()
                .position(|(matcher, _)| matcher.matches(request))
        };
        self.descend(first, random, ready)
    }

    /// Where bytes go that are no call: nothing of them matches a route but the last one, which takes everything.
    pub fn walk_connection(
        &self,
        random: &mut impl FnMut() -> f64,
        ready: &dyn Fn(&Leaf) -> bool,
    ) -> Option<Walked> {
        self.descend(|routes| routes.len().checked_sub(1), random, ready)
    }

    fn descend(
        &self,
        route: impl Fn(&[(Matcher, Step)]) -> Option<usize>,
        random: &mut impl FnMut() -> f64,
        ready: &dyn Fn(&Leaf) -> bool,
    ) -> Option<Walked> {
        let mut step = &self.root;
        let mut how = None;
        loop {
            step = match step {
                Step::Leaf(leaf) => return Some(Walked { leaf: *leaf, how }),
                Step::Route(routes) => &routes.get(route(routes)?)?.1,
                Step::Split { weights, legs } => {
                    let (leg, chosen) =
                        split::choose(weights, |leg| self.any_ready(&legs[leg], ready), random)?;
                    how = Some(chosen);
                    &legs[leg]
                }
            };
        }
    }

    fn any_ready(&self, step: &Step, ready: &dyn Fn(&Leaf) -> bool) -> bool {
        match step {
            Step::Leaf(leaf) => ready(&self.leaves[*leaf]),
            Step::Route(routes) => routes.iter().any(|(_, step)| self.any_ready(step, ready)),
            Step::Split { legs, .. } => legs.iter().any(|step| self.any_ready(step, ready)),
        }
    }
}

// === impl Compiler ===

impl Compiler<'_> {
    fn step(&mut self, name: &str, settled: &Settled, depth: usize) -> Result<Step, Error> {
        if depth >= MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        let node = self
            .chain
            .nodes
            .get(name)
            .ok_or_else(|| Error::MissingNode(name.to_owned()))?;
        match node.r#type.as_str() {
            "router" => self.router(node, settled, depth),
            "splitter" => self.splitter(node, settled, depth),
            "resolver" => self.resolver(name, node, settled),
            other => Err(Error::UnknownNode(other.to_owned())),
        }
    }

    fn router(&mut self, node: &ChainNode, settled: &Settled, depth: usize) -> Result<Step, Error> {
        let mut routes = Vec::new();
        for route in &node.routes {
            let http = route
                .definition
                .r#match
                .as_ref()
                .and_then(|given| given.http.as_ref());
            let matcher = http.map(Matcher::new).transpose()?.unwrap_or_default();
            let mut below = settled.clone();
            if let Some(destination) = &route.definition.destination {
                below.limit = limit(destination);
                below.policy = Policy::of_route(destination);
                below.modify = below.modify.and(
                    destination.request_headers.as_ref(),
                    destination.response_headers.as_ref(),
                )?;
                if let (false, Some(prefix)) = (
                    destination.prefix_rewrite.is_empty(),
                    matcher.matched_prefix(),
                ) {
                    below.modify = below.modify.rewriting(prefix, &destination.prefix_rewrite);
                }
            }
            let step = self.step(&route.next_node, &below, depth + 1)?;
            routes.push((matcher, step));
        }
        Ok(Step::Route(routes))
    }

    fn splitter(
        &mut self,
        node: &ChainNode,
        settled: &Settled,
        depth: usize,
    ) -> Result<Step, Error> {
        let first = self.leaves.len();
        let (mut weights, mut legs, mut largest) = (Vec::new(), Vec::new(), None::<(u32, usize)>);
        for split in &node.splits {
            let weight = split::basis_points(split.weight);
            let mut below = settled.clone();
            below.modify = below.modify.and(
                split.definition.request_headers.as_ref(),
                split.definition.response_headers.as_ref(),
            )?;
            let leg = if split.definition.service_subset.is_empty() {
                &split.definition.service
            } else {
                &split.definition.service_subset
            };
            below.leg = (!leg.is_empty()).then(|| leg.clone());
            let start = self.leaves.len();
            legs.push(self.step(&split.next_node, &below, depth + 1)?);
            weights.push(weight);
            if largest.is_none_or(|(most, _)| weight > most) {
                largest = Some((weight, start));
            }
        }
        if let Some((_, largest)) = largest {
            let escape = self.leaves[largest].targets.clone();
            for (index, leaf) in self.leaves.iter_mut().enumerate().skip(first) {
                if index != largest {
                    leaf.escape.clone_from(&escape);
                }
            }
        }
        Ok(Step::Split { weights, legs })
    }

    fn resolver(&mut self, name: &str, node: &ChainNode, settled: &Settled) -> Result<Step, Error> {
        let resolver = node.resolver.clone().unwrap_or_default();
        let failover = resolver
            .failover
            .map(|failover| failover.targets)
            .unwrap_or_default();
        let mut targets = Vec::new();
        for id in std::iter::once(&resolver.target).chain(&failover) {
            targets.push(
                self.targets
                    .get(id)
                    .cloned()
                    .ok_or_else(|| Error::MissingTarget(id.clone()))?,
            );
        }
        let mut limit = settled.limit;
        // A resolver's own timeout counts only where the chain starts with it.
        if name == self.chain.start_node
            && let Some(timeout) = resolver
                .request_timeout
                .as_duration()
                .filter(|timeout| !timeout.is_zero())
        {
            limit = Limit::At(timeout);
        }
        let name = settled.leg.clone().unwrap_or_else(|| node.name.clone());
        self.leaves.push(Leaf {
            name: name.into(),
            targets,
            escape: Vec::new(),
            limit,
            policy: settled.policy.clone(),
            modify: Arc::new(settled.modify.clone()),
        });
        Ok(Step::Leaf(self.leaves.len() - 1))
    }
}

/// A route's timeout: zero = not set, negative = off.
fn limit(destination: &RouteDestination) -> Limit {
    match destination.request_timeout.as_duration() {
        None => Limit::Off,
        Some(Duration::ZERO) => Limit::Default,
        Some(timeout) => Limit::At(timeout),
    }
}

#[cfg(test)]
mod tests;
