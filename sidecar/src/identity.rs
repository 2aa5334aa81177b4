//! Who we are and whom we believe: the leaf, the roots, and the TLS configurations made of them.
//!
//! All of it is swapped as one `Material`, so a handshake never mixes an old leaf with new roots. A new leaf is used for new handshakes
//! at once; connections keep theirs until they retire.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::sync::watch;

use crate::tls;

/// SPIFFE ids, byte exact.
pub mod spiffe;

/// Facts read from a certificate.
pub mod certificate;

/// Roots and leaf from the registry's Connect CA.
pub(crate) mod connect_ca;

/// When the leaf ends, how often it was renewed.
mod metrics;

pub use certificate::Validity;
pub(crate) use metrics::Metrics;
use spiffe::SpiffeId;

/// Why roots and leaf make no identity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the roots hold no usable certificate")]
    Roots,
    #[error("the leaf is unusable: {0}")]
    Leaf(#[from] certificate::Error),
    #[error("the leaf's private key is unusable: {0}")]
    Key(String),
    #[error("the leaf is for {actual}, expected service {expected} of trust domain {trust_domain}")]
    Stranger {
        actual: SpiffeId,
        expected: String,
        trust_domain: String,
    },
    #[error("the leaf does not chain to the roots: {0}")]
    Chain(rustls::Error),
    #[error("TLS refuses the identity: {0}")]
    Tls(#[from] rustls::Error),
}

/// One leaf with the roots it was checked against.
#[derive(Clone, Debug)]
pub struct Material {
    pub id: Arc<SpiffeId>,
    pub trust_domain: Arc<str>,
    pub serial: Arc<str>,
    pub validity: Validity,
    pub roots: Arc<RootCertStore>,
    pub(crate) server: Arc<ServerConfig>,
    client: Arc<tls::client::Template>,
}

/// The identity in force; `None` until the first leaf and roots have come.
#[derive(Debug)]
pub struct Current {
    material: ArcSwapOption<Material>,
    changed: watch::Sender<u64>,
}

/// The parts an identity is made of, as they come from its source.
#[derive(Debug)]
pub struct Source {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub roots: Vec<CertificateDer<'static>>,
    pub trust_domain: String,
    pub service: String,
}

// === impl Material ===

impl Material {
    /// Checks that the parts fit together, and builds both TLS configurations.
    pub fn new(source: Source) -> Result<Self, Error> {
        let roots = Arc::new(tls::roots(&source.roots).ok_or(Error::Roots)?);
        let leaf = source.chain.first().ok_or(certificate::Error::Empty)?;
        let facts = certificate::read(leaf)?;
        if facts.id.trust_domain() != source.trust_domain
            || facts.id.service_name() != source.service
        {
            return Err(Error::Stranger {
                actual: facts.id,
                expected: source.service,
                trust_domain: source.trust_domain,
            });
        }
        tls::verifier::chain(
            leaf,
            source.chain.get(1..).unwrap_or_default(),
            &roots,
            now(),
            tls::verifier::Role::Server,
        )
        .map_err(Error::Chain)?;
        let server = tls::server::config(
            &source.chain,
            source.key.clone_key(),
            Arc::clone(&roots),
            &source.trust_domain,
        )?;
        let client = tls::client::Template::new(source.chain, source.key, Arc::clone(&roots))?;
        Ok(Self {
            id: Arc::new(facts.id),
            trust_domain: source.trust_domain.into(),
            serial: facts.serial.into(),
            validity: facts.validity,
            roots,
            server,
            client: Arc::new(client),
        })
    }

    /// What we say hello with to a peer that has to be `expected`, to speak `protocol` with it.
    pub(crate) fn client(&self, expected: Arc<SpiffeId>, protocol: &[u8]) -> Arc<ClientConfig> {
        self.client.expecting(expected, protocol)
    }
}

// === impl Current ===

impl Current {
    pub fn load(&self) -> Option<Arc<Material>> {
        self.material.load_full()
    }

    pub(crate) fn store(&self, material: Material) {
        self.material.store(Some(Arc::new(material)));
        self.changed.send_modify(|count| *count += 1);
    }

    /// Changes with every new identity.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl Default for Current {
    fn default() -> Self {
        Self {
            material: ArcSwapOption::empty(),
            changed: watch::Sender::new(0),
        }
    }
}

/// The wall clock, since the epoch: certificates are dated by it.
#[expect(
    clippy::disallowed_methods,
    reason = "certificates are dated by the wall clock; this is the one place that reads it"
)]
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
