//! May this peer call us? L4 intentions by precedence; what cannot be evaluated is denied.

mod l4;

pub use l4::{Decision, Intentions};

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};
use prometheus_client::metrics::counter::Counter;
use tower::layer::layer_fn;
use tower_layer::Layer;

use crate::error::{Error, Kind};
use crate::snapshot::Shared;
use crate::stack::{Call, Peer, Reply, Stage};

/// Refuses calls of peers that no intention allows, before anything else is done for them.
#[derive(Debug)]
pub struct Authorize<S> {
    shared: Arc<Shared>,
    /// Decisions by peer, which is a verified certificate's service.
    counts: RefCell<HashMap<(String, Decision), Counter>>,
    inner: Rc<S>,
}

/// Finds a count without a copy of the peer's name.
#[derive(Hash)]
struct Counted<'a>(&'a str, Decision);

impl Equivalent<(String, Decision)> for Counted<'_> {
    fn equivalent(&self, (peer, decision): &(String, Decision)) -> bool {
        self.0 == peer && self.1 == *decision
    }
}

pub fn layer<S>(shared: &Arc<Shared>) -> impl Layer<S, Service = Authorize<S>> + Clone {
    let shared = shared.clone();
    layer_fn(move |inner| Authorize {
        shared: shared.clone(),
        counts: RefCell::default(),
        inner: Rc::new(inner),
    })
}

impl<S> Authorize<S> {
    fn count(&self, peer: &str, decision: Decision) {
        let mut counts = self.counts.borrow_mut();
        if let Some(counter) = counts.get(&Counted(peer, decision)) {
            counter.inc();
            return;
        }
        let counter = self.shared.metrics.authorization(peer, decision.name());
        counter.inc();
        counts.insert((peer.to_owned(), decision), counter);
    }
}

impl<S: Stage> Stage for Authorize<S> {
    async fn call(&self, call: Call) -> Result<Reply, Error> {
        let (decision, service) = match &call.peer {
            Peer::Mesh(id) => {
                let intentions = self.shared.intentions.load();
                (
                    intentions
                        .as_ref()
                        .map_or(Decision::Deny, |intentions| intentions.decide(id)),
                    id.service_name(),
                )
            }
            Peer::Application | Peer::Public(_) => (Decision::Deny, "other"),
        };
        self.count(service, decision);
        match decision {
            Decision::Allow => self.inner.call(call).await,
            Decision::Deny => Err(Error::unprocessed(Kind::Denied, "RBAC: access denied")),
        }
    }
}
