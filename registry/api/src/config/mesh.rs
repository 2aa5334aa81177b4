//! `mesh`: settings of the whole mesh.

use std::collections::BTreeMap;

wire! {
    pub struct Mesh {
        transparent_proxy: MeshTransparentProxy = "TransparentProxy",
        allow_enabling_permissive_mutual_tls: bool = "AllowEnablingPermissiveMutualTLS",
        validate_clusters: bool = "ValidateClusters",
        tls: Option<MeshTls> = "TLS",
        http: Option<MeshHttp> = "HTTP",
        peering: Option<MeshPeering> = "Peering",
        meta: BTreeMap<String, String> = "Meta",
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
        hash: u64 = "Hash",
    }

    pub struct MeshTransparentProxy {
        mesh_destinations_only: bool = "MeshDestinationsOnly",
    }

    pub struct MeshTls {
        incoming: Option<MeshTlsDirection> = "Incoming",
        outgoing: Option<MeshTlsDirection> = "Outgoing",
    }

    pub struct MeshTlsDirection {
        tls_min_version: String = "TLSMinVersion",
        tls_max_version: String = "TLSMaxVersion",
        cipher_suites: Vec<String> = "CipherSuites",
    }

    pub struct MeshHttp {
        sanitize_x_forwarded_client_cert: bool = "SanitizeXForwardedClientCert",
        incoming: Option<MeshHttpIncoming> = "Incoming",
    }

    pub struct MeshHttpIncoming {
        request_normalization: Option<RequestNormalization> = "RequestNormalization",
    }

    pub struct RequestNormalization {
        insecure_disable_path_normalization: bool = "InsecureDisablePathNormalization",
        merge_slashes: bool = "MergeSlashes",
        path_with_escaped_slashes_action: String = "PathWithEscapedSlashesAction",
        headers_with_underscores_action: String = "HeadersWithUnderscoresAction",
    }

    pub struct MeshPeering {
        peer_through_mesh_gateways: bool = "PeerThroughMeshGateways",
    }
}
