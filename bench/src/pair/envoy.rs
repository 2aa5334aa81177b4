//! A pair of Envoys with the features our pair has switched on: mutual TLS 1.3 with SPIFFE ids, authorization by id, least request,
//! one retry, outlier detection, statistics of every method.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use tokio::process::Command;

use super::certificates::{CALLEE, CALLER};
use super::process::Process;
use super::program;
use super::topology::Topology;

/// Starts both; without Envoy it says so, and the comparison is without it.
pub(crate) async fn start(
    folder: &Path,
    application: SocketAddr,
) -> anyhow::Result<Option<Topology>> {
    let Some(program) = program::find("envoy")? else {
        return Ok(None);
    };
    let [outbound, inbound] = free_ports()?;
    let outbound_proxy = launch(
        &program,
        folder,
        "outbound",
        &outbound_file(folder, outbound, inbound),
    )?;
    let inbound_proxy = launch(
        &program,
        folder,
        "inbound",
        &inbound_file(folder, inbound, application),
    )?;
    for (proxy, port) in [(&outbound_proxy, outbound), (&inbound_proxy, inbound)] {
        proxy
            .wait_for("listener", async || {
                tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
                Ok(())
            })
            .await?;
    }
    Ok(Some(Topology {
        name: "envoy",
        address: SocketAddr::from(([127, 0, 0, 1], outbound)),
        proxies: vec![outbound_proxy, inbound_proxy],
        inbound: Some(SocketAddr::from(([127, 0, 0, 1], inbound))),
        metrics: Vec::new(),
        files: vec![
            folder.join("envoy-outbound.yaml"),
            folder.join("envoy-inbound.yaml"),
        ],
        beside: Vec::new(),
    }))
}

/// Held together until all are known, so that no two are the same.
fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

fn launch(program: &Path, folder: &Path, name: &str, config: &str) -> anyhow::Result<Process> {
    let file = folder.join(format!("envoy-{name}.yaml"));
    std::fs::write(&file, config)?;
    let mut command = Command::new(program);
    command
        .args([
            "--concurrency",
            "1",
            "--log-level",
            "warn",
            "--disable-hot-restart",
            "-c",
        ])
        .arg(&file);
    Process::start(
        &format!("envoy {name}"),
        command,
        &folder.join(format!("envoy-{name}.log")),
    )
}

/// Keys, the bundle and whose id the peer must have.
fn tls(folder: &Path, own: &str, peer: &str) -> String {
    let folder = folder.display();
    format!(
        r#"common_tls_context:
          alpn_protocols: [h2]
          tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}
          tls_certificates:
          - certificate_chain: {{filename: {folder}/{own}.pem}}
            private_key: {{filename: {folder}/{own}.key}}
          validation_context:
            trusted_ca: {{filename: {folder}/ca.pem}}
            match_typed_subject_alt_names:
            - san_type: URI
              matcher: {{exact: "{peer}"}}"#
    )
}

const STATISTICS: &str = r#"- name: envoy.filters.http.grpc_stats
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig
              stats_for_all_methods: true
              enable_upstream_stats: true"#;

const ROUTER: &str = r#"- name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"#;

const HTTP2: &str = r#"typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http2_protocol_options: {max_concurrent_streams: 1000}"#;

fn endpoint(port: u16) -> String {
    format!(
        r#"load_assignment:
      cluster_name: next
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}"#
    )
}

fn outbound_file(folder: &Path, port: u16, next: u16) -> String {
    let (tls, endpoint) = (tls(folder, CALLER.0, CALLEE.1), endpoint(next));
    format!(
        r#"static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: outbound
          codec_type: HTTP2
          http2_protocol_options: {{max_concurrent_streams: 1000}}
          http_filters:
          {STATISTICS}
          {ROUTER}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route:
                  cluster: next
                  timeout: 15s
                  retry_policy:
                    retry_on: connect-failure,refused-stream,reset,unavailable
                    num_retries: 1
  clusters:
  - name: next
    type: STATIC
    lb_policy: LEAST_REQUEST
    connect_timeout: 5s
    outlier_detection: {{}}
    {HTTP2}
    {endpoint}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        {tls}
"#
    )
}

fn inbound_file(folder: &Path, port: u16, application: SocketAddr) -> String {
    let caller = CALLER.1;
    // One level deeper than in the other file.
    let tls = tls(folder, CALLEE.0, CALLER.1).replace("\n        ", "\n          ");
    let endpoint = endpoint(application.port());
    format!(
        r#"static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: inbound
          codec_type: HTTP2
          http2_protocol_options: {{max_concurrent_streams: 1000}}
          http_filters:
          - name: envoy.filters.http.rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: ALLOW
                policies:
                  callers:
                    permissions: [{{any: true}}]
                    principals: [{{authenticated: {{principal_name: {{exact: "{caller}"}}}}}}]
          {STATISTICS}
          {ROUTER}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: next, timeout: 15s}}
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          {tls}
  clusters:
  - name: next
    type: STATIC
    connect_timeout: 5s
    {HTTP2}
    {endpoint}
"#
    )
}
