//! Handshakes that failed, by cause: `outrigger_handshake_failures_total`.

use std::fmt::Write as _;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use rustls::{AlertDescription, CertificateError, Error};

/// A closed list, so that a peer cannot make series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cause {
    Timeout,
    NoCertificate,
    Expired,
    Chain,
    Identity,
    Alpn,
    /// The peer refused us.
    Alert,
    NotTls,
    Closed,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Inbound,
    Edge,
    Outbound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    side: Side,
    cause: Cause,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    failures: Family<Labels, Counter>,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "outrigger_handshake_failures",
            "TLS handshakes that failed, by side and cause",
            self.failures.clone(),
        );
    }

    pub(crate) fn inbound(&self, cause: Cause) {
        self.failures
            .get_or_create(&Labels {
                side: Side::Inbound,
                cause,
            })
            .inc();
    }

    pub(crate) fn edge(&self, cause: Cause) {
        self.failures
            .get_or_create(&Labels {
                side: Side::Edge,
                cause,
            })
            .inc();
    }

    pub(crate) fn outbound(&self, cause: Cause) {
        self.failures
            .get_or_create(&Labels {
                side: Side::Outbound,
                cause,
            })
            .inc();
    }
}

// === impl Side ===

impl EncodeLabelValue for Side {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(match self {
            Self::Inbound => "inbound",
            Self::Edge => "edge",
            Self::Outbound => "outbound",
        })
    }
}

// === impl Cause ===

impl EncodeLabelValue for Cause {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(match self {
            Self::Timeout => "timeout",
            Self::NoCertificate => "no_certificate",
            Self::Expired => "expired",
            Self::Chain => "chain",
            Self::Identity => "identity",
            Self::Alpn => "alpn",
            Self::Alert => "alert",
            Self::NotTls => "not_tls",
            Self::Closed => "closed",
            Self::Other => "other",
        })
    }
}

impl Cause {
    /// What a failed handshake or a connection that broke right after it was about.
    pub(crate) fn of(err: &std::io::Error) -> Self {
        match err
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>())
        {
            Some(
                Error::NoCertificatesPresented
                | Error::AlertReceived(AlertDescription::CertificateRequired),
            ) => Self::NoCertificate,
            Some(Error::InvalidCertificate(reason)) => Self::of_certificate(reason),
            Some(
                Error::NoApplicationProtocol
                | Error::AlertReceived(AlertDescription::NoApplicationProtocol),
            ) => Self::Alpn,
            Some(Error::AlertReceived(_)) => Self::Alert,
            Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => Self::NotTls,
            Some(_) => Self::Other,
            None if err.kind() == std::io::ErrorKind::TimedOut => Self::Timeout,
            None => Self::Closed,
        }
    }

    fn of_certificate(reason: &CertificateError) -> Self {
        match reason {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Expired,
            CertificateError::Other(_) => Self::Identity,
            _ => Self::Chain,
        }
    }
}
