//! Who wakes: parked reads name the things their answer depends on, a commit names the things it changed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_consul::config::Kind;
use tokio::sync::Notify;

/// Something an answer can depend on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Topic {
    /// The instances of a service name, their checks and their nodes.
    Service(String),
    /// The sidecars in front of a service name.
    Connect(String),
    /// One instance, by id.
    Instance(String),
    /// Which services exist.
    Services,
    Nodes,
    /// Any check.
    Checks,
    Config(Kind, String),
    ConfigKind(Kind),
    Key(String),
    /// Every key that starts so. Only subscribed to, never published.
    Prefix(String),
    Roots,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    waiters: HashMap<u64, Waiter>,
    by_topic: HashMap<Topic, HashSet<u64>>,
    prefixes: HashMap<u64, String>,
}

#[derive(Debug)]
struct Waiter {
    notify: Arc<Notify>,
    topics: Vec<Topic>,
}

/// The parked reads.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    table: Mutex<Table>,
}

/// A parked read's place in the table; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Subscription {
    wakers: Arc<Wakers>,
    id: u64,
    notify: Arc<Notify>,
}

impl Wakers {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes; a publication from here on is not missed even before `woken` is awaited.
    pub(crate) fn subscribe(self: &Arc<Self>, topics: Vec<Topic>) -> Subscription {
        let notify = Arc::new(Notify::new());
        let mut table = self.lock();
        let id = table.next;
        table.next += 1;
        for topic in &topics {
            match topic {
                Topic::Prefix(prefix) => {
                    table.prefixes.insert(id, prefix.clone());
                }
                topic => {
                    table.by_topic.entry(topic.clone()).or_default().insert(id);
                }
            }
        }
        table.waiters.insert(
            id,
            Waiter {
                notify: Arc::clone(&notify),
                topics,
            },
        );
        Subscription {
            wakers: Arc::clone(self),
            id,
            notify,
        }
    }

    /// Wakes everybody who depends on one of these.
    pub(crate) fn publish(&self, topics: &BTreeSet<Topic>) {
        let table = self.lock();
        for topic in topics {
            for id in table.by_topic.get(topic).into_iter().flatten() {
                table.wake(*id);
            }
            if let Topic::Key(key) = topic {
                for (id, _) in table
                    .prefixes
                    .iter()
                    .filter(|(_, prefix)| key.starts_with(prefix.as_str()))
                {
                    table.wake(*id);
                }
            }
        }
    }
}

impl Table {
    fn wake(&self, id: u64) {
        if let Some(waiter) = self.waiters.get(&id) {
            waiter.notify.notify_one();
        }
    }
}

impl Subscription {
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut table = self.wakers.lock();
        let Some(waiter) = table.waiters.remove(&self.id) else {
            return;
        };
        table.prefixes.remove(&self.id);
        for topic in waiter.topics {
            if let Some(ids) = table.by_topic.get_mut(&topic) {
                ids.remove(&self.id);
                if ids.is_empty() {
                    table.by_topic.remove(&topic);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_dependants_wake_and_leaving_empties_the_table() {
        let wakers = Arc::new(Wakers::default());
        let web = wakers.subscribe(vec![Topic::Service("web".to_owned())]);
        let prefix = wakers.subscribe(vec![Topic::Prefix("a/".to_owned())]);
        wakers.publish(&BTreeSet::from([
            Topic::Service("api".to_owned()),
            Topic::Key("b/c".to_owned()),
        ]));
        assert!(futures::FutureExt::now_or_never(web.woken()).is_none());
        assert!(futures::FutureExt::now_or_never(prefix.woken()).is_none());
        wakers.publish(&BTreeSet::from([
            Topic::Service("web".to_owned()),
            Topic::Key("a/c".to_owned()),
        ]));
        web.woken().await;
        prefix.woken().await;
        drop((web, prefix));
        let table = wakers.lock();
        assert!(table.waiters.is_empty() && table.by_topic.is_empty() && table.prefixes.is_empty());
    }
}
