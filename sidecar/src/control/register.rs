//! What we are in the registry: the application, and beside it the proxy that callers reach. Pure.

use outrigger_consul::check::CheckDefinition;
use outrigger_consul::proxy::{ProxyConfig, Upstream};
use outrigger_consul::service::{CONNECT_PROXY, ServiceRegistration};
use outrigger_consul::{GoDuration, Opaque};

use crate::config::{Address, AppProtocol, Config};
use crate::proxy::Addresses;

/// Expires if this process stops feeding it.
const TTL: GoDuration = GoDuration::from_secs(10);

/// Both registrations and the ids of the checks to feed.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) application: ServiceRegistration,
    pub(super) application_check: String,
    /// `None` without an inbound listener: nobody can call us.
    pub(super) proxy: Option<ServiceRegistration>,
    pub(super) proxy_check: String,
}

impl Registration {
    pub(super) fn new(config: &Config, addresses: &Addresses) -> Self {
        let proxy_id = format!("{}-sidecar-proxy", config.instance);
        let application_check = format!("service:{}", config.instance);
        let proxy_check = format!("service:{proxy_id}:ttl");
        let mut application = ServiceRegistration {
            id: config.instance.clone(),
            name: config.service.clone(),
            meta: [("version".to_owned(), config.version.clone())].into(),
            checks: vec![ttl(
                &application_check,
                "Application answers its sidecar's probe",
            )],
            ..ServiceRegistration::default()
        };
        match config
            .application
            .as_ref()
            .map(|application| &application.address)
        {
            Some(Address::Tcp(address)) => {
                application.address = address.ip().to_string();
                application.port = address.port();
            }
            Some(Address::Unix(path)) => application.socket_path = path.display().to_string(),
            None => {}
        }
        let proxy = addresses.inbound.map(|inbound| ServiceRegistration {
            id: proxy_id.clone(),
            name: format!("{}-sidecar-proxy", config.service),
            kind: CONNECT_PROXY.to_owned(),
            address: inbound.ip().to_string(),
            port: inbound.port(),
            // Subset filters look at the proxy, not at the application.
            meta: application.meta.clone(),
            tags: application.tags.clone(),
            checks: vec![
                ttl(&proxy_check, "Sidecar is alive"),
                alias(&proxy_id, &config.instance),
            ],
            proxy: Some(proxy_config(config, addresses, &application)),
            ..ServiceRegistration::default()
        });
        Self {
            application,
            application_check,
            proxy,
            proxy_check,
        }
    }

    /// Service ids in the order of leaving: proxy, then application.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.proxy
            .iter()
            .map(|proxy| proxy.id.as_str())
            .chain([self.application.id.as_str()])
    }
}

fn proxy_config(
    config: &Config,
    addresses: &Addresses,
    application: &ServiceRegistration,
) -> ProxyConfig {
    let upstreams = addresses.upstreams.iter().map(|(name, bind)| Upstream {
        destination_name: name.clone(),
        local_bind_address: bind.ip().to_string(),
        local_bind_port: bind.port(),
        ..Upstream::default()
    });
    ProxyConfig {
        destination_service_name: config.service.clone(),
        destination_service_id: config.instance.clone(),
        local_service_address: application.address.clone(),
        local_service_port: application.port,
        local_service_socket_path: application.socket_path.clone(),
        config: protocol(config),
        upstreams: upstreams.collect(),
        ..ProxyConfig::default()
    }
}

fn protocol(config: &Config) -> Opaque {
    let name = match config
        .application
        .as_ref()
        .map(|application| application.protocol)
    {
        Some(AppProtocol::Grpc) | None => "grpc",
        Some(AppProtocol::Http2) => "http2",
        Some(AppProtocol::Http) => "http",
        Some(AppProtocol::Tcp) => "tcp",
    };
    let mut opaque = Opaque::default();
    opaque.insert("protocol".to_owned(), name.into());
    opaque
}

fn ttl(id: &str, name: &str) -> CheckDefinition {
    CheckDefinition {
        check_id: id.to_owned(),
        name: name.to_owned(),
        ttl: TTL,
        ..CheckDefinition::default()
    }
}

fn alias(proxy: &str, application: &str) -> CheckDefinition {
    CheckDefinition {
        check_id: format!("service:{proxy}:alias"),
        name: "Application is healthy".to_owned(),
        alias_service: application.to_owned(),
        ..CheckDefinition::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(&format!("service = \"orders\"\ninstance = \"orders-v2-0\"\nversion = \"v2\"\n[registry]\naddress = \"http://127.0.0.1:8500\"\n{text}")).unwrap()
    }

    fn addresses(inbound: Option<&str>) -> Addresses {
        Addresses {
            outbound: "127.0.0.1:15001".parse().unwrap(),
            inbound: inbound.map(|address| address.parse().unwrap()),
            health: "127.0.0.1:15020".parse().unwrap(),
            edge: None,
            edge_tls: None,
            upstreams: [("payments".to_owned(), "127.0.0.1:15201".parse().unwrap())].into(),
        }
    }

    #[test]
    fn the_proxy_copies_the_applications_meta_and_brings_two_checks() {
        let config =
            config("[application]\naddress = \"unix:/run/app.sock\"\nprotocol = \"grpc\"\n");
        let registration = Registration::new(&config, &addresses(Some("127.0.0.1:21000")));
        let proxy = registration.proxy.as_ref().unwrap();
        assert_eq!(
            (
                proxy.id.as_str(),
                proxy.name.as_str(),
                proxy.kind.as_str(),
                proxy.port
            ),
            (
                "orders-v2-0-sidecar-proxy",
                "orders-sidecar-proxy",
                "connect-proxy",
                21000
            )
        );
        assert_eq!(proxy.meta, registration.application.meta);
        assert_eq!(proxy.meta["version"], "v2");
        let checks: Vec<_> = proxy
            .checks
            .iter()
            .map(|check| (check.ttl.is_zero(), check.alias_service.as_str()))
            .collect();
        assert_eq!(checks, [(false, ""), (true, "orders-v2-0")]);
        let upstreams = &proxy.proxy.as_ref().unwrap().upstreams;
        assert_eq!((upstreams.len(), upstreams[0].local_bind_port), (1, 15201));
        assert_eq!(
            registration.ids().collect::<Vec<_>>(),
            ["orders-v2-0-sidecar-proxy", "orders-v2-0"]
        );
    }

    #[test]
    fn without_an_application_only_the_service_itself_is_registered() {
        let registration = Registration::new(&config(""), &addresses(None));
        assert!(registration.proxy.is_none());
        assert_eq!(
            (
                registration.application.port,
                registration.application.checks.len()
            ),
            (0, 1)
        );
    }
}
