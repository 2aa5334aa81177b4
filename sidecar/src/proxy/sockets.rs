//! The bound sockets of the data plane: where they come from, what they are called, who shares them.

use std::io;

use super::Addresses;
use super::handover::Inherited;
use crate::accept::bind::{self, Bound};
use crate::config::{Address, Config};

/// Every thread accepts on all of them.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) outbound: Bound,
    pub(super) upstreams: Vec<(String, Bound)>,
    pub(super) inbound: Option<Bound>,
    pub(super) edge: Option<Bound>,
    pub(super) edge_tls: Option<Bound>,
}

/// All sockets: what the predecessor had, else anew.
pub(super) fn bind(
    config: &Config,
    inherited: &mut Inherited,
) -> Result<(Sockets, Bound), bind::Error> {
    let search = config.port_search;
    let mut any = |name: &str, address: &Address| match inherited.any(name, address, search) {
        Some(bound) => Ok(bound),
        None => Bound::bind(address, search),
    };
    let inbound = config.application.as_ref().map(|_| config.inbound.bind);
    let edge = config.edge.as_ref();
    let own_port = config
        .upstreams
        .iter()
        .filter_map(|upstream| Some((upstream.name.clone(), upstream.bind?)));
    let sockets = Sockets {
        outbound: any("outbound", &config.outbound.bind)?,
        inbound: inbound
            .map(|address| any("inbound", &Address::Tcp(address)))
            .transpose()?,
        edge: edge
            .and_then(|edge| edge.plain)
            .map(|address| any("edge", &Address::Tcp(address)))
            .transpose()?,
        edge_tls: edge
            .and_then(|edge| edge.tls)
            .map(|address| any("edge over TLS", &Address::Tcp(address)))
            .transpose()?,
        upstreams: own_port
            .map(|(name, address)| {
                let bound = any(&upstream(&name), &Address::Tcp(address))?;
                Ok((name, bound))
            })
            .collect::<Result<_, bind::Error>>()?,
    };
    let health = any("health", &Address::Tcp(config.health.bind))?;
    Ok((sockets, health))
}

// === impl Sockets ===

impl Sockets {
    pub(super) fn addresses(&self, health: &Bound) -> io::Result<Addresses> {
        let tcp = |bound: &Bound| match bound.address()? {
            Address::Tcp(address) => Ok(address),
            Address::Unix(_) => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        };
        Ok(Addresses {
            outbound: self.outbound.address()?,
            inbound: self.inbound.as_ref().map(tcp).transpose()?,
            health: tcp(health)?,
            edge: self.edge.as_ref().map(tcp).transpose()?,
            edge_tls: self.edge_tls.as_ref().map(tcp).transpose()?,
            upstreams: self
                .upstreams
                .iter()
                .map(|(name, bound)| Ok((name.clone(), tcp(bound)?)))
                .collect::<io::Result<_>>()?,
        })
    }

    /// All of them by name, for a successor.
    pub(super) fn named(&self, health: &Bound) -> io::Result<Vec<(String, Bound)>> {
        let mut named = vec![
            ("outbound".to_owned(), self.outbound.share()?),
            ("health".to_owned(), health.share()?),
        ];
        let others = [
            ("inbound", &self.inbound),
            ("edge", &self.edge),
            ("edge over TLS", &self.edge_tls),
        ];
        for (name, bound) in others {
            if let Some(bound) = bound {
                named.push((name.to_owned(), bound.share()?));
            }
        }
        for (name, bound) in &self.upstreams {
            named.push((upstream(name), bound.share()?));
        }
        Ok(named)
    }

    pub(super) fn share(&self) -> io::Result<Self> {
        Ok(Self {
            outbound: self.outbound.share()?,
            upstreams: self
                .upstreams
                .iter()
                .map(|(name, bound)| Ok((name.clone(), bound.share()?)))
                .collect::<io::Result<_>>()?,
            inbound: self.inbound.as_ref().map(Bound::share).transpose()?,
            edge: self.edge.as_ref().map(Bound::share).transpose()?,
            edge_tls: self.edge_tls.as_ref().map(Bound::share).transpose()?,
        })
    }
}

/// The name of an upstream's own socket among the others.
fn upstream(name: &str) -> String {
    format!("upstream {name}")
}
