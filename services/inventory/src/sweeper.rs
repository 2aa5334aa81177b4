//! Gives reservations back that nobody confirmed in time. One task, owned and awaited by `serve`; a round that fails
//! is logged and the next one tries again.

use std::time::Duration;

use shop_chassis::CancellationToken;

use crate::inventory::Inventory;

/// Sweeps every `interval` until `shutdown`.
pub async fn run(inventory: Inventory, interval: Duration, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        if let Err(error) = inventory.sweep().await {
            tracing::warn!(%error, "the sweep failed and will be tried again");
        }
    }
}
