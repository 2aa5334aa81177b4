//! The public's call to our application, top to bottom: the inbound list without intentions.

use std::rc::Rc;

use tower::ServiceBuilder;

use crate::application;
use crate::call::{self, Side};
use crate::deadline;
use crate::memory;
use crate::observe::{self, Direction};
use crate::pace;
use crate::reply;
use crate::snapshot::Thread;
use crate::stack::{Boxed, Dispatch};

/// The stack of the public listener.
pub fn listener(thread: &Rc<Thread>) -> Rc<dyn Dispatch> {
    let shared = &thread.shared;
    let stack = ServiceBuilder::new()
        .layer(reply::layer(&shared.service)) // outermost: only here an `Error` becomes an answer
        .layer(observe::layer(shared, Direction::Edge)) // sees the error, not its rendering
        .layer(memory::layer(shared)) // refuses while memory is short, before anything is done
        .layer(call::layer(shared, Side::Edge)) // nothing of ours passes in, under no spelling
        .layer(pace::layer(shared)) // a body has to come
        .layer(deadline::layer(deadline::Limit::Default)) // nobody else has set one
        .service(application::Stage::new(thread)); // our application, never asked twice
    Rc::new(Boxed(stack))
}
