//! SPIFFE ids of Connect: parsed once, compared as data.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Characters a path segment may hold unescaped.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The identity in a certificate's URI SAN.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SpiffeId {
    Service(ServiceId),
    Agent {
        trust_domain: String,
        partition: String,
        datacenter: String,
        node: String,
    },
    Server {
        trust_domain: String,
        datacenter: String,
    },
    MeshGateway {
        trust_domain: String,
        partition: String,
        datacenter: String,
    },
    /// A CA certificate's id: the bare trust domain.
    Signing {
        cluster: String,
        domain: String,
    },
}

/// A service's identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceId {
    /// Lower case.
    pub trust_domain: String,
    pub partition: String,
    pub namespace: String,
    pub datacenter: String,
    pub service: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("SPIFFE ID must have 'spiffe' scheme")]
    Scheme,
    #[error("invalid admin partition, namespace, datacenter or service: {0}")]
    Escape(String),
    #[error("SPIFFE ID is not in the expected format: {0}")]
    Form(String),
}

impl ServiceId {
    /// The id Community Edition gives a service: namespace and partition `default`.
    pub fn new(trust_domain: &str, datacenter: &str, service: &str) -> Self {
        Self {
            trust_domain: trust_domain.to_ascii_lowercase(),
            partition: "default".to_owned(),
            namespace: "default".to_owned(),
            datacenter: datacenter.to_owned(),
            service: service.to_owned(),
        }
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escape = |segment| utf8_percent_encode(segment, SEGMENT);
        write!(f, "spiffe://{}", self.trust_domain)?;
        if self.partition != "default" {
            write!(f, "/ap/{}", escape(&self.partition))?;
        }
        write!(
            f,
            "/ns/{}/dc/{}/svc/{}",
            escape(&self.namespace),
            escape(&self.datacenter),
            escape(&self.service)
        )
    }
}

impl SpiffeId {
    /// Reads a URI SAN. The raw path is split before its segments are unescaped.
    pub fn parse(uri: &str) -> Result<Self, ParseError> {
        let rest = uri.strip_prefix("spiffe://").ok_or(ParseError::Scheme)?;
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) => (host, path),
            None => (rest, ""),
        };
        let form = || ParseError::Form(uri.to_owned());
        if host.is_empty() || host.contains(['@', ':', '?', '#']) || path.contains(['?', '#']) {
            return Err(form());
        }
        let trust_domain = host.to_ascii_lowercase();
        if path.is_empty() {
            let (cluster, domain) = trust_domain.split_once('.').ok_or_else(form)?;
            return Ok(Self::Signing {
                cluster: cluster.to_owned(),
                domain: domain.to_owned(),
            });
        }
        let segments = path
            .split('/')
            .map(unescape)
            .collect::<Result<Vec<_>, _>>()?;
        let mut parts = segments.iter().map(String::as_str).collect::<Vec<_>>();
        let mut partition = "default".to_owned();
        if let ["ap", name, ..] = parts.as_slice() {
            partition = (*name).to_owned();
            parts.drain(..2);
        }
        if segments.iter().any(String::is_empty) {
            return Err(form());
        }
        match parts.as_slice() {
            ["ns", namespace, "dc", datacenter, "svc", service] => Ok(Self::Service(ServiceId {
                trust_domain,
                partition,
                namespace: (*namespace).to_owned(),
                datacenter: (*datacenter).to_owned(),
                service: (*service).to_owned(),
            })),
            ["agent", "client", "dc", datacenter, "id", node] => Ok(Self::Agent {
                trust_domain,
                partition,
                datacenter: (*datacenter).to_owned(),
                node: (*node).to_owned(),
            }),
            ["agent", "server", "dc", datacenter] if segments.len() == 4 => Ok(Self::Server {
                trust_domain,
                datacenter: (*datacenter).to_owned(),
            }),
            ["gateway", "mesh", "dc", datacenter] => Ok(Self::MeshGateway {
                trust_domain,
                partition,
                datacenter: (*datacenter).to_owned(),
            }),
            _ => Err(form()),
        }
    }
}

fn unescape(segment: &str) -> Result<String, ParseError> {
    percent_decode_str(segment)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| ParseError::Escape(segment.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_id_survives_printing_and_parsing() {
        let id = ServiceId::new("AB.consul", "dc1", "a/b");
        assert_eq!(
            id.to_string(),
            "spiffe://ab.consul/ns/default/dc/dc1/svc/a%2Fb"
        );
        assert_eq!(SpiffeId::parse(&id.to_string()), Ok(SpiffeId::Service(id)));
    }

    #[test]
    fn other_shapes_are_refused() {
        for uri in [
            "http://x.consul/ns/default/dc/dc1/svc/web",
            "spiffe://x.consul/ns/default/dc/dc1/svc/web/extra",
            "spiffe://x.consul/ns/default/dc/dc1/svc/",
            "spiffe://x.consul//ns/default/dc/dc1/svc/web",
            "spiffe://x.consul/ns/default/dc/dc1/svc/web?x",
            "spiffe:///ns/default/dc/dc1/svc/web",
        ] {
            assert!(SpiffeId::parse(uri).is_err(), "{uri}");
        }
    }
}
