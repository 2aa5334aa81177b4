//! A mesh peer's call to our application, top to bottom.

use std::rc::Rc;

use tower::ServiceBuilder;

use crate::application;
use crate::call::{self, Side};
use crate::deadline;
use crate::intention;
use crate::memory;
use crate::observe::{self, Direction};
use crate::reply;
use crate::snapshot::Thread;
use crate::stack::{Boxed, Dispatch};
use crate::throttle;

/// The stack of the mTLS listener.
pub fn listener(thread: &Rc<Thread>) -> Rc<dyn Dispatch> {
    let shared = &thread.shared;
    let stack = ServiceBuilder::new()
        .layer(reply::layer(&shared.service)) // outermost: only here an `Error` becomes an answer
        .layer(observe::layer(shared, Direction::Inbound)) // sees the error, not its rendering
        .layer(memory::layer(shared)) // refuses while memory is short, before anything is done
        .layer(throttle::layer(shared)) // a peer that was reported gets less
        .layer(call::layer(shared, Side::Inbound)) // states the peer, drops forged headers
        .layer(intention::layer(shared)) // may it? before anything is done for it
        .layer(deadline::layer(deadline::Limit::Off)) // the caller's own; its sidecar has set a default
        .service(application::Stage::new(thread)); // our application, never asked twice
    Rc::new(Boxed(stack))
}
