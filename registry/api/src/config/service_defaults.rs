//! `service-defaults`: a service's protocol and its settings towards upstreams.

use std::collections::BTreeMap;

use crate::Nanos;
use crate::proxy::{EnvoyExtension, Expose, MeshGateway, TransparentProxy};

wire! {
    pub struct ServiceDefaults {
        name: String = "Name",
        protocol: String = "Protocol",
        mode: String = "Mode",
        transparent_proxy: TransparentProxy = "TransparentProxy",
        mutual_tls_mode: String = "MutualTLSMode",
        mesh_gateway: MeshGateway = "MeshGateway",
        expose: Expose = "Expose",
        external_sni: String = "ExternalSNI",
        upstream_config: Option<UpstreamConfiguration> = "UpstreamConfig",
        destination: Option<DestinationConfig> = "Destination",
        max_inbound_connections: i64 = "MaxInboundConnections",
        local_connect_timeout_ms: i64 = "LocalConnectTimeoutMs",
        local_request_timeout_ms: i64 = "LocalRequestTimeoutMs",
        balance_inbound_connections: String = "BalanceInboundConnections",
        rate_limits: Option<serde_json::Value> = "RateLimits",
        envoy_extensions: Vec<EnvoyExtension> = "EnvoyExtensions",
        meta: BTreeMap<String, String> = "Meta",
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
        hash: u64 = "Hash",
    }

    pub struct UpstreamConfiguration {
        overrides: Vec<UpstreamConfig> = "Overrides",
        defaults: Option<UpstreamConfig> = "Defaults",
    }

    pub struct UpstreamConfig {
        name: String = "Name",
        namespace: String = "Namespace",
        partition: String = "Partition",
        peer: String = "Peer",
        envoy_listener_json: String = "EnvoyListenerJSON",
        envoy_cluster_json: String = "EnvoyClusterJSON",
        protocol: String = "Protocol",
        connect_timeout_ms: i64 = "ConnectTimeoutMs",
        limits: Option<UpstreamLimits> = "Limits",
        passive_health_check: Option<PassiveHealthCheck> = "PassiveHealthCheck",
        mesh_gateway: MeshGateway = "MeshGateway",
        balance_outbound_connections: String = "BalanceOutboundConnections",
    }

    /// 0 counts as set here: `None` is unset.
    pub struct UpstreamLimits {
        max_connections: Option<i64> = "MaxConnections",
        max_pending_requests: Option<i64> = "MaxPendingRequests",
        max_concurrent_requests: Option<i64> = "MaxConcurrentRequests",
    }

    pub struct PassiveHealthCheck {
        interval: Nanos = "Interval",
        max_failures: i64 = "MaxFailures",
        enforcing_consecutive_5xx: Option<i64> = "EnforcingConsecutive5xx",
        max_ejection_percent: Option<i64> = "MaxEjectionPercent",
        base_ejection_time: Option<Nanos> = "BaseEjectionTime",
    }

    pub struct DestinationConfig {
        addresses: Vec<String> = "Addresses",
        port: i64 = "Port",
    }
}
