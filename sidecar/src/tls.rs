//! How a connection is secured. In the mesh: TLS 1.3 only, ALPN `h2` for calls and `outrigger/tcp` for
//! opaque bytes, both sides show a certificate, both check a SPIFFE id. No tickets, no
//! early data, never plain text instead. Towards the public: `edge`.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;

/// Our side when we are called.
pub(crate) mod server;

/// Our side when the public calls.
pub mod edge;

/// Our side when we call.
pub(crate) mod client;

/// Chain and identity of a peer.
pub(crate) mod verifier;

/// Handshakes that failed, by cause.
mod metrics;

pub(crate) use metrics::{Cause, Metrics};

/// Calls.
pub(crate) const ALPN: &[u8] = b"h2";
/// Bytes that are no calls, after one byte of the callee's sidecar (`opaque::word`).
pub(crate) const ALPN_OPAQUE: &[u8] = b"outrigger/tcp";

/// aws-lc, with the hybrid post-quantum key exchange first.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// All roots that parse; `None` when none does.
pub(crate) fn roots(certificates: &[CertificateDer<'static>]) -> Option<RootCertStore> {
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates.iter().cloned());
    (added > 0).then_some(store)
}
