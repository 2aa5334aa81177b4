//! Connections that carried one call and then nothing.

use std::time::Duration;

use anyhow::Context as _;

use crate::pair::load::{Client, Held, Work};
use crate::pair::topology::Topology;

/// Bytes resident in the proxy that accepts, before and with the connections.
pub(super) async fn measure(topology: &Topology, count: usize) -> anyhow::Result<(u64, u64)> {
    let proxy = topology.proxies.first().context("a proxy")?;
    let work = Work {
        client: Client::H2,
        size: 100,
        messages: 1,
        connections: 1,
    };
    let before = proxy.resident()?;
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let connection = Held::open(topology.address, work).await;
        held.push(connection.with_context(|| format!("connection {}", held.len()))?);
    }
    // What is freed after a call is freed by now.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = proxy.resident()?;
    Ok((before, after))
}
