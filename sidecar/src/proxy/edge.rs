//! The public's connections over TLS: a handshake in time, then what ALPN agreed on and nothing else.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::accepted::Accepted;
use super::drain::Class;
use super::thread::{Seed, held, sent_away};
use crate::accept::admission;
use crate::accept::bind::Bound;
use crate::accept::detect::Spoken;
use crate::accept::stream::Plain;
use crate::accept::{self, Arrived, Opening};
use crate::stack::{Dispatch, Peer};
use crate::tls::edge::{ALPN_HTTP1, Current};
use crate::tls::{ALPN, Cause};

/// Connections that carry nothing are closed.
pub(super) const IDLE: Duration = Duration::from_secs(300);
/// A record of TLS: there may be many connections, and most say little.
const READ_BUFFER: usize = 16 << 10;

/// Starts the accept loop.
pub(super) fn listen(
    seed: &Rc<Seed>,
    bound: Bound,
    current: Arc<Current>,
    dispatch: Rc<dyn Dispatch>,
) -> io::Result<()> {
    let listener = bound.listen()?;
    let seed = Rc::clone(seed);
    let class = seed.signals.inbound.clone();
    class.accepting.clone().spawn_local(async move {
        let admission = Arc::clone(&seed.listeners.edge);
        let (leave, tasks) = (class.leave.clone(), class.tasks.clone());
        accept::run(listener, admission, Opening::Tls, leave, |arrived| {
            let (seed, dispatch, class) = (Rc::clone(&seed), Rc::clone(&dispatch), class.clone());
            let current = Arc::clone(&current);
            tasks.spawn_local(async move {
                Box::pin(serve(&seed, &current, arrived, dispatch, &class)).await;
            });
        })
        .await;
    });
    Ok(())
}

async fn serve(
    seed: &Seed,
    current: &Current,
    arrived: Arrived,
    dispatch: Rc<dyn Dispatch>,
    class: &Class,
) {
    let Arrived {
        stream,
        mut permit,
        handshake,
    } = arrived;
    let Plain::Tcp(stream) = stream else { return };
    let Ok(address) = stream.peer_addr() else {
        return;
    };
    if !permit.counts_for(admission::Peer::Address(address.ip())) {
        return;
    }
    match shake_hands(seed, current, stream).await {
        Ok(stream) => {
            drop(handshake);
            let accepted = accepted(seed, address, dispatch, agreed(&stream));
            let seat = seed.shared.memory.seat();
            let ending = sent_away(class.ending(), &seat);
            let serving = accepted.serve(stream, ending, class.tasks.clone());
            Box::pin(held((permit, seat), serving)).await;
        }
        Err(err) => {
            seed.handshakes.edge(Cause::of(&err));
            tracing::debug!(peer = %address, error = %err, "handshake at the edge failed");
        }
    }
}

async fn shake_hands(
    seed: &Seed,
    current: &Current,
    stream: TcpStream,
) -> io::Result<TlsStream<BufReader<TcpStream>>> {
    let acceptor = TlsAcceptor::from(current.config());
    let accepting = acceptor.accept(BufReader::with_capacity(READ_BUFFER, stream));
    match timeout(seed.shared.config.limits.connect.handshake, accepting).await {
        Ok(accepted) => accepted,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// `None`: the client has not asked, and what it says will tell.
fn agreed<IO>(stream: &TlsStream<IO>) -> Option<Spoken> {
    match stream.get_ref().1.alpn_protocol()? {
        protocol if protocol == ALPN => Some(Spoken::Http2),
        protocol if protocol == ALPN_HTTP1 => Some(Spoken::Http1),
        _ => Some(Spoken::Neither),
    }
}

fn accepted(
    seed: &Seed,
    address: SocketAddr,
    dispatch: Rc<dyn Dispatch>,
    agreed: Option<Spoken>,
) -> Accepted {
    let limits = &seed.shared.config.limits;
    Accepted {
        dispatch,
        peer: Peer::Public(address),
        agreed,
        limits: limits.edge(),
        idle: IDLE,
        preface: limits.connect.preface,
        header_block: limits.connect.header_block,
        patience: limits.connect.stream_progress / 2,
        bounds: seed.shared.memory.metrics().clone(),
    }
}
