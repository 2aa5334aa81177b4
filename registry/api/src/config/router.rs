//! `service-router`: routes by path, header, query and method.

use std::collections::BTreeMap;

use crate::GoDuration;

wire! {
    pub struct ServiceRouter {
        name: String = "Name",
        routes: Vec<ServiceRoute> = "Routes",
        meta: BTreeMap<String, String> = "Meta",
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
        hash: u64 = "Hash",
    }

    pub struct ServiceRoute {
        r#match: Option<RouteMatch> = "Match",
        destination: Option<RouteDestination> = "Destination",
    }

    pub struct RouteMatch {
        http: Option<HttpMatch> = "HTTP",
    }

    pub struct HttpMatch {
        path_exact: String = "PathExact",
        path_prefix: String = "PathPrefix",
        path_regex: String = "PathRegex",
        case_insensitive: bool = "CaseInsensitive",
        header: Vec<HeaderMatch> = "Header",
        query_param: Vec<QueryMatch> = "QueryParam",
        methods: Vec<String> = "Methods",
    }

    pub struct HeaderMatch {
        name: String = "Name",
        present: bool = "Present",
        exact: String = "Exact",
        prefix: String = "Prefix",
        suffix: String = "Suffix",
        regex: String = "Regex",
        invert: bool = "Invert",
    }

    pub struct QueryMatch {
        name: String = "Name",
        present: bool = "Present",
        exact: String = "Exact",
        regex: String = "Regex",
    }

    pub struct RouteDestination {
        service: String = "Service",
        service_subset: String = "ServiceSubset",
        namespace: String = "Namespace",
        partition: String = "Partition",
        prefix_rewrite: String = "PrefixRewrite",
        request_timeout: GoDuration = "RequestTimeout",
        idle_timeout: GoDuration = "IdleTimeout",
        num_retries: u32 = "NumRetries",
        retry_on_connect_failure: bool = "RetryOnConnectFailure",
        retry_on_status_codes: Vec<u32> = "RetryOnStatusCodes",
        retry_on: Vec<String> = "RetryOn",
        request_headers: Option<HeaderModifiers> = "RequestHeaders",
        response_headers: Option<HeaderModifiers> = "ResponseHeaders",
    }

    pub struct HeaderModifiers {
        add: BTreeMap<String, String> = "Add",
        set: BTreeMap<String, String> = "Set",
        remove: Vec<String> = "Remove",
    }
}
