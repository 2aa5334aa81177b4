//! Refuses calls while memory is short, before anything is done for them: the caller may try again, elsewhere or later. A stream
//! that was refused as HTTP/2 does it would come back at once.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tower::layer::layer_fn;
use tower_layer::Layer;

use super::Guard;
use crate::error::{Error, Kind};
use crate::snapshot::Shared;
use crate::stack::{Call, Reply, Stage};

/// After this, and up to twice as much: memory comes back with calls that end, not at once.
const PUSHBACK: Duration = Duration::from_millis(500);

/// The refusing stage.
#[derive(Debug)]
pub struct Guarded<S> {
    guard: Arc<Guard>,
    inner: Rc<S>,
}

pub fn layer<S>(shared: &Arc<Shared>) -> impl Layer<S, Service = Guarded<S>> + Clone {
    let guard = Arc::clone(&shared.memory);
    layer_fn(move |inner| Guarded {
        guard: Arc::clone(&guard),
        inner: Rc::new(inner),
    })
}

impl<S: Stage> Stage for Guarded<S> {
    async fn call(&self, mut call: Call) -> Result<Reply, Error> {
        if self.guard.is_short() {
            return Err(overloaded(
                "the sidecar is short of memory; limits.process.memory_guard",
            ));
        }
        if !self.guard.has_room(&mut call) {
            return Err(overloaded(
                "the heads of calls that wait hold what they may; limits.process.header_memory",
            ));
        }
        // Until its stream has ended.
        call.facts.memory.replace(self.guard.call());
        self.inner.call(call).await
    }
}

fn overloaded(why: &'static str) -> Error {
    let after = PUSHBACK.mul_f64(1.0 + rand::random::<f64>());
    Error::unprocessed(Kind::Overloaded, why).with_pushback(after)
}
