//! A peer that dials a sidecar's mTLS port by itself, with whatever identity the test gives it, or with none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::registry::Registry;

/// A certificate with its key.
#[derive(Debug)]
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// A certificate with a SPIFFE id, signed by nobody the mesh knows.
pub fn self_signed(spiffe: &str) -> Identity {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.subject_alt_names = vec![rcgen::SanType::URI(spiffe.try_into().unwrap())];
    let certificate = parameters.self_signed(&key).unwrap();
    Identity {
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    }
}

/// A certificate for the public in two PEM files, as an operator gives it to an edge.
#[derive(Clone, Debug)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Files {
    /// Files in this folder, with a certificate of their own for `localhost`.
    pub fn issue(folder: &Path) -> Self {
        let files = Self {
            certificate: folder.join("edge.crt"),
            key: folder.join("edge.key"),
        };
        files.renew();
        files
    }

    /// Another certificate with another key, in the same files; its serial number.
    pub fn renew(&self) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let parameters = rcgen::CertificateParams::new(names).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        std::fs::write(&self.certificate, certificate.pem()).unwrap();
        std::fs::write(&self.key, key.serialize_pem()).unwrap();
        serial(certificate.der()).unwrap()
    }
}

/// Dials, shakes hands and calls; what stopped it is the error. TLS 1.3 lets the client believe for a moment that it was accepted,
/// so only an answered call counts.
pub async fn call(address: &str, identity: Option<Identity>) -> Result<u16, String> {
    let connector = TlsConnector::from(Arc::new(config(identity)));
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())?;
    let name = ServerName::try_from("mesh.test").unwrap();
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())?;
    let (sender, connection) = h2::client::handshake(stream)
        .await
        .map_err(|error| error.to_string())?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let mut sender = sender.ready().await.map_err(|error| error.to_string())?;
    let request = http::Request::builder()
        .method("POST")
        .uri("https://orders/test.Echo/Echo")
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (response, _) = sender
        .send_request(request, true)
        .map_err(|error| error.to_string())?;
    let response = response.await.map_err(|error| error.to_string())?;
    Ok(response.status().as_u16())
}

/// Writes plain text to the port and reads to the end.
pub async fn plain_text(address: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an answer without bytes, too.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

/// A browser's side, that speaks these versions and asks for these protocols.
pub fn browser(
    versions: &[&'static rustls::SupportedProtocolVersion],
    protocols: &[&str],
) -> ClientConfig {
    let mut config = whatever_the_server(versions).with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    config
}

fn whatever_the_server(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
}

fn config(identity: Option<Identity>) -> ClientConfig {
    let builder = whatever_the_server(&[&rustls::version::TLS13]);
    let mut config = match identity {
        Some(identity) => builder
            .with_client_auth_cert(identity.chain, identity.key)
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// The attacker does not care whom it talks to.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

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
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The serial number of the certificate a port shows.
pub async fn served_serial(address: &str) -> Result<String, String> {
    let connector = TlsConnector::from(Arc::new(config(None)));
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())?;
    let name = ServerName::try_from("mesh.test").unwrap();
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())?;
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates().ok_or("no certificate")?;
    serial(&chain[0])
}

fn serial(leaf: &CertificateDer<'_>) -> Result<String, String> {
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf).map_err(|error| error.to_string())?;
    Ok(leaf.raw_serial_as_string())
}

/// The identity that the registry gives a service.
pub async fn issued(registry: &Registry, service: &str) -> Identity {
    let path = format!("/v1/agent/connect/ca/leaf/{service}");
    let leaf = registry.get(&path).await.unwrap();
    let pem = |name: &str| leaf[name].as_str().unwrap().to_owned();
    let certificates = pem("CertPEM");
    let chain = CertificateDer::pem_slice_iter(certificates.as_bytes());
    Identity {
        chain: chain.collect::<Result<_, _>>().unwrap(),
        key: PrivateKeyDer::from_pem_slice(pem("PrivateKeyPEM").as_bytes()).unwrap(),
    }
}

/// What a mesh peer of this identity dials with.
pub fn as_peer(identity: Identity) -> ClientConfig {
    config(Some(identity))
}

/// What anybody who asks for HTTP/2 dials with.
pub fn as_public() -> ClientConfig {
    config(None)
}

/// Shakes hands on a connection.
pub async fn shake_hands(
    stream: TcpStream,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("mesh.test").unwrap();
    let connector = TlsConnector::from(Arc::clone(config));
    connector.connect(name, stream).await
}

/// A port in clear in front of one of TLS, for programs and peers by hand that do not speak it. It is closed when this is dropped.
#[derive(Debug)]
pub struct Tunnel {
    pub address: String,
    _tasks: JoinSet<()>,
}

impl Tunnel {
    /// To a sidecar's inbound port, as a mesh peer.
    pub async fn to(address: &str, identity: Identity) -> Self {
        Self::over(address, config(Some(identity))).await
    }

    /// To a sidecar's inbound port, as a Consul Envoy in front of a tcp service: it names no protocol.
    pub async fn nameless(address: &str, identity: Identity) -> Self {
        let mut config = config(Some(identity));
        config.alpn_protocols.clear();
        Self::over(address, config).await
    }

    /// To an edge, as anybody who asks for HTTP/2.
    pub async fn public(address: &str) -> Self {
        Self::over(address, config(None)).await
    }

    /// As somebody with a configuration of their own.
    pub async fn over(address: &str, config: ClientConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap().to_string();
        let connector = TlsConnector::from(Arc::new(config));
        let address = address.to_owned();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((plain, _)) = listener.accept().await {
                let (connector, address) = (connector.clone(), address.clone());
                open.spawn(async move {
                    // Whoever ends it ends both.
                    let _: std::io::Result<()> = carry(plain, &connector, &address).await;
                });
            }
        });
        Self {
            address: local,
            _tasks: tasks,
        }
    }
}

/// The other way round: a port of TLS, with that identity, in front of one in clear.
#[derive(Debug)]
pub struct Gate {
    pub address: String,
    _tasks: JoinSet<()>,
}

impl Gate {
    /// As a mesh peer that is called; who calls does not matter to it.
    pub async fn before(address: &str, identity: Identity) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap().to_string();
        let address = address.to_owned();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, address) = (acceptor.clone(), address.clone());
                open.spawn(async move {
                    let mut secured = acceptor.accept(stream).await?;
                    let mut plain = TcpStream::connect(address).await?;
                    tokio::io::copy_bidirectional(&mut secured, &mut plain).await
                });
            }
        });
        Self {
            address: local,
            _tasks: tasks,
        }
    }
}

async fn carry(
    mut plain: TcpStream,
    connector: &TlsConnector,
    address: &str,
) -> std::io::Result<()> {
    plain.set_nodelay(true)?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("mesh.test").unwrap();
    let secured = connector.connect(name, stream).await?;
    let (mut from_us, mut to_us) = plain.split();
    let (mut from_peer, mut to_peer) = tokio::io::split(secured);
    let up = async {
        // A peer that takes no more may still have something to say.
        let _: std::io::Result<u64> = tokio::io::copy(&mut from_us, &mut to_peer).await;
        let _: std::io::Result<()> = to_peer.shutdown().await;
    };
    let down = async {
        tokio::io::copy(&mut from_peer, &mut to_us).await?;
        to_us.shutdown().await
    };
    tokio::pin!(up, down);
    let mut ours_is_open = true;
    loop {
        tokio::select! {
            ended = &mut down => return ended,
            () = &mut up, if ours_is_open => ours_is_open = false,
        }
    }
}
