//! `service-intentions`: who may call one destination.

use std::collections::BTreeMap;

wire! {
    pub struct ServiceIntentions {
        /// The destination; may be `*`.
        name: String = "Name",
        jwt: Option<IntentionJwt> = "JWT",
        sources: Vec<SourceIntention> = "Sources",
        meta: BTreeMap<String, String> = "Meta",
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
        hash: u64 = "Hash",
    }

    pub struct SourceIntention {
        name: String = "Name",
        action: String = "Action",
        permissions: Vec<Permission> = "Permissions",
        precedence: i64 = "Precedence",
        r#type: String = "Type",
        description: String = "Description",
        peer: String = "Peer",
        namespace: String = "Namespace",
        partition: String = "Partition",
        sameness_group: String = "SamenessGroup",
        legacy_id: String = "LegacyID",
        legacy_meta: BTreeMap<String, String> = "LegacyMeta",
        legacy_create_time: Option<String> = "LegacyCreateTime",
        legacy_update_time: Option<String> = "LegacyUpdateTime",
    }

    pub struct Permission {
        action: String = "Action",
        http: Option<HttpPermission> = "HTTP",
        jwt: Option<IntentionJwt> = "JWT",
    }

    pub struct HttpPermission {
        path_exact: String = "PathExact",
        path_prefix: String = "PathPrefix",
        path_regex: String = "PathRegex",
        header: Vec<HeaderPermission> = "Header",
        methods: Vec<String> = "Methods",
    }

    pub struct HeaderPermission {
        name: String = "Name",
        present: bool = "Present",
        exact: String = "Exact",
        prefix: String = "Prefix",
        suffix: String = "Suffix",
        contains: String = "Contains",
        regex: String = "Regex",
        invert: bool = "Invert",
        ignore_case: bool = "IgnoreCase",
    }

    pub struct IntentionJwt {
        providers: Vec<JwtRequirement> = "Providers",
    }

    pub struct JwtRequirement {
        name: String = "Name",
        verify_claims: Vec<JwtClaim> = "VerifyClaims",
    }

    pub struct JwtClaim {
        path: Vec<String> = "Path",
        value: String = "Value",
    }
}
