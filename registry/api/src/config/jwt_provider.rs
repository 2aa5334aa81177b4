//! `jwt-provider`: where tokens come from and what is asked of them.

use std::collections::BTreeMap;

use crate::Nanos;

wire! {
    pub struct JwtProvider {
        name: String = "Name",
        issuer: String = "Issuer",
        audiences: Vec<String> = "Audiences",
        json_web_key_set: Option<JsonWebKeySet> = "JSONWebKeySet",
        locations: Vec<JwtLocation> = "Locations",
        forwarding: Option<JwtForwarding> = "Forwarding",
        clock_skew_seconds: i64 = "ClockSkewSeconds",
        cache_config: Option<JwtCache> = "CacheConfig",
        meta: BTreeMap<String, String> = "Meta",
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
        hash: u64 = "Hash",
    }

    pub struct JsonWebKeySet {
        local: Option<LocalJwks> = "Local",
        remote: Option<RemoteJwks> = "Remote",
    }

    pub struct LocalJwks {
        /// Base64 of the key set.
        jwks: String = "JWKS",
        filename: String = "Filename",
    }

    pub struct RemoteJwks {
        uri: String = "URI",
        request_timeout_ms: i64 = "RequestTimeoutMs",
        cache_duration: Nanos = "CacheDuration",
        fetch_asynchronously: bool = "FetchAsynchronously",
        use_sni: bool = "UseSNI",
        retry_policy: Option<JwksRetry> = "RetryPolicy",
        jwks_cluster: Option<JwksCluster> = "JWKSCluster",
    }

    pub struct JwksRetry {
        num_retries: i64 = "NumRetries",
        retry_policy_back_off: Option<JwksBackOff> = "RetryPolicyBackOff",
    }

    pub struct JwksBackOff {
        base_interval: Nanos = "BaseInterval",
        max_interval: Nanos = "MaxInterval",
    }

    pub struct JwksCluster {
        discovery_type: String = "DiscoveryType",
        tls_certificates: Option<JwksTls> = "TLSCertificates",
        connect_timeout: Nanos = "ConnectTimeout",
    }

    pub struct JwksTls {
        ca_certificate_provider_instance: Option<JwksTlsProvider> = "CaCertificateProviderInstance",
        trusted_ca: Option<JwksTrustedCa> = "TrustedCA",
    }

    pub struct JwksTlsProvider {
        instance_name: String = "InstanceName",
        certificate_name: String = "CertificateName",
    }

    pub struct JwksTrustedCa {
        filename: String = "Filename",
        environment_variable: String = "EnvironmentVariable",
        inline_string: String = "InlineString",
        inline_bytes: String = "InlineBytes",
    }

    pub struct JwtLocation {
        header: Option<JwtHeader> = "Header",
        query_param: Option<JwtName> = "QueryParam",
        cookie: Option<JwtName> = "Cookie",
    }

    pub struct JwtHeader {
        name: String = "Name",
        value_prefix: String = "ValuePrefix",
        forward: bool = "Forward",
    }

    pub struct JwtName {
        name: String = "Name",
    }

    pub struct JwtForwarding {
        header_name: String = "HeaderName",
        pad_forward_payload_header: bool = "PadForwardPayloadHeader",
    }

    pub struct JwtCache {
        size: i64 = "Size",
    }
}
