//! A sidecar's registration: destination, upstreams, exposure.

use crate::Opaque;

wire! {
    /// `Proxy` of a registration or of a read service.
    pub struct ProxyConfig {
        destination_service_name: String = "DestinationServiceName",
        destination_service_id: String = "DestinationServiceID",
        local_service_address: String = "LocalServiceAddress",
        local_service_port: u16 = "LocalServicePort",
        local_service_socket_path: String = "LocalServiceSocketPath",
        mode: String = "Mode",
        config: Opaque = "Config",
        upstreams: Vec<Upstream> = "Upstreams",
        mesh_gateway: MeshGateway = "MeshGateway",
        expose: Expose = "Expose",
        transparent_proxy: TransparentProxy = "TransparentProxy",
        mutual_tls_mode: String = "MutualTLSMode",
        access_logs: Option<AccessLogs> = "AccessLogs",
        envoy_extensions: Vec<EnvoyExtension> = "EnvoyExtensions",
    }

    pub struct Upstream {
        destination_type: String = "DestinationType",
        destination_namespace: String = "DestinationNamespace",
        destination_partition: String = "DestinationPartition",
        destination_peer: String = "DestinationPeer",
        destination_name: String = "DestinationName",
        datacenter: String = "Datacenter",
        local_bind_address: String = "LocalBindAddress",
        local_bind_port: u16 = "LocalBindPort",
        local_bind_socket_path: String = "LocalBindSocketPath",
        local_bind_socket_mode: String = "LocalBindSocketMode",
        config: Opaque = "Config",
        mesh_gateway: MeshGateway = "MeshGateway",
        /// Set by the merge on upstreams that only central configuration names.
        centrally_configured: bool = "CentrallyConfigured",
    }

    pub struct MeshGateway {
        mode: String = "Mode",
    }

    pub struct Expose {
        checks: bool = "Checks",
        paths: Vec<ExposePath> = "Paths",
    }

    pub struct ExposePath {
        listener_port: u16 = "ListenerPort",
        path: String = "Path",
        local_path_port: u16 = "LocalPathPort",
        protocol: String = "Protocol",
        parsed_from_check: bool = "ParsedFromCheck",
    }

    pub struct TransparentProxy {
        outbound_listener_port: u16 = "OutboundListenerPort",
        dialed_directly: bool = "DialedDirectly",
    }

    pub struct AccessLogs {
        enabled: bool = "Enabled",
        disable_listener_logs: bool = "DisableListenerLogs",
        r#type: String = "Type",
        path: String = "Path",
        json_format: String = "JSONFormat",
        text_format: String = "TextFormat",
    }

    pub struct EnvoyExtension {
        name: String = "Name",
        required: bool = "Required",
        arguments: Opaque = "Arguments",
        consul_version: String = "ConsulVersion",
        envoy_version: String = "EnvoyVersion",
    }
}
