//! Large unary calls: many one after the other, each on a channel of its own, at once, and with pauses between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::interval;

use crate::channel::{Address, Client, large};
use crate::{Checked, Outcome};

/// Calls that a soak has open at once.
const WORKERS: u64 = 10;

/// Of calls that are made at once: each may take as long as all of them together.
const TOGETHER: Duration = Duration::from_secs(600);

/// Calls of the channel that lives long.
const CALLS: u32 = 8;

async fn all(mut calls: JoinSet<anyhow::Result<()>>) -> Outcome {
    while let Some(ended) = calls.join_next().await {
        ended??;
    }
    Ok(Checked::Wholly)
}

pub(crate) async fn rpc_soak(client: Client, calls: u64) -> Outcome {
    let left = Left::new(calls);
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (left, mut client) = (left.clone(), client.clone());
        workers.spawn(async move {
            while left.take() {
                large(&mut client).await?;
            }
            Ok(())
        });
    }
    all(workers).await
}

pub(crate) async fn channel_soak(address: &Address, channels: u64) -> Outcome {
    let left = Left::new(channels);
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (left, address) = (left.clone(), address.clone());
        workers.spawn(async move {
            while left.take() {
                large(&mut address.client().await?).await?;
            }
            Ok(())
        });
    }
    all(workers).await
}

pub(crate) async fn concurrent_large_unary(address: &Address, calls: u64) -> Outcome {
    let client = address.patient(TOGETHER).client().await?;
    let mut open = JoinSet::new();
    for _ in 0..calls {
        let mut client = client.clone();
        open.spawn(async move { large(&mut client).await });
    }
    all(open).await
}

/// `millis` from one call to the next.
pub(crate) async fn long_lived_channel(mut client: Client, millis: u64) -> Outcome {
    let mut pause = interval(Duration::from_millis(millis));
    for _ in 0..CALLS {
        pause.tick().await;
        large(&mut client).await?;
    }
    Ok(Checked::Wholly)
}

/// Calls that no worker has taken yet.
#[derive(Debug, Clone)]
struct Left(Arc<AtomicU64>);

impl Left {
    fn new(calls: u64) -> Self {
        Self(Arc::new(AtomicU64::new(calls)))
    }

    fn take(&self) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
    }
}
