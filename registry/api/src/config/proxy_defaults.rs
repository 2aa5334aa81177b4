//! `proxy-defaults`: what holds for every proxy.

use std::collections::BTreeMap;

use crate::Opaque;
use crate::proxy::{AccessLogs, EnvoyExtension, Expose, MeshGateway, TransparentProxy};

wire! {
    pub struct ProxyDefaults {
        name: String = "Name",
        config: Opaque = "Config",
        mode: String = "Mode",
        transparent_proxy: TransparentProxy = "TransparentProxy",
        mutual_tls_mode: String = "MutualTLSMode",
        mesh_gateway: MeshGateway = "MeshGateway",
        expose: Expose = "Expose",
        access_logs: AccessLogs = "AccessLogs",
        envoy_extensions: Vec<EnvoyExtension> = "EnvoyExtensions",
        failover_policy: Option<FailoverPolicy> = "FailoverPolicy",
        prioritize_by_locality: Option<PrioritizeByLocality> = "PrioritizeByLocality",
        meta: BTreeMap<String, String> = "Meta",
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
        hash: u64 = "Hash",
    }

    pub struct FailoverPolicy {
        mode: String = "Mode",
        regions: Vec<String> = "Regions",
    }

    pub struct PrioritizeByLocality {
        mode: String = "Mode",
    }
}
