//! A restart without a refused connection: the new process takes the listening sockets of the one it replaces over a Unix socket, as
//! descriptors (`SCM_RIGHTS`, unix(7)). Both accept until the new one says that it is ready; then the old one leaves. If the new one
//! ends before that, nothing has happened.
//!
//! One message a socket, `[1, name…]` with its descriptor, each answered by one byte; `[0]` ends the list, and `[2]` from the new
//! process says that it is ready.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::accept::bind::Bound;
use crate::config::Address;

const SOCKET: u8 = 1;
const END: u8 = 0;
const READY: u8 = 2;
/// One step of the exchange takes no longer between two processes of one machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names are short: those of listeners, and of services.
const LONGEST: usize = 512;

/// What a process got from the one it replaces; empty if there is none.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    sockets: BTreeMap<String, OwnedFd>,
    predecessor: Option<UnixStream>,
}

/// Tells the predecessor, once, that it may leave.
#[derive(Debug)]
pub(super) struct Predecessor(UnixStream);

/// The way a successor comes.
#[derive(Debug)]
pub(super) struct Door(UnixListener);

// === impl Inherited ===

impl Inherited {
    /// Asks whoever listens at `path`. Nobody there is an ordinary start; a predecessor that does not answer is left alone, and told of.
    pub(super) fn ask(path: &Path) -> Self {
        let Ok(stream) = UnixStream::connect(path) else {
            return Self::default();
        };
        match receive(&stream) {
            Ok(sockets) => {
                tracing::info!(sockets = sockets.len(), path = %path.display(), "took the listening sockets of the process that this one replaces");
                Self {
                    sockets,
                    predecessor: Some(stream),
                }
            }
            Err(err) => {
                tracing::warn!(error = %err, path = %path.display(), "the process to be replaced did not hand over its sockets; binding anew");
                Self::default()
            }
        }
    }

    /// The socket of that name, if it listens where the configuration says.
    pub(super) fn tcp(&mut self, name: &str, wanted: SocketAddr, search: u16) -> Option<Bound> {
        let listener = TcpListener::from(self.sockets.remove(name)?);
        let has = listener.local_addr().ok()?;
        let last = wanted.port().saturating_add(search);
        let is_wanted = has.ip() == wanted.ip()
            && (wanted.port() == 0 || (wanted.port()..=last).contains(&has.port()));
        is_wanted.then_some(Bound::Tcp(listener))
    }

    /// The same of a socket that may be a Unix one.
    pub(super) fn any(&mut self, name: &str, wanted: &Address, search: u16) -> Option<Bound> {
        let path = match wanted {
            Address::Tcp(wanted) => return self.tcp(name, *wanted, search),
            Address::Unix(path) => path,
        };
        let listener = UnixListener::from(self.sockets.remove(name)?);
        let has = listener.local_addr().ok()?;
        (has.as_pathname() == Some(path)).then(|| Bound::Unix(listener, path.clone()))
    }

    pub(super) fn predecessor(self) -> Option<Predecessor> {
        self.predecessor.map(Predecessor)
    }
}

impl Predecessor {
    /// We accept calls now.
    pub(super) fn dismiss(mut self) {
        if let Err(err) = self.0.write_all(&[READY]) {
            tracing::info!(error = %err, "the replaced process had ended already");
        }
    }
}

// === impl Door ===

