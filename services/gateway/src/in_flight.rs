//! How many requests of a method are under way. One method that hangs must not use up what all of them share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use shop_chassis::Failure;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Code;

use crate::exposed::{Exposed, Rpc};

/// A place for each request that may be under way, a method.
#[derive(Debug)]
pub(crate) struct InFlight {
    places: HashMap<String, Arc<Semaphore>>,
    most: usize,
}

impl InFlight {
    pub(crate) fn new(exposed: &Exposed, most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        let places = exposed.rpcs().map(|rpc| {
            let name = rpc.method.full_name().to_owned();
            (name, Arc::new(Semaphore::new(most)))
        });
        Self {
            places: places.collect(),
            most,
        }
    }

    /// Of the method that has most of them.
    pub(crate) fn largest(&self) -> usize {
        let free = self
            .places
            .values()
            .map(|places| places.available_permits());
        self.most - free.min().unwrap_or(self.most)
    }

    /// A place, given back when dropped; nobody waits for one.
    pub(crate) fn enter(&self, rpc: &Rpc) -> Result<OwnedSemaphorePermit, Failure> {
        let places = self.places.get(rpc.method.full_name()).cloned();
        places
            .and_then(|places| places.try_acquire_owned().ok())
            .ok_or_else(|| {
                Failure::new(
                    Code::Unavailable,
                    "OVERLOADED",
                    "too many requests at once; try again later",
                )
                .retry_after(Duration::from_secs(1))
            })
    }
}
