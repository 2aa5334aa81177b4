//! Mutual TLS handshakes with the inbound side.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::pair::certificates;
use crate::pair::topology::Topology;

/// What a client says first (RFC 9113, 3.4): the preface and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Handshakes under way at any time.
const AT_ONCE: usize = 8;

/// Handshakes per second, and µs of the inbound proxy's CPU for each.
pub(super) async fn measure(
    topology: &Topology,
    inbound: SocketAddr,
    folder: &Path,
    duration: Duration,
) -> anyhow::Result<(f64, f64)> {
    let proxy = topology.proxies.last().context("an inbound proxy")?;
    let config = Arc::new(config(&folder.join(topology.name)).or_else(|_| config(folder))?);
    let before = proxy.cpu()?;
    let begun = Instant::now();
    let end = begun + duration;
    let mut dialers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let connector = TlsConnector::from(Arc::clone(&config));
        dialers.spawn(async move {
            let mut made = 0_u32;
            while Instant::now() < end {
                dial(&connector, inbound).await?;
                made += 1;
            }
            anyhow::Ok(made)
        });
    }
    let mut made = 0;
    while let Some(dialer) = dialers.join_next().await {
        made += dialer??;
    }
    let made = f64::from(made);
    let cpu = proxy.cpu()?.saturating_sub(before).as_secs_f64() * 1e6;
    Ok((made / begun.elapsed().as_secs_f64(), cpu / made))
}

/// The server has accepted our certificate once it says something over the connection: in HTTP/2 it answers a preface at once.
async fn dial(connector: &TlsConnector, inbound: SocketAddr) -> anyhow::Result<()> {
    let stream = TcpStream::connect(inbound).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(certificates::HOST)?;
    let mut stream = connector.connect(name, stream).await?;
    stream.write_all(PREFACE).await?;
    stream.read_u8().await.context("no word from the server")?;
    Ok(())
}

fn config(folder: &Path) -> anyhow::Result<ClientConfig> {
    let name = certificates::CALLER.0;
    let chain = CertificateDer::pem_file_iter(folder.join(format!("{name}.pem")))?;
    let chain = chain.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key")))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Whoever answers is measured; who it is was settled when it was started here.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
