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
use crate::opaque::Word;
use crate::tls::{ALPN, ALPN_OPAQUE, Cause};

/// What rustls reads from: by itself it takes at most 4 KiB a system call.
pub(crate) type Buffered = BufReader<TcpStream>;
pub(crate) const READ_BUFFER: usize = 64 << 10;

/// A connection to a mesh peer.
pub(crate) type Secured = TlsStream<Buffered>;

/// An open mesh connection, not yet driven by anybody.
pub(super) struct Dialed {
    pub(super) client: Rc<Client>,
    pub(super) driver: Driver<Secured>,
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
    /// Only to bytes that are no calls.
    #[error("{address} takes no connection: {}", .word.text())]
    Refused { address: String, word: Word },
    #[error("there is no identity yet")]
    NoIdentity,
}

// === impl Error ===

impl Error {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Connect { .. } => Kind::Connect,
            Self::Handshake { .. } => Kind::Handshake,
            Self::Refused { word, .. } => word.refusal().unwrap_or(Kind::Protocol),
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
    let (stream, validity) = secure(endpoint, identity, ALPN).await?;
    let (client, mut driver) = connect(stream, setup);
    first_word(&mut driver)
        .await
        .map_err(|err| failed(endpoint, &err))?;
    Ok(Dialed {
        client,
        driver,
        validity,
    })
}

/// Opens one for bytes that are no calls. A peer that agreed on it says first whether it lets us in; a Consul Envoy says nothing.
pub(super) async fn opaque(
    endpoint: &Endpoint,
    identity: &Material,
) -> Result<(Secured, Validity), Error> {
    let (mut stream, validity) = secure(endpoint, identity, ALPN_OPAQUE).await?;
    if stream.get_ref().1.alpn_protocol().is_some() {
        let word = Word::read(&mut stream).await;
        let strange = || io::Error::other("its first word is none that is known");
        let word = word.and_then(|word| word.ok_or_else(strange));
        let word = word.map_err(|err| failed(endpoint, &err))?;
        if word != Word::Ready {
            let address = endpoint.address.to_string();
            return Err(Error::Refused { address, word });
        }
    }
    let own = identity.validity;
    let first = if own.not_after < validity.not_after {
        own
    } else {
        validity
    };
    Ok((stream, first))
}

/// TCP and TLS; the peer's leaf is the one that is expected there.
async fn secure(
    endpoint: &Endpoint,
    identity: &Material,
    protocol: &[u8],
) -> Result<(Secured, Validity), Error> {
    let refused = |detail: String| Error::Connect {
        address: endpoint.address.to_string(),
        detail,
    };
    let stream = TcpStream::connect(endpoint.address)
        .await
        .map_err(|err| refused(err.to_string()))?;
    tune(&stream).map_err(|err| refused(err.to_string()))?;
    let name = server_name(endpoint);
    let connector = TlsConnector::from(identity.client(Arc::clone(&endpoint.identity), protocol));
    let stream = connector
        .connect(name, BufReader::with_capacity(READ_BUFFER, stream))
        .await
        .map_err(|err| failed(endpoint, &err))?;
    let connection = stream.get_ref().1;
    if connection
        .alpn_protocol()
        .is_some_and(|agreed| agreed != protocol)
    {
        let error = io::Error::other(rustls::Error::NoApplicationProtocol);
        return Err(failed(endpoint, &error));
    }
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    let facts = leaf.and_then(|leaf| certificate::read(leaf).ok());
    let missing = || io::Error::other(rustls::Error::NoCertificatesPresented);
    let validity = facts
        .map(|facts| facts.validity)
        .ok_or_else(|| failed(endpoint, &missing()))?;
    Ok((stream, validity))
}

fn failed(endpoint: &Endpoint, err: &io::Error) -> Error {
    Error::Handshake {
        address: endpoint.address.to_string(),
        detail: err.to_string(),
        cause: Cause::of(err),
    }
}

/// Drives the connection until the peer has said something.
async fn first_word(driver: &mut Driver<Secured>) -> io::Result<()> {
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
