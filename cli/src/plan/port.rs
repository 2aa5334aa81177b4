//! Which port each listener asks for. No two listeners of a run ask for the same one, so that a port moves only for a stranger's sake.

use std::collections::BTreeSet;

use crate::mesh_file::MeshFile;

/// The gateway's, in clear.
pub(crate) const EDGE: u16 = 8080;
/// Consul's own HTTP port.
pub(crate) const REGISTRY: u16 = 8500;
/// How far a port that is taken moves up.
pub(crate) const SEARCH: u16 = 64;

const OUTBOUND: u16 = 15001;
const HEALTH: u16 = 15020;
const INBOUND: u16 = 21000;
/// Applications that listen on TCP.
const APPLICATION: u16 = 22000;

/// Hands out ports.
#[derive(Debug)]
pub(super) struct Ports(BTreeSet<u16>);

impl Ports {
    /// What the mesh file names is taken, and so is the registry's.
    pub(super) fn reserving(file: &MeshFile) -> Self {
        let named = file.services.iter().flat_map(|service| {
            service
                .upstreams
                .iter()
                .filter_map(|upstream| upstream.bind)
                .chain(service.edge)
        });
        Self(named.chain([EDGE, REGISTRY]).collect())
    }

    pub(super) fn outbound(&mut self) -> u16 {
        self.next(OUTBOUND, &|port| !(HEALTH..HEALTH + SEARCH).contains(&port))
    }

    pub(super) fn inbound(&mut self) -> u16 {
        self.next(INBOUND, &|_| true)
    }

    pub(super) fn health(&mut self) -> u16 {
        self.next(HEALTH, &|_| true)
    }

    pub(super) fn application(&mut self, is_free: &dyn Fn(u16) -> bool) -> u16 {
        self.next(APPLICATION, is_free)
    }

    fn next(&mut self, from: u16, suits: &dyn Fn(u16) -> bool) -> u16 {
        let port = (from..=u16::MAX)
            .find(|port| !self.0.contains(port) && suits(*port))
            .unwrap_or(0); // All taken: 0 lets the system choose, and who cannot report it fails to become ready.
        self.0.insert(port);
        port
    }
}
