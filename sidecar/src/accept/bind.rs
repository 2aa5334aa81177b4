//! Binding: a TCP port that is taken moves up within bounds; a stale Unix socket is removed, a live one is not.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};

use super::stream::Plain;
use crate::config::Address;

const BACKLOG: i32 = 1024;

/// A bound socket on which nothing is accepted yet. Clones share it.
#[derive(Debug)]
pub(crate) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

/// The same on a runtime.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// Why nothing could be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct Error {
    address: String,
    source: io::Error,
}

// === impl Bound ===

impl Bound {
    pub(crate) fn bind(address: &Address, search: u16) -> Result<Self, Error> {
        let failed = |source| Error {
            address: address.to_string(),
            source,
        };
        match address {
            Address::Tcp(address) => tcp(*address, search).map(Self::Tcp).map_err(failed),
            Address::Unix(path) => unix(path)
                .map(|listener| Self::Unix(listener, path.clone()))
                .map_err(failed),
        }
    }

    pub(crate) fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Self::Unix(_, path) => Ok(Address::Unix(path.clone())),
        }
    }

    /// The descriptor, for whoever shares it with another process.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        }
    }

    pub(crate) fn share(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Unix(listener, path) => Ok(Self::Unix(listener.try_clone()?, path.clone())),
        }
    }

    /// Hands the socket to the current runtime.
    pub(crate) fn listen(self) -> io::Result<Listener> {
        match self {
            Self::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(Listener::Tcp),
            Self::Unix(listener, _) => {
                tokio::net::UnixListener::from_std(listener).map(Listener::Unix)
            }
        }
    }
}

// === impl Listener ===

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Plain> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Plain::Tcp(stream))
            }
            Self::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| Plain::Unix(stream)),
        }
    }
}

fn tcp(address: SocketAddr, search: u16) -> io::Result<std::net::TcpListener> {
    let mut next = address;
    let last = if address.port() == 0 {
        0
    } else {
        address.port().saturating_add(search)
    };
    loop {
        match listen(next) {
            Err(err) if err.kind() == io::ErrorKind::AddrInUse && next.port() < last => {
                next.set_port(next.port() + 1);
            }
            bound => return bound,
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_moves_up_within_bounds() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let first = tcp(any, 0).unwrap();
        let taken = first.local_addr().unwrap();
        assert_eq!(tcp(taken, 0).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let moved = tcp(taken, 50).unwrap().local_addr().unwrap();
        assert!(moved.port() > taken.port());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/out.sock");
        let live = unix(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(live);
        unix(&path).unwrap();
    }
}
