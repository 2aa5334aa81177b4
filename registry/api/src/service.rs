//! A service as registered and as read back.

use std::collections::BTreeMap;

use crate::check::CheckDefinition;
use crate::proxy::ProxyConfig;

/// The kind of a sidecar's registration.
pub const CONNECT_PROXY: &str = "connect-proxy";

wire! {
    /// Body of `PUT /v1/agent/service/register`.
    pub struct ServiceRegistration {
        id: String = "ID",
        name: String = "Name",
        tags: Vec<String> = "Tags",
        port: u16 = "Port",
        address: String = "Address",
        tagged_addresses: BTreeMap<String, ServiceAddress> = "TaggedAddresses",
        socket_path: String = "SocketPath",
        meta: BTreeMap<String, String> = "Meta",
        enable_tag_override: bool = "EnableTagOverride",
        weights: Option<Weights> = "Weights",
        locality: Option<Locality> = "Locality",
        token: String = "Token",
        check: Option<CheckDefinition> = "Check",
        checks: Vec<CheckDefinition> = "Checks",
        kind: String = "Kind",
        proxy: Option<ProxyConfig> = "Proxy",
        connect: Option<ServiceConnect> = "Connect",
    }

    /// `Connect` of a registration.
    pub struct ServiceConnect {
        native: bool = "Native",
        sidecar_service: Option<Box<ServiceRegistration>> = "SidecarService",
    }

    /// A service instance as health, catalog and agent reads print it.
    pub struct Service {
        @always {
            kind: String = "Kind",
            id: String = "ID",
            service: String = "Service",
            tags: Vec<String> = "Tags",
            meta: BTreeMap<String, String> = "Meta",
            port: u16 = "Port",
            address: String = "Address",
            weights: Weights = "Weights",
            enable_tag_override: bool = "EnableTagOverride",
        }
        /// Consul 1.22 and newer: several named ports; `port` then reads 0.
        ports: Vec<ServicePort> = "Ports",
        tagged_addresses: BTreeMap<String, ServiceAddress> = "TaggedAddresses",
        socket_path: String = "SocketPath",
        locality: Option<Locality> = "Locality",
        proxy: Option<ProxyConfig> = "Proxy",
        connect: Option<ServiceConnect> = "Connect",
        peer_name: String = "PeerName",
        datacenter: String = "Datacenter",
        content_hash: String = "ContentHash",
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
    }

    pub struct ServicePort {
        name: String = "Name",
        port: u16 = "Port",
        default: bool = "Default",
    }

    pub struct ServiceAddress {
        @always {
            address: String = "Address",
            port: u16 = "Port",
        }
    }

    /// What a balancer gives an instance while its checks pass, and while one warns.
    pub struct Weights {
        @always {
            passing: i64 = "Passing",
            warning: i64 = "Warning",
        }
    }

    pub struct Locality {
        region: String = "Region",
        zone: String = "Zone",
    }
}

impl Service {
    /// The port to dial, also for servers that register named ports.
    pub fn dial_port(&self) -> u16 {
        if self.port != 0 {
            return self.port;
        }
        let chosen = self
            .ports
            .iter()
            .find(|port| port.default)
            .or(self.ports.first());
        chosen.map_or(0, |port| port.port)
    }
}
