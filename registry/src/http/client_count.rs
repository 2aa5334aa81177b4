//! How many of something each client address holds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts per address, with one bound for loopback, where all sidecars of a laptop share an address, and one for
/// everybody else.
#[derive(Debug, Clone)]
pub(crate) struct ClientCount {
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
    per_client: usize,
    loopback: usize,
}

/// One of them; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Held {
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
    client: IpAddr,
}

impl ClientCount {
    pub(crate) fn new(per_client: usize, loopback: usize) -> Self {
        Self {
            held: Arc::default(),
            per_client,
            loopback,
        }
    }

    /// Takes one more, or `None` at the bound.
    pub(crate) fn take(&self, client: IpAddr) -> Option<Held> {
        let bound = if client.is_loopback() {
            self.loopback
        } else {
            self.per_client
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(client).or_default();
        if *count >= bound {
            return None;
        }
        *count += 1;
        Some(Held {
            held: Arc::clone(&self.held),
            client,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_per_client_and_is_given_back() {
        let count = ClientCount::new(1, 2);
        let (far, near) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([127, 0, 0, 1]));
        let first = count.take(far);
        assert!(first.is_some() && count.take(far).is_none());
        let loopback = (count.take(near), count.take(near));
        assert!(loopback.1.is_some() && count.take(near).is_none());
        drop(first);
        assert!(count.take(far).is_some());
    }
}
