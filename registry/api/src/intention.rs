//! Intentions: who may call whom.

use std::collections::BTreeMap;

use crate::config::intentions::{IntentionJwt, Permission};

wire! {
    /// One row of `intentions/match`: precedence is already computed, the list is sorted by it.
    pub struct Intention {
        id: String = "ID",
        description: String = "Description",
        source_partition: String = "SourcePartition",
        source_ns: String = "SourceNS",
        source_name: String = "SourceName",
        source_peer: String = "SourcePeer",
        source_sameness_group: String = "SourceSamenessGroup",
        destination_partition: String = "DestinationPartition",
        destination_ns: String = "DestinationNS",
        destination_name: String = "DestinationName",
        source_type: String = "SourceType",
        /// `allow` or `deny`; empty when there are permissions.
        action: String = "Action",
        permissions: Vec<Permission> = "Permissions",
        jwt: Option<IntentionJwt> = "JWT",
        meta: BTreeMap<String, String> = "Meta",
        precedence: i64 = "Precedence",
        created_at: String = "CreatedAt",
        updated_at: String = "UpdatedAt",
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
    }
}
