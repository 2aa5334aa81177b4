//! A compiled discovery chain: a small graph the data path walks per call.

use std::collections::BTreeMap;

use crate::config::proxy_defaults::{FailoverPolicy, PrioritizeByLocality};
use crate::config::resolver::{LoadBalancer, Subset};
use crate::config::router::ServiceRoute;
use crate::config::splitter::ServiceSplit;
use crate::proxy::{EnvoyExtension, MeshGateway, TransparentProxy};
use crate::{GoDuration, Nanos};

wire! {
    /// The answer of `/v1/discovery-chain/:service`.
    pub struct ChainAnswer {
        @always { chain: CompiledChain = "Chain", }
    }

    pub struct CompiledChain {
        @always {
            service_name: String = "ServiceName",
            namespace: String = "Namespace",
            partition: String = "Partition",
            datacenter: String = "Datacenter",
        }
        customization_hash: String = "CustomizationHash",
        default: bool = "Default",
        protocol: String = "Protocol",
        service_meta: BTreeMap<String, String> = "ServiceMeta",
        envoy_extensions: Vec<EnvoyExtension> = "EnvoyExtensions",
        start_node: String = "StartNode",
        nodes: BTreeMap<String, ChainNode> = "Nodes",
        targets: BTreeMap<String, Target> = "Targets",
    }

    /// A router, splitter or resolver, by `Type`.
    pub struct ChainNode {
        r#type: String = "Type",
        name: String = "Name",
        routes: Vec<ChainRoute> = "Routes",
        splits: Vec<ChainSplit> = "Splits",
        resolver: Option<ChainResolver> = "Resolver",
        load_balancer: Option<LoadBalancer> = "LoadBalancer",
    }

    pub struct ChainRoute {
        definition: ServiceRoute = "Definition",
        next_node: String = "NextNode",
    }

    pub struct ChainSplit {
        @always {
            definition: ServiceSplit = "Definition",
            /// The effective weight; the definition's is the inner one after flattening.
            weight: f32 = "Weight",
        }
        next_node: String = "NextNode",
    }

    pub struct ChainResolver {
        default: bool = "Default",
        connect_timeout: GoDuration = "ConnectTimeout",
        request_timeout: Nanos = "RequestTimeout",
        target: String = "Target",
        failover: Option<ChainFailover> = "Failover",
    }

    pub struct ChainFailover {
        targets: Vec<String> = "Targets",
        policy: Option<FailoverPolicy> = "Policy",
    }

    pub struct Target {
        id: String = "ID",
        service: String = "Service",
        service_subset: String = "ServiceSubset",
        namespace: String = "Namespace",
        partition: String = "Partition",
        datacenter: String = "Datacenter",
        peer: String = "Peer",
        mesh_gateway: MeshGateway = "MeshGateway",
        subset: Subset = "Subset",
        transparent_proxy: TransparentProxy = "TransparentProxy",
        connect_timeout: GoDuration = "ConnectTimeout",
        external: bool = "External",
        sni: String = "SNI",
        name: String = "Name",
        prioritize_by_locality: Option<PrioritizeByLocality> = "PrioritizeByLocality",
    }

    /// Body of the POST form.
    pub struct ChainOverrides {
        override_connect_timeout: GoDuration = "OverrideConnectTimeout",
        override_protocol: String = "OverrideProtocol",
        override_mesh_gateway: MeshGateway = "OverrideMeshGateway",
    }
}

impl ChainOverrides {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
