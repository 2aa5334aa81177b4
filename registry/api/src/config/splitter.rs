//! `service-splitter`: percentages of traffic.

use std::collections::BTreeMap;

use super::router::HeaderModifiers;

wire! {
    pub struct ServiceSplitter {
        name: String = "Name",
        splits: Vec<ServiceSplit> = "Splits",
        meta: BTreeMap<String, String> = "Meta",
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
        hash: u64 = "Hash",
    }

    pub struct ServiceSplit {
        @always { weight: f32 = "Weight", }
        service: String = "Service",
        service_subset: String = "ServiceSubset",
        namespace: String = "Namespace",
        partition: String = "Partition",
        request_headers: Option<HeaderModifiers> = "RequestHeaders",
        response_headers: Option<HeaderModifiers> = "ResponseHeaders",
    }
}
