//! A certificate and its key as PEM files. What is wrong is told by the key of the configuration, the file, and what is expected of it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Why two files are no certificate to serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("sidecar.edge.{key} = {path:?}: {source}; expected a PEM file that this user may read")]
    Read {
        key: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "sidecar.edge.certificate = {0:?}: holds no certificate in PEM; expected the server's own first, then its intermediates"
    )]
    NoCertificate(PathBuf),
    #[error("sidecar.edge.key = {0:?}: holds no private key in PEM; expected one, not encrypted")]
    NoKey(PathBuf),
    #[error(
        "sidecar.edge.key = {key:?}: is not the key of the certificate in {certificate:?}; expected the two files of one pair"
    )]
    NoPair { key: PathBuf, certificate: PathBuf },
    #[error(
        "sidecar.edge.certificate = {path:?}: TLS refuses it ({source}); expected a server's certificate (X.509 v3) and its key"
    )]
    Refused {
        path: PathBuf,
        source: rustls::Error,
    },
}

/// Where they lie.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// What two files were, without keeping the key.
pub(super) type Print = [u8; 32];

/// What they hold.
pub(super) struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
    pub(super) print: Print,
}

// === impl Files ===

impl Files {
    pub(super) fn read(&self) -> Result<Pair, Error> {
        let certificate = read("certificate", &self.certificate)?;
        let key = read("key", &self.key)?;
        let mut hash = Sha256::new();
        hash.update((certificate.len() as u64).to_be_bytes());
        hash.update(&certificate);
        hash.update(&key);
        Ok(Pair {
            print: hash.finalize().into(),
            certificate,
            key,
        })
    }

    pub(super) fn parse(
        &self,
        pair: &Pair,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let chain = pair.chain();
        let chain = chain.filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| Error::NoCertificate(self.certificate.clone()))?;
        let key = PrivateKeyDer::from_pem_slice(&pair.key);
        let key = key.map_err(|_| Error::NoKey(self.key.clone()))?;
        Ok((chain, key))
    }

    pub(super) fn refused(&self, source: rustls::Error) -> Error {
        match source {
            rustls::Error::InconsistentKeys(_) => Error::NoPair {
                key: self.key.clone(),
                certificate: self.certificate.clone(),
            },
            source => Error::Refused {
                path: self.certificate.clone(),
                source,
            },
        }
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.certificate.display().fmt(f)
    }
}

// === impl Pair ===

impl Pair {
    fn chain(&self) -> Option<Vec<CertificateDer<'static>>> {
        CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .ok()
    }

    /// When the server's own certificate ends, Unix time in seconds.
    pub(super) fn not_after(&self) -> i64 {
        let chain = self.chain().unwrap_or_default();
        let own = chain.first().map(|der| X509Certificate::from_der(der));
        match own {
            Some(Ok((_, own))) => own.validity().not_after.timestamp(),
            _ => 0,
        }
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        key,
        path: path.to_owned(),
        source,
    })
}
