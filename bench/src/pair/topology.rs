//! A way from the load to the application.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::application::Application;
use super::process::Process;
use super::report;

/// Where to call, and the proxies on the way.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) proxies: Vec<Process>,
    /// Where the second proxy accepts the first.
    pub(crate) inbound: Option<SocketAddr>,
    /// Where the proxies tell their metrics.
    pub(crate) metrics: Vec<SocketAddr>,
    /// What the proxies were told.
    pub(crate) files: Vec<PathBuf>,
    /// What has to run but carries no call.
    #[expect(dead_code, reason = "held so that it lives as long as the proxies")]
    pub(crate) beside: Vec<Process>,
}

impl Topology {
    /// No proxy at all.
    pub(crate) fn direct(application: Application) -> Self {
        Self {
            name: "direct",
            address: application.address,
            proxies: Vec::new(),
            inbound: None,
            metrics: Vec::new(),
            files: Vec::new(),
            beside: vec![application.process],
        }
    }

    /// What the proxies run with, beside their defaults.
    pub(crate) fn print_files(&self) -> anyhow::Result<()> {
        for file in &self.files {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("read {}", file.display()))?;
            report::say(&format!("# {} of {}\n{text}", file.display(), self.name));
        }
        Ok(())
    }

    /// Calls that our own pair carried, of these.
    pub(crate) fn ours(&self, calls: u64) -> u64 {
        match self.name {
            "outrigger" => calls,
            _ => 0,
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
