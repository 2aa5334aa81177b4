//! Health checks: how one is asked for, and how its state is printed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::GoDuration;
use crate::shape::{Shape, shaped};

/// A check's verdict. Ordered from best to worst, so that the worst of several is their maximum.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Passing,
    Warning,
    /// What a check is until it has run.
    #[default]
    Critical,
}

shaped! { Status => Shape::Text }

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "passing" => Some(Self::Passing),
            "warning" => Some(Self::Warning),
            "critical" => Some(Self::Critical),
            _ => None,
        }
    }
}

wire! {
    /// A check in a service registration, or the body of `PUT /v1/agent/check/register`.
    pub struct CheckDefinition {
        check_id: String = "CheckID",
        id: String = "ID",
        name: String = "Name",
        service_id: String = "ServiceID",
        /// `passing`, `warning` or `critical`; empty means critical.
        status: String = "Status",
        notes: String = "Notes",
        ttl: GoDuration = "TTL",
        interval: GoDuration = "Interval",
        timeout: GoDuration = "Timeout",
        http: String = "HTTP",
        method: String = "Method",
        header: BTreeMap<String, Vec<String>> = "Header",
        body: String = "Body",
        disable_redirects: bool = "DisableRedirects",
        tcp: String = "TCP",
        tcp_use_tls: bool = "TCPUseTLS",
        udp: String = "UDP",
        /// `host:port[/service]`.
        grpc: String = "GRPC",
        grpc_use_tls: bool = "GRPCUseTLS",
        h2ping: String = "H2PING",
        h2ping_use_tls: Option<bool> = "H2PingUseTLS",
        tls_server_name: String = "TLSServerName",
        tls_skip_verify: bool = "TLSSkipVerify",
        script_args: Vec<String> = "ScriptArgs",
        args: Vec<String> = "Args",
        docker_container_id: String = "DockerContainerID",
        shell: String = "Shell",
        os_service: String = "OSService",
        alias_node: String = "AliasNode",
        alias_service: String = "AliasService",
        success_before_passing: u32 = "SuccessBeforePassing",
        failures_before_warning: u32 = "FailuresBeforeWarning",
        failures_before_critical: u32 = "FailuresBeforeCritical",
        deregister_critical_service_after: GoDuration = "DeregisterCriticalServiceAfter",
        output_max_size: i64 = "OutputMaxSize",
    }

    /// Body of `PUT /v1/agent/check/update/:id`.
    pub struct CheckUpdate {
        status: String = "Status",
        output: String = "Output",
    }

    /// A check's current state.
    pub struct HealthCheck {
        @always {
            node: String = "Node",
            check_id: String = "CheckID",
            name: String = "Name",
            status: Status = "Status",
            notes: String = "Notes",
            output: String = "Output",
            service_id: String = "ServiceID",
            service_name: String = "ServiceName",
            service_tags: Vec<String> = "ServiceTags",
            r#type: String = "Type",
            interval: String = "Interval",
            timeout: String = "Timeout",
            exposed_port: u16 = "ExposedPort",
            definition: HealthCheckDefinition = "Definition",
        }
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
    }

    pub struct HealthCheckDefinition {
        http: String = "HTTP",
        tcp: String = "TCP",
        grpc: String = "GRPC",
        interval: GoDuration = "Interval",
        timeout: GoDuration = "Timeout",
    }
}
