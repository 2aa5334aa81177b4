//! Chain and identity of a peer. The chain is checked against all roots; the one URI SAN is compared byte by byte; the host name and the
//! subject are not looked at, since a mesh leaf has neither.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, RootCertStore, SignatureScheme,
};

use crate::identity::certificate;
use crate::identity::spiffe::SpiffeId;

/// Clocks of two machines may differ by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// What the certificate has to be good for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Server,
    Client,
}

/// The identity is sound but not the one that has to be here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Mismatch {
    #[error("the peer is {actual}, expected {expected}")]
    Service {
        actual: SpiffeId,
        expected: Arc<SpiffeId>,
    },
    #[error("the peer is of trust domain {actual}, ours is {expected}")]
    TrustDomain { actual: String, expected: Arc<str> },
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
}

/// Checks who calls us.
#[derive(Debug)]
pub(crate) struct Callers {
    roots: Arc<RootCertStore>,
    trust_domain: Arc<str>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Checks whom we call.
#[derive(Debug)]
pub(crate) struct Callee {
    roots: Arc<RootCertStore>,
    expected: Arc<SpiffeId>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Checks dates, signatures and purpose up to any of the roots, with 60 s of clock skew either way.
pub(crate) fn chain(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &Arc<RootCertStore>,
    now: Duration,
    role: Role,
) -> Result<(), Error> {
    match chain_at(leaf, intermediates, roots, now, role) {
        Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => chain_at(
            leaf,
            intermediates,
            roots,
            now.saturating_sub(CLOCK_SKEW),
            role,
        ),
        Err(Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => chain_at(leaf, intermediates, roots, now + CLOCK_SKEW, role),
        checked => checked,
    }
}

fn chain_at(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &Arc<RootCertStore>,
    now: Duration,
    role: Role,
) -> Result<(), Error> {
    let now = UnixTime::since_unix_epoch(now);
    let provider = super::provider();
    match role {
        Role::Server => {
            let leaf = ParsedCertificate::try_from(leaf)?;
            verify_server_cert_signed_by_trust_anchor(
                &leaf,
                roots,
                intermediates,
                now,
                provider.signature_verification_algorithms.all,
            )
        }
        Role::Client => WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider)
            .build()
            .map_err(|err| Error::General(err.to_string()))?
            .verify_client_cert(leaf, intermediates, now)
            .map(|_| ()),
    }
}

fn refuse(mismatch: Mismatch) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(mismatch))))
}

/// The time a handshake is judged by.
fn seconds(now: UnixTime) -> Duration {
    Duration::from_secs(now.as_secs())
}

// === impl Callers ===

impl Callers {
    pub(crate) fn new(roots: Arc<RootCertStore>, trust_domain: &str) -> Self {
        Self {
            roots,
            trust_domain: trust_domain.into(),
            algorithms: super::provider().signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for Callers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        chain(leaf, intermediates, &self.roots, seconds(now), Role::Client)?;
        let facts = certificate::read(leaf).map_err(|err| refuse(err.into()))?;
        if *facts.id.trust_domain() != *self.trust_domain {
            return Err(refuse(Mismatch::TrustDomain {
                actual: facts.id.trust_domain().to_owned(),
                expected: Arc::clone(&self.trust_domain),
            }));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(
            PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

// === impl Callee ===

impl Callee {
    pub(crate) fn new(roots: Arc<RootCertStore>, expected: Arc<SpiffeId>) -> Self {
        Self {
            roots,
            expected,
            algorithms: super::provider().signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for Callee {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        chain(leaf, intermediates, &self.roots, seconds(now), Role::Server)?;
        let facts = certificate::read(leaf).map_err(|err| refuse(err.into()))?;
        if facts.id != *self.expected {
            return Err(refuse(Mismatch::Service {
                actual: facts.id,
                expected: Arc::clone(&self.expected),
            }));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(
            PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
