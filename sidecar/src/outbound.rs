//! A call of our own application on its way to another service, top to bottom. Read this first.

use std::rc::Rc;
use std::sync::Arc;

use tower::ServiceBuilder;

use crate::attempt;
use crate::balance::Balance;
use crate::call::{self, Side};
use crate::deadline;
use crate::memory;
use crate::observe::{self, Direction};
use crate::reply;
use crate::route::Router;
use crate::route::chain::Leaf;
use crate::snapshot::{Thread, Upstream};
use crate::stack::{Boxed, Dispatch, Stage};

pub use crate::balance::keep_warm;

/// The stack of one outbound listener; with `upstream` the authority does not matter and that service is meant.
pub fn listener(thread: &Rc<Thread>, upstream: Option<&str>) -> Rc<dyn Dispatch> {
    let shared = &thread.shared;
    let side = Side::Outbound {
        upstream: upstream.map(Arc::from),
    };
    let build = {
        let thread = thread.clone();
        Rc::new(move |upstream: &Arc<Upstream>, leaf: &Arc<Leaf>| {
            Rc::new(Boxed(route(&thread, upstream, leaf))) as Rc<dyn Dispatch>
        })
    };
    let stack = ServiceBuilder::new()
        .layer(reply::layer(&shared.service)) // outermost: only here an `Error` becomes an answer
        .layer(observe::layer(shared, Direction::Outbound)) // sees the error, not its rendering
        .layer(memory::layer(shared)) // refuses while memory is short, before anything is done
        .layer(call::layer(shared, side)) // refuses what is malformed; knows declared upstreams only
        .service(Router::new(shared, Router::readiness(thread), build)); // walks the chain: route, split, target
    Rc::new(Boxed(stack))
}

/// The stack of one leaf of a chain.
fn route(thread: &Rc<Thread>, upstream: &Arc<Upstream>, leaf: &Arc<Leaf>) -> impl Stage + use<> {
    ServiceBuilder::new()
        .layer(deadline::layer(leaf.limit)) // one deadline for all attempts
        .layer(attempt::layer(&thread.shared, upstream, &leaf.policy)) // repeats what may be repeated
        .service(Balance::new(
            &thread.shared,
            upstream,
            leaf,
            thread.pool.clone(),
        )) // picks, asks the breaker, exchanges
}

#[cfg(test)]
mod tests;
