//! A call of our own application, on its way to another service.

use std::rc::Rc;

use crate::snapshot::Thread;
use crate::stack::Dispatch;

/// The outbound stack of one listener; with `upstream` the authority is ignored and that service is meant.
pub fn listener(_thread: &Rc<Thread>, _upstream: Option<&str>) -> Rc<dyn Dispatch> {
    unreachable!()
}

pub async fn keep_warm(_thread: Rc<Thread>) {}
