//! Our side when we are called: a client certificate is required.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{RootCertStore, ServerConfig};

use super::verifier::Callers;

/// The configuration of the inbound listener.
pub(crate) fn config(
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    trust_domain: &str,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(super::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Callers::new(roots, trust_domain)))
        .with_single_cert(chain.to_vec(), key)?;
    config.alpn_protocols = vec![super::ALPN.to_vec(), super::ALPN_OPAQUE.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}
