//! `GET /v1/catalog/*`.

use std::collections::BTreeMap;

use crate::proxy::ProxyConfig;
use crate::service::{Locality, ServiceAddress, ServiceConnect, Weights};

wire! {
    /// An instance as `catalog/service/:name` prints it, flat.
    pub struct CatalogService {
        @always {
            id: String = "ID",
            node: String = "Node",
            address: String = "Address",
            datacenter: String = "Datacenter",
            tagged_addresses: BTreeMap<String, String> = "TaggedAddresses",
            node_meta: BTreeMap<String, String> = "NodeMeta",
            service_kind: String = "ServiceKind",
            service_id: String = "ServiceID",
            service_name: String = "ServiceName",
            service_tags: Vec<String> = "ServiceTags",
            service_address: String = "ServiceAddress",
            service_tagged_addresses: BTreeMap<String, ServiceAddress> = "ServiceTaggedAddresses",
            service_weights: Weights = "ServiceWeights",
            service_meta: BTreeMap<String, String> = "ServiceMeta",
            service_port: u16 = "ServicePort",
            service_socket_path: String = "ServiceSocketPath",
            service_enable_tag_override: bool = "ServiceEnableTagOverride",
            service_proxy: ProxyConfig = "ServiceProxy",
            service_connect: ServiceConnect = "ServiceConnect",
        }
        service_locality: Option<Locality> = "ServiceLocality",
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
    }
}
