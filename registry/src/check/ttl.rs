//! A clock that somebody else keeps setting back. It starts in full when the registry starts, so that a restart of
//! the registry takes no endpoint away.

use outrigger_consul::check::Status;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Shared, TIMEOUT, commit};
use crate::state::Check;

pub(super) async fn run(shared: &Shared, check: &Check, mut reports: watch::Receiver<Instant>) {
    let ttl = check.definition.ttl.as_duration().unwrap_or(TIMEOUT);
    loop {
        let reported = *reports.borrow_and_update();
        tokio::select! {
            changed = reports.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = sleep_until(reported + ttl) => {
                let last = shared.runners.output(&check.key());
                let output = if last.is_empty() || last.starts_with("TTL expired") {
                    "TTL expired".to_owned()
                } else {
                    format!("TTL expired (last output before timeout follows): {last}")
                };
                commit(shared, &check.key(), Status::Critical, output).await;
                if reports.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}
