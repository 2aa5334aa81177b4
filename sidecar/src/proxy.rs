//! What runs: `bind` takes the sockets, `run` serves until told to leave.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use crate::config::Address;

/// Where a bound sidecar listens.
#[derive(Clone, Debug, Serialize)]
pub struct Addresses {
    pub outbound: Address,
    /// `None` without an application.
    pub inbound: Option<SocketAddr>,
    pub health: SocketAddr,
    pub edge: Option<SocketAddr>,
    /// Upstreams with a port of their own.
    pub upstreams: BTreeMap<String, SocketAddr>,
}
