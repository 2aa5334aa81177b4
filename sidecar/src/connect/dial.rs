//! One attempt to reach a peer: TCP, TLS with the right identity on both sides, HTTP/2, and a first word from the peer.
//!
//! A TLS 1.3 client is done before the server has looked at its certificate, so a connection counts only once the peer has sent its
//! HTTP/2 settings: then it took our certificate.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::BufReader;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::accept::stream::Plain;
use crate::balance::endpoint::Endpoint;
use crate::config::Address;
use crate::error::Kind;
use crate::http2::client::{Client, Driver, Setup, connect};
use crate::identity::{Material, Validity, certificate};
use crate::tls::{ALPN, Cause};

/// What rustls reads from: by itself it takes at most 4 KiB a system call.
pub(crate) type Buffered = BufReader<TcpStream>;
pub(crate) const READ_BUFFER: usize = 64 << 10;

/// An open mesh connection, not yet driven by anybody.
pub(super) struct Dialed {
    pub(super) client: Rc<Client>,
    pub(super) driver: Driver<TlsStream<Buffered>>,
    /// The peer's leaf.
    pub(super) validity: Validity,
}

/// Why a peer was not reached.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot connect to {address}: {detail}")]
    Connect { address: String, detail: String },
    #[error("handshake with {address} failed: {detail}")]
    Handshake {
        address: String,
        detail: String,
        cause: Cause,
    },
    #[error("there is no identity yet")]
    NoIdentity,
}

// === impl Error ===

impl Error {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Connect { .. } => Kind::Connect,
            Self::Handshake { .. } => Kind::Handshake,
            Self::NoIdentity => Kind::NotReady,
        }
    }
}

/// Opens a mesh connection.
pub(super) async fn mesh(
    endpoint: &Endpoint,
    identity: &Material,
    setup: &Setup,
) -> Result<Dialed, Error> {
    let refused = |detail: String| Error::Connect {
        address: endpoint.address.to_string(),
        detail,
    };
    let stream = TcpStream::connect(endpoint.address)
        .await
        .map_err(|err| refused(err.to_string()))?;
    tune(&stream).map_err(|err| refused(err.to_string()))?;
    let failed = |err: &io::Error| Error::Handshake {
        address: endpoint.address.to_string(),
        detail: err.to_string(),
        cause: Cause::of(err),
    };
    let name = server_name(endpoint);
    let connector = TlsConnector::from(identity.client(Arc::clone(&endpoint.identity)));
    let stream = connector
        .connect(name, BufReader::with_capacity(READ_BUFFER, stream))
        .await
        .map_err(|err| failed(&err))?;
    if stream
        .get_ref()
        .1
        .alpn_protocol()
        .is_some_and(|protocol| protocol != ALPN)
    {
        return Err(failed(&io::Error::other(
            rustls::Error::NoApplicationProtocol,
        )));
    }
    let validity = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first)
        .and_then(|leaf| certificate::read(leaf).ok())
        .map(|facts| facts.validity);
    let validity = validity
        .ok_or_else(|| failed(&io::Error::other(rustls::Error::NoCertificatesPresented)))?;
    let (client, mut driver) = connect(stream, setup);
    first_word(&mut driver).await.map_err(|err| failed(&err))?;
    Ok(Dialed {
        client,
        driver,
        validity,
    })
}

/// Drives the connection until the peer has said something.
async fn first_word(driver: &mut Driver<TlsStream<Buffered>>) -> io::Result<()> {
    std::future::poll_fn(|cx| match driver.poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        Poll::Ready(Err(err)) => Poll::Ready(Err(err)),
        Poll::Pending if driver.heard() => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// The name in the hello: the chain target's SNI, or the address where that is no name. Who answers is checked by SPIFFE id.
fn server_name(endpoint: &Endpoint) -> ServerName<'static> {
    ServerName::try_from(endpoint.sni.to_string())
        .unwrap_or_else(|_| ServerName::IpAddress(endpoint.address.ip().into()))
}

/// No delay for small writes; a dead peer is noticed by the kernel too.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(Duration::from_secs(30)))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(20)))?;
    Ok(())
}

/// Opens a plain connection to the application.
pub(super) async fn local(address: &Address) -> io::Result<Plain> {
    match address {
        Address::Tcp(address) => tcp(*address).await.map(Plain::Tcp),
        Address::Unix(path) => UnixStream::connect(path).await.map(Plain::Unix),
    }
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
