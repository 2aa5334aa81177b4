//! Our side when we call: our leaf is shown, and the peer has to be the service we mean.

use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

use super::verifier::Callee;
use crate::identity::spiffe::SpiffeId;

/// What all our client configurations share.
#[derive(Debug)]
pub(crate) struct Template {
    certificate: Arc<dyn ResolvesClientCert>,
    roots: Arc<RootCertStore>,
    provider: Arc<rustls::crypto::CryptoProvider>,
}

// === impl Template ===

impl Template {
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        roots: Arc<RootCertStore>,
    ) -> Result<Self, rustls::Error> {
        let provider = super::provider();
        let certified = CertifiedKey::from_der(chain, key, &provider)?;
        Ok(Self {
            certificate: Arc::new(SingleCertAndKey::from(certified)),
            roots,
            provider,
        })
    }

    /// The configuration for a peer that has to be `expected`, to speak `protocol` with it.
    pub(crate) fn expecting(&self, expected: Arc<SpiffeId>, protocol: &[u8]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3 suites")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Callee::new(
                Arc::clone(&self.roots),
                expected,
            )))
            .with_client_cert_resolver(Arc::clone(&self.certificate));
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Arc::new(config)
    }
}
