//! `service-resolver`: subsets, redirects, failover, balancing.

use std::collections::BTreeMap;

use super::proxy_defaults::{FailoverPolicy, PrioritizeByLocality};
use crate::{GoDuration, Nanos};

wire! {
    pub struct ServiceResolver {
        name: String = "Name",
        default_subset: String = "DefaultSubset",
        subsets: BTreeMap<String, Subset> = "Subsets",
        redirect: Option<Redirect> = "Redirect",
        failover: BTreeMap<String, Failover> = "Failover",
        connect_timeout: GoDuration = "ConnectTimeout",
        request_timeout: GoDuration = "RequestTimeout",
        prioritize_by_locality: Option<PrioritizeByLocality> = "PrioritizeByLocality",
        load_balancer: Option<LoadBalancer> = "LoadBalancer",
        meta: BTreeMap<String, String> = "Meta",
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
        hash: u64 = "Hash",
    }

    pub struct Subset {
        filter: String = "Filter",
        only_passing: bool = "OnlyPassing",
    }

    pub struct Redirect {
        service: String = "Service",
        service_subset: String = "ServiceSubset",
        namespace: String = "Namespace",
        partition: String = "Partition",
        datacenter: String = "Datacenter",
        peer: String = "Peer",
        sameness_group: String = "SamenessGroup",
    }

    pub struct Failover {
        service: String = "Service",
        service_subset: String = "ServiceSubset",
        namespace: String = "Namespace",
        datacenters: Vec<String> = "Datacenters",
        targets: Vec<FailoverTarget> = "Targets",
        policy: Option<FailoverPolicy> = "Policy",
        sameness_group: String = "SamenessGroup",
    }

    pub struct FailoverTarget {
        service: String = "Service",
        service_subset: String = "ServiceSubset",
        partition: String = "Partition",
        namespace: String = "Namespace",
        datacenter: String = "Datacenter",
        peer: String = "Peer",
    }

    pub struct LoadBalancer {
        policy: String = "Policy",
        ring_hash_config: Option<RingHash> = "RingHashConfig",
        least_request_config: Option<LeastRequest> = "LeastRequestConfig",
        hash_policies: Vec<HashPolicy> = "HashPolicies",
    }

    pub struct RingHash {
        minimum_ring_size: u64 = "MinimumRingSize",
        maximum_ring_size: u64 = "MaximumRingSize",
    }

    pub struct LeastRequest {
        choice_count: u32 = "ChoiceCount",
    }

    pub struct HashPolicy {
        field: String = "Field",
        field_value: String = "FieldValue",
        cookie_config: Option<CookieConfig> = "CookieConfig",
        source_ip: bool = "SourceIP",
        terminal: bool = "Terminal",
    }

    pub struct CookieConfig {
        session: bool = "Session",
        ttl: Nanos = "TTL",
        path: String = "Path",
    }
}
