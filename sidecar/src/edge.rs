//! The public's call to our application.

use std::rc::Rc;

use crate::snapshot::Thread;
use crate::stack::Dispatch;

pub fn listener(_thread: &Rc<Thread>) -> Rc<dyn Dispatch> {
    unreachable!()
}
