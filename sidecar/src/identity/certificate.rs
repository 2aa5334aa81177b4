//! Facts read from a certificate: the one URI SAN, the dates, the serial. The subject is never read.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::spiffe::{self, SpiffeId};

/// What a leaf says.
#[derive(Clone, Debug)]
pub struct Facts {
    pub id: SpiffeId,
    pub validity: Validity,
    /// Lower-case hex with colons, as the registry prints it.
    pub serial: String,
}

/// When a certificate counts, since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Duration,
    pub not_after: Duration,
}

/// Why a certificate names no service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no certificate")]
    Empty,
    #[error("it is not a certificate: {0}")]
    Malformed(String),
    #[error("it has {0} URI names, expected exactly one")]
    Names(usize),
    #[error("its URI name is no service's SPIFFE id: {0}")]
    Id(#[from] spiffe::Error),
}

/// Reads a leaf.
pub fn read(der: &CertificateDer<'_>) -> Result<Facts, Error> {
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|err| Error::Malformed(err.to_string()))?;
    if !rest.is_empty() {
        return Err(Error::Malformed("bytes follow it".to_owned()));
    }
    let names = certificate
        .subject_alternative_name()
        .map_err(|err| Error::Malformed(err.to_string()))?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| {
            if let GeneralName::URI(uri) = name {
                Some(*uri)
            } else {
                None
            }
        })
        .collect();
    let [uri] = uris.as_slice() else {
        return Err(Error::Names(uris.len()));
    };
    let seconds = |at: i64| Duration::from_secs(u64::try_from(at).unwrap_or(0));
    Ok(Facts {
        id: SpiffeId::parse(uri)?,
        validity: Validity {
            not_before: seconds(certificate.validity().not_before.timestamp()),
            not_after: seconds(certificate.validity().not_after.timestamp()),
        },
        serial: certificate.raw_serial_as_string(),
    })
}

// === impl Validity ===

impl Validity {
    pub fn life(&self) -> Duration {
        self.not_after.saturating_sub(self.not_before)
    }

    pub fn left(&self, now: Duration) -> Duration {
        self.not_after.saturating_sub(now)
    }

    /// How long before expiry connections resting on it retire: 120 s, or a quarter of a short life.
    pub fn margin(&self) -> Duration {
        Duration::from_secs(120).min(self.life() / 4)
    }

    /// From now until such a connection retires. Never less than half of what is left, so that a leaf that came late is used at all.
    pub fn retires_in(&self, now: Duration) -> Duration {
        let left = self.left(now);
        left.saturating_sub(self.margin()).max(left / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_retire_before_their_leaf_expires() {
        let seconds = Duration::from_secs;
        let cases = [
            // life, now, expected
            (86_400, 0, 86_280),
            (60, 0, 45),
            (60, 30, 15),
            (60, 50, 5),
            (60, 60, 0),
            (60, 90, 0),
        ];
        for (life, now, expected) in cases {
            let validity = Validity {
                not_before: seconds(0),
                not_after: seconds(life),
            };
            assert_eq!(
                validity.retires_in(seconds(now)),
                seconds(expected),
                "life {life} at {now}"
            );
        }
    }
}