impl Door {
    /// Opens the way at `path`, also where the predecessor's still is: who comes from now on comes to us.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let fresh = path.with_extension("new");
        match std::fs::remove_file(&fresh) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh)?;
        // Whoever may connect gets the sockets.
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        std::fs::rename(&fresh, path)?;
        Ok(Self(listener))
    }

    /// Hands the sockets to whoever comes. Ready once a successor is.
    pub(super) async fn replaced(self, sockets: Vec<(String, Bound)>, stop: CancellationToken) {
        let handing = async {
            let listener = tokio::net::UnixListener::from_std(self.0)?;
            loop {
                let (stream, _) = listener.accept().await?;
                match hand(stream, &sockets).await {
                    Ok(()) => return io::Result::Ok(()),
                    Err(err) => {
                        tracing::warn!(error = %err, "a process that was to replace this one did not get ready; serving on");
                    }
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            handed = handing => match handed {
                Ok(()) => return,
                Err(err) => tracing::warn!(error = %err, "no process can replace this one"),
            }
        }
        std::future::pending::<()>().await;
    }
}

async fn hand(mut stream: tokio::net::UnixStream, sockets: &[(String, Bound)]) -> io::Result<()> {
    for (name, bound) in sockets {
        let message = [&[SOCKET], name.as_bytes()].concat();
        send(&stream, &message, bound)?;
        timeout(PATIENCE, stream.read_u8()).await??;
    }
    // A message this short is written whole or not at all.
    stream.try_write(&[END])?;
    match stream.read_u8().await? {
        READY => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn send(stream: &impl AsFd, message: &[u8], bound: &Bound) -> io::Result<()> {
    let descriptors = [bound.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    rights.push(SendAncillaryMessage::ScmRights(&descriptors));
    let message = [IoSlice::new(message)];
    sendmsg(stream, &message, &mut rights, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(stream: &UnixStream) -> io::Result<BTreeMap<String, OwnedFd>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut sockets = BTreeMap::new();
    loop {
        let mut text = [0; LONGEST];
        let (length, descriptor) = receive_one(stream, &mut text)?;
        match (text.get(..length), descriptor) {
            (Some([SOCKET, name @ ..]), Some(descriptor)) => {
                let name = String::from_utf8_lossy(name).into_owned();
                sockets.insert(name, descriptor);
            }
            (Some([END]), _) => return Ok(sockets),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        (&*stream).write_all(&[SOCKET])?;
    }
}

fn receive_one(stream: &UnixStream, text: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(text)];
    let received = recvmsg(stream, &mut into, &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = rights.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((received.bytes, descriptors.next()))
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    fn bound() -> (Bound, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (Bound::Tcp(listener), address)
    }

    #[test]
    fn nobody_to_replace_is_an_ordinary_start() {
        let folder = tempfile::tempdir().unwrap();
        let inherited = Inherited::ask(&folder.path().join("none.sock"));
        assert!(inherited.sockets.is_empty() && inherited.predecessor.is_none());
    }

    #[tokio::test]
    async fn a_successor_gets_the_sockets_and_the_predecessor_hears_when_it_is_ready() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handover.sock");
        let ((inbound, address), (other, _)) = (bound(), bound());
        let door = Door::open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let sockets = vec![("inbound".to_owned(), inbound), ("edge".to_owned(), other)];
        let mut replaced = JoinSet::new();
        replaced.spawn(door.replaced(sockets, CancellationToken::new()));
        let asked = path.clone();
        let ask = tokio::task::spawn_blocking(move || Inherited::ask(&asked));
        let mut inherited = ask.await.unwrap();
        let next = Door::open(&path).unwrap();

        let elsewhere = SocketAddr::from(([127, 0, 0, 2], 0));
        assert!(inherited.tcp("edge", elsewhere, 0).is_none());
        let taken = inherited.tcp("inbound", address, 0).unwrap();
        assert_eq!(taken.address().unwrap(), Address::Tcp(address));
        assert!(replaced.try_join_next().is_none());
        inherited.predecessor().unwrap().dismiss();
        let ended = timeout(PATIENCE, replaced.join_next()).await;
        ended.unwrap().unwrap().unwrap();
        std::net::TcpStream::connect(address).unwrap();
        drop(next);
    }

    #[tokio::test]
    async fn a_successor_that_ends_before_it_is_ready_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handover.sock");
        let (inbound, address) = bound();
        let door = Door::open(&path).unwrap();
        let sockets = vec![("inbound".to_owned(), inbound)];
        let mut replaced = JoinSet::new();
        replaced.spawn(door.replaced(sockets, CancellationToken::new()));
        for is_last in [false, true] {
            let asked = path.clone();
            let ask = tokio::task::spawn_blocking(move || Inherited::ask(&asked));
            let mut inherited = ask.await.unwrap();
            assert!(inherited.tcp("inbound", address, 0).is_some());
            match is_last {
                false => drop(inherited),
                true => inherited.predecessor().unwrap().dismiss(),
            }
        }
        let ended = timeout(PATIENCE, replaced.join_next()).await;
        ended.unwrap().unwrap().unwrap();
    }
}
