//! What a registry is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::limit::Limits;
use crate::token::Tokens;

/// What holds where no intention matches.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    #[default]
    Deny,
    Allow,
}

impl Policy {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Config {
    /// Loopback only: the leaf endpoint hands out private keys over plain HTTP. Default `127.0.0.1:8500`.
    pub bind: SocketAddr,
    /// Journal, snapshot and CA keys; `None` keeps everything in memory.
    pub data_dir: Option<PathBuf>,
    /// Who may do what; `None` lets every local process do everything.
    pub tokens: Option<Tokens>,
    /// Told to sidecars in a header of every response. Default deny.
    pub default_policy: Policy,
    /// Default: `<cluster uuid>.consul`, made at the first start.
    pub trust_domain: Option<String>,
    /// Default `dc1`.
    pub datacenter: String,
    /// Default: the host's name.
    pub node_name: String,
    /// How long a leaf lives; it is renewed at half of that. Default 24 h.
    pub leaf_ttl: Duration,
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8500)),
            data_dir: None,
            tokens: None,
            default_policy: Policy::Deny,
            trust_domain: None,
            datacenter: "dc1".to_owned(),
            node_name: if host.is_empty() {
                "localhost".to_owned()
            } else {
                host
            },
            leaf_ttl: Duration::from_secs(24 * 3600),
            limits: Limits::default(),
        }
    }
}
