//! A connection of our application to one upstream, top to bottom: memory left → an instance → bytes both ways.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use super::metrics::Observed;
use super::reach::{Reached, reach};
use crate::accept::stream::{Plain, Prefixed};
use crate::config::Scope;
use crate::error::Kind;
use crate::identity;
use crate::observe::Direction;
use crate::snapshot::{Thread, Upstream};

/// Carries `near` to an instance of `upstream` until both have ended, or `ended` says why it has to end before.
pub(crate) async fn carry(
    thread: &Rc<Thread>,
    upstream: &Arc<Upstream>,
    mut near: Prefixed<Plain>,
    ended: impl Future<Output = Kind>,
) {
    let shared = &thread.shared;
    let mut observed = shared.opaque.observe(
        Direction::Outbound,
        &upstream.name,
        &shared.service,
        shared.memory.metrics().buffered(),
    );
    let carrying = async {
        if shared.memory.is_short() {
            return Err(Kind::Overloaded);
        }
        let reached = reach(thread, upstream, &mut observed).await;
        let reached = reached.map_err(|err| {
            observed.detail = Some(err.to_string());
            err.kind
        })?;
        through(thread, &mut near, reached, &mut observed).await
    };
    let result = tokio::select! {
        biased;
        kind = ended => Err(kind),
        result = carrying => result,
    };
    if result.is_err() {
        // The application is not to take for an end what was none.
        near.abort();
    }
    observed.ends(result);
}

async fn through(
    thread: &Thread,
    near: &mut Prefixed<Plain>,
    reached: Reached,
    observed: &mut Observed,
) -> Result<(), Kind> {
    let Reached {
        mut opaque,
        pending: _pending,
    } = reached;
    let patience = thread.shared.config.limits.connect.stream_progress;
    let bounds = thread.shared.memory.metrics();
    let left = opaque.validity.left(identity::now());
    let near = (near, Scope::AppOut);
    let far = (&mut opaque.stream, Scope::Mesh);
    tokio::select! {
        // A connection rests on two leaves.
        () = tokio::time::sleep(left) => Err(Kind::Cut),
        result = observed.carry(near, far, patience, bounds) => result,
    }
}
