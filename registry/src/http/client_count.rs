//! How many of something each client address holds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts per address, with one bound for loopback, where all sidecars of a laptop share an address, and one for
/// everybody else.
#[derive(Debug, Clone)]
pub(crate) struct ClientCount {
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
    per_client: (&'static str, usize),
    loopback: (&'static str, usize),
}

/// One of them; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Held {
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
    client: IpAddr,
}

impl ClientCount {
    /// Bounds by their names in the table of limits.
    pub(crate) fn new(per_client: (&'static str, usize), loopback: (&'static str, usize)) -> Self {
        Self {
            held: Arc::default(),
            per_client,
            loopback,
        }
    }

    /// Takes one more, or tells the bound that is reached.
    pub(crate) fn take(&self, client: IpAddr) -> Result<Held, &'static str> {
        let (name, bound) = if client.is_loopback() {
            self.loopback
        } else {
            self.per_client
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(client).or_default();
        if *count >= bound {
            return Err(name);
        }
        *count += 1;
        Ok(Held {
            held: Arc::clone(&self.held),
            client,
        })
    }

    /// What the client that holds most holds, for each bound.
    pub(crate) fn usage(&self) -> [(&'static str, usize); 2] {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let most = |loopback: bool| {
            let clients = held
                .iter()
                .filter(|(client, _)| client.is_loopback() == loopback);
            clients.map(|(_, count)| *count).max().unwrap_or_default()
        };
        [
            (self.per_client.0, most(false)),
            (self.loopback.0, most(true)),
        ]
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
        let count = ClientCount::new(("far", 1), ("near", 2));
        let (far, near) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([127, 0, 0, 1]));
        let first = count.take(far);
        assert!(first.is_ok() && count.take(far).err() == Some("far"));
        let loopback = (count.take(near), count.take(near));
        assert!(loopback.1.is_ok() && count.take(near).err() == Some("near"));
        assert_eq!(count.usage(), [("far", 1), ("near", 2)]);
        drop(first);
        assert!(count.take(far).is_ok());
    }
}
