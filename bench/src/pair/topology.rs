//! A way from the load to the application.

use std::net::SocketAddr;
use std::time::Duration;

use super::process::Process;

/// Where to call, and the proxies on the way.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) proxies: Vec<Process>,
    /// Where the proxies tell their metrics.
    pub(crate) metrics: Vec<SocketAddr>,
    /// What has to run but carries no call.
    #[expect(dead_code, reason = "held so that it lives as long as the proxies")]
    pub(crate) beside: Vec<Process>,
}

impl Topology {
    /// No proxy at all.
    pub(crate) fn direct(address: SocketAddr) -> Self {
        Self {
            name: "direct",
            address,
            proxies: Vec::new(),
            metrics: Vec::new(),
            beside: Vec::new(),
        }
    }

    /// Processor time of the proxies together.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        self.proxies.iter().map(Process::cpu).sum()
    }

    /// Resident memory of the largest proxy.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let mut largest = 0;
        for proxy in &self.proxies {
            largest = largest.max(proxy.resident()?);
        }
        Ok(largest)
    }
}
