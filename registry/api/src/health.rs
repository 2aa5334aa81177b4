//! What the health and catalog reads say about a node and its services.

use std::collections::BTreeMap;

use crate::check::{HealthCheck, Status};
use crate::service::Service;

wire! {
    pub struct Node {
        @always {
            id: String = "ID",
            node: String = "Node",
            address: String = "Address",
            datacenter: String = "Datacenter",
            tagged_addresses: BTreeMap<String, String> = "TaggedAddresses",
            meta: BTreeMap<String, String> = "Meta",
        }
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
    }

    /// One instance with its node and the checks of both.
    pub struct ServiceEntry {
        @always {
            node: Node = "Node",
            service: Service = "Service",
            checks: Vec<HealthCheck> = "Checks",
        }
    }
}

impl ServiceEntry {
    /// The worst of the instance's checks; no check at all is passing.
    pub fn status(&self) -> Status {
        self.checks
            .iter()
            .map(|check| check.status)
            .max()
            .unwrap_or(Status::Passing)
    }

    /// The address to dial: the service's own, or its node's.
    pub fn dial_address(&self) -> &str {
        if self.service.address.is_empty() {
            &self.node.address
        } else {
            &self.service.address
        }
    }
}
