//! Connections that nobody needs any more.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::http2::client::Client;

/// Ready when `client` has carried nothing for `limit`.
pub(super) async fn idle(client: &Client, limit: Duration) {
    loop {
        let since = client.idle_since().unwrap_or_else(Instant::now);
        let until = since + limit;
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}
