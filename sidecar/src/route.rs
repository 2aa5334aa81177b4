//! Where to: walks the compiled discovery chain of the called service and hands the call to the stack of the leaf it reaches.
//!
//! A thread keeps one prebuilt stack a leaf and rebuilds them when a new chain arrives; churn of endpoints rebuilds nothing. A call keeps
//! the snapshot it started with.

pub mod chain;

pub mod matcher;

pub mod modify;

pub mod split;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use rand::RngExt;
use tokio::time::{Instant, timeout_at};

use crate::balance;
use crate::error::{Error, Kind};
use crate::snapshot::{Shared, Thread, Upstream};
use crate::stack::{Call, Dispatch, Reply, Stage};
use chain::{Chain, Leaf};

/// How long a first call waits for the first snapshot.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a thread needs to know of its connections for a draw.
pub type IsReady = Rc<dyn Fn(&Leaf) -> bool>;

/// Builds the stack of one leaf.
pub type Build = Rc<dyn Fn(&Arc<Upstream>, &Arc<Leaf>) -> Rc<dyn Dispatch>>;

/// The routing stage of one listener.
pub struct Router {
    shared: Arc<Shared>,
    build: Build,
    is_ready: IsReady,
    built: RefCell<HashMap<Arc<str>, Rc<Built>>>,
}

/// The stacks of one chain on this thread.
struct Built {
    chain: Arc<Chain>,
    stacks: Vec<Rc<dyn Dispatch>>,
}

// === impl Router ===

impl Router {
    pub fn new(shared: &Arc<Shared>, is_ready: IsReady, build: Build) -> Self {
        Self {
            shared: shared.clone(),
            build,
            is_ready,
            built: RefCell::default(),
        }
    }

    /// Whether a leaf has anyone ready on this thread.
    pub fn readiness(thread: &Rc<Thread>) -> IsReady {
        let thread = thread.clone();
        Rc::new(move |leaf| {
            leaf.targets
                .iter()
                .any(|target| balance::has_ready(&thread.pool, target))
        })
    }

    async fn chain(&self, upstream: &Upstream, received: Instant) -> Result<Arc<Chain>, Error> {
        if let Some(chain) = upstream.chain.load_full() {
            return Ok(chain);
        }
        let mut changes = self.shared.changes();
        let wait = async {
            loop {
                if let Some(chain) = upstream.chain.load_full() {
                    return Some(chain);
                }
                changes.changed().await.ok()?;
            }
        };
        let chain = timeout_at(received + PATIENCE, wait).await.ok().flatten();
        chain.ok_or_else(|| {
            Error::unprocessed(
                Kind::NotReady,
                "the registry has not answered yet; check that it is reachable",
            )
        })
    }

    fn built(&self, upstream: &Arc<Upstream>, chain: Arc<Chain>) -> Rc<Built> {
        if let Some(built) = self.built.borrow().get(&upstream.name)
            && Arc::ptr_eq(&built.chain, &chain)
        {
            return built.clone();
        }
        let stacks = chain
            .leaves
            .iter()
            .map(|leaf| (self.build)(upstream, leaf))
            .collect();
        let built = Rc::new(Built { chain, stacks });
        self.built
            .borrow_mut()
            .insert(upstream.name.clone(), built.clone());
        built
    }
}

impl Stage for Router {
    async fn call(&self, mut call: Call) -> Result<Reply, Error> {
        let upstream = self.shared.upstreams.get(&call.service).ok_or_else(|| {
            Error::unprocessed(Kind::NoRoute, "the service is not a declared upstream")
        })?;
        let chain = self.chain(upstream, call.received).await?;
        let built = self.built(upstream, chain);
        let request = matcher::Request {
            path: call.uri.path(),
            query: call.uri.query().unwrap_or(""),
            method: &call.method,
            headers: &call.headers,
        };
        let mut random = || rand::rng().random::<f64>();
        let walked = built.chain.walk(&request, &mut random, &*self.is_ready);
        let walked = walked.ok_or_else(|| {
            Error::unprocessed(
                Kind::NoRoute,
                "no route of the service matches the call; check its service-router",
            )
        })?;
        let leaf = &built.chain.leaves[walked.leaf];
        if let Some(how) = walked.how {
            self.shared
                .metrics
                .draw(&upstream.name, &leaf.name, how.name());
            call.facts.empty_leg.set(how == split::How::EmptyLeg);
        }
        *call.facts.leg.borrow_mut() = Some(leaf.name.clone());
        let stack = built.stacks[walked.leaf].clone();
        leaf.modify.request(&mut call);
        let modify = leaf.modify.clone();
        let mut reply = stack.dispatch(call).await?;
        modify.response(&mut reply);
        Ok(reply)
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router")
            .field("built", &self.built.borrow().keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
