//! The command line, shared by the `sidecar` binary and `outrigger sidecar`. Logging is set up by whoever calls `run`.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::machine;
use crate::proxy::{Proxy, Shutdown};

/// One sidecar beside one application.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The sidecar's TOML file.
    #[arg(long, env = "OUTRIGGER_SIDECAR_CONFIG")]
    pub config: PathBuf,
}

/// Runs a sidecar until SIGTERM or Ctrl-C, then leaves in order. A second signal ends at once.
pub async fn run(args: Args) -> anyhow::Result<()> {
    machine::use_small_pages();
    let config = Config::load(&args.config)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let proxy = Proxy::bind(config)?;
    let addresses = proxy.addresses();
    tracing::info!(outbound = %addresses.outbound, inbound = ?addresses.inbound, health = %addresses.health, edge = ?addresses.edge, edge_tls = ?addresses.edge_tls, "bound");
    let shutdown = Shutdown::default();
    let mut running = std::pin::pin!(proxy.run(shutdown.clone()));
    for told in 0..2 {
        tokio::select! {
            ended = &mut running => return Ok(ended?),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if told == 1 {
            break;
        }
        shutdown.begin.cancel();
    }
    anyhow::bail!("told twice to end: calls in progress were cut")
}
