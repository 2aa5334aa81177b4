//! The command line of the registry, shared by its own binary and `outrigger registry`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Policy};
use crate::limit::Limits;
use crate::server::Server;
use crate::token::Tokens;

/// Serves Consul's HTTP API from one process.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where to listen; loopback only.
    #[arg(
        long,
        default_value = "127.0.0.1:8500",
        env = "OUTRIGGER_REGISTRY_BIND"
    )]
    pub bind: SocketAddr,
    /// Folder of the journal, snapshots and CA keys.
    #[arg(
        long,
        required_unless_present = "dev",
        env = "OUTRIGGER_REGISTRY_DATA_DIR"
    )]
    pub data_dir: Option<PathBuf>,
    /// Tokens file, mode 0600; default `tokens.json` in the data folder, if it is there.
    #[arg(long, env = "OUTRIGGER_REGISTRY_TOKENS")]
    pub tokens: Option<PathBuf>,
    /// For trying out: no tokens are needed, and without a data folder nothing is kept.
    #[arg(long)]
    pub dev: bool,
    /// What holds where no intention matches.
    #[arg(
        long,
        value_enum,
        default_value = "deny",
        env = "OUTRIGGER_REGISTRY_DEFAULT_INTENTION_POLICY"
    )]
    pub default_intention_policy: Policy,
    /// Trust domain of a fresh CA; default `<uuid>.consul`.
    #[arg(long, env = "OUTRIGGER_REGISTRY_TRUST_DOMAIN")]
    pub trust_domain: Option<String>,
    #[arg(long, default_value = "dc1", env = "OUTRIGGER_REGISTRY_DATACENTER")]
    pub datacenter: String,
    /// Name of the node agent registrations live on; default the host's.
    #[arg(long, env = "OUTRIGGER_REGISTRY_NODE_NAME")]
    pub node_name: Option<String>,
    /// How long a leaf certificate lives; renewed at half of it.
    #[arg(long, default_value = "24h", value_parser = humantime::parse_duration, env = "OUTRIGGER_REGISTRY_LEAF_TTL")]
    pub leaf_ttl: Duration,
    /// TOML file whose `[limits.registry]` names the limits that differ from their defaults.
    #[arg(long, env = "OUTRIGGER_REGISTRY_LIMITS")]
    pub limits: Option<PathBuf>,
    /// Write the bound address here, atomically, once requests are served.
    #[arg(long, env = "OUTRIGGER_REGISTRY_REPORT")]
    pub report: Option<PathBuf>,
}

impl Args {
    /// The configuration these arguments and the files they name make.
    pub fn config(&self) -> anyhow::Result<Config> {
        let tokens = match self.tokens_file() {
            Some(path) => Some(Tokens::read(&path)?),
            None if self.dev => None,
            None => anyhow::bail!(
                "no tokens file: name one with --tokens, or use --dev to let every local process in"
            ),
        };
        let limits = match &self.limits {
            None => Limits::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Limits::parse(&text).with_context(|| format!("cannot use {}", path.display()))?
            }
        };
        let defaults = Config::default();
        Ok(Config {
            bind: self.bind,
            data_dir: self.data_dir.clone(),
            tokens,
            default_policy: self.default_intention_policy,
            trust_domain: self.trust_domain.clone(),
            datacenter: self.datacenter.clone(),
            node_name: self.node_name.clone().unwrap_or(defaults.node_name),
            leaf_ttl: self.leaf_ttl,
            limits,
        })
    }

    fn tokens_file(&self) -> Option<PathBuf> {
        if self.tokens.is_some() {
            return self.tokens.clone();
        }
        let beside = self.data_dir.as_ref()?.join("tokens.json");
        (!self.dev && beside.exists()).then_some(beside)
    }
}

/// Runs the registry until SIGTERM or Ctrl-C.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::bind(args.config()?).await?;
    let address = server.address();
    tracing::info!(%address, "the registry is ready");
    if let Some(path) = &args.report {
        let text = serde_json::json!({"pid": std::process::id(), "address": address}).to_string();
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, path))?;
    }
    let stop = shutdown.clone();
    let signals = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = server.run(shutdown) => Ok(result?),
        () = signals => Ok(()),
    }
}
