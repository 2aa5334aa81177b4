//! Removes services whose check has been critical for longer than it asked for.

use std::collections::HashMap;

use outrigger_consul::check::Status;
use tokio::time::Instant;

use crate::http::Shared;
use crate::state::check::deregister_after;
use crate::state::{Key, service};

/// Since when each check that can remove its service has been critical, as seen by this process.
#[derive(Debug, Default)]
pub(super) struct Reaper {
    critical_since: HashMap<Key, Instant>,
}

impl Reaper {
    pub(super) async fn pass(&mut self, shared: &Shared) {
        let state = shared.store.state();
        let now = Instant::now();
        let mut due = Vec::new();
        let mut still = HashMap::new();
        for (key, check) in state.checks.iter() {
            let Some(after) = deregister_after(check, &shared.config.limits) else {
                continue;
            };
            if check.health.status != Status::Critical || check.health.service_id.is_empty() {
                continue;
            }
            let since = *self.critical_since.get(key).unwrap_or(&now);
            still.insert(key.clone(), since);
            if now.duration_since(since) >= after {
                if after == shared.config.limits.deregister_min {
                    shared.hits.count("deregister_min");
                }
                due.push(Key::new(&key.node, &check.health.service_id));
            }
        }
        self.critical_since = still;
        for Key { node, id } in due {
            tracing::info!(
                service = id,
                "removing a service whose check has been critical for too long"
            );
            let gone = shared
                .store
                .write(move |state| service::deregister(state, &node, &id))
                .await;
            if let Err(refusal) = gone {
                tracing::debug!(reason = %refusal, "the service was gone already");
            }
        }
    }
}
