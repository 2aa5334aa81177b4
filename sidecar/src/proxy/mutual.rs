//! The mesh's connections: mutual TLS or nothing, who it is, then its calls until one of both leaves expires.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::BufReader;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::accepted::Accepted;
use super::drain::Class;
use super::thread::{Seed, sent_away};
use super::upstream;
use crate::accept::admission;
use crate::accept::bind::Bound;
use crate::accept::stream::Plain;
use crate::accept::{self, Arrived, Opening};
use crate::connect::{self, Buffered, READ_BUFFER};
use crate::http2::server::Ending;
use crate::identity::spiffe::SpiffeId;
use crate::identity::{Material, Validity, certificate, now};
use crate::inbound;
use crate::opaque::{self, Carried, Word};
use crate::snapshot::Thread;
use crate::stack::{Dispatch, Peer};
use crate::tls::Cause;

/// Starts the accept loop.
pub(super) fn listen(seed: &Rc<Seed>, bound: Bound, thread: &Rc<Thread>) -> io::Result<()> {
    let listener = bound.listen()?;
    let seed = Rc::clone(seed);
    let inbound = Rc::new(Inbound {
        dispatch: inbound::listener(thread),
        thread: Rc::clone(thread),
    });
    let class = seed.signals.inbound.clone();
    class.accepting.clone().spawn_local(async move {
        if !seed.has_identity(&class.leave).await {
            return;
        }
        let admission = Arc::clone(&seed.listeners.mesh);
        let (leave, tasks) = (class.leave.clone(), class.tasks.clone());
        accept::run(listener, admission, Opening::Tls, leave, |arrived| {
            let (seed, inbound, class) = (Rc::clone(&seed), Rc::clone(&inbound), class.clone());
            tasks.spawn_local(async move {
                Box::pin(serve(&seed, arrived, &inbound, &class)).await;
            });
        })
        .await;
    });
    Ok(())
}

/// Where what arrives goes.
struct Inbound {
    /// Calls.
    dispatch: Rc<dyn Dispatch>,
    /// Other bytes.
    thread: Rc<Thread>,
}

/// One inbound mesh connection: handshake, who it is, calls or bytes.
async fn serve(seed: &Seed, arrived: Arrived, inbound: &Inbound, class: &Class) {
    let Arrived {
        stream,
        mut permit,
        handshake,
    } = arrived;
    let address = stream.peer();
    let Plain::Tcp(stream) = stream else { return };
    let Some(identity) = seed.identity.load() else {
        return;
    };
    let limits = &seed.shared.config.limits;
    let accepting = async {
        connect::tune(&stream)?;
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.server));
        acceptor
            .accept(BufReader::with_capacity(READ_BUFFER, stream))
            .await
    };
    let failed = |err: &io::Error| {
        seed.handshakes.inbound(Cause::of(err));
        tracing::info!(peer = ?address, error = %err, "handshake refused");
    };
    let stream = match timeout(limits.connect.handshake, accepting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(err)) => return failed(&err),
        Err(_) => return failed(&io::ErrorKind::TimedOut.into()),
    };
    let Some((peer, validity)) = peer(&stream) else {
        return failed(&io::Error::other(rustls::Error::NoCertificatesPresented));
    };
    drop(handshake);
    if !permit.counts_for(admission::Peer::Identity(peer.clone())) {
        return;
    }
    let seat = seed.shared.memory.seat();
    let ending = resting_on(&identity, validity, class);
    let (peer, carried) = (Arc::new(peer), carried(seed, &stream));
    match carried {
        Carried::Calls => {
            let accepted = calls(seed, inbound, peer);
            let serving = accepted.serve(stream, sent_away(ending, &seat), class.tasks.clone());
            Box::pin(serving).await;
        }
        Carried::Opaque { with_word } => {
            let ended = upstream::ended(ending.cut, &seat);
            let carrying = opaque::inbound::carry(&inbound.thread, stream, peer, with_word, ended);
            Box::pin(carrying).await;
        }
        Carried::Mismatch => refuse(stream, &peer).await,
    }
    drop((permit, seat));
}

fn calls(seed: &Seed, inbound: &Inbound, peer: Arc<SpiffeId>) -> Accepted {
    let limits = &seed.shared.config.limits;
    Accepted {
        dispatch: Rc::clone(&inbound.dispatch),
        peer: Peer::Mesh(peer),
        agreed: None,
        limits: limits.mesh(),
        idle: limits.connect.idle,
        preface: limits.connect.preface,
        header_block: limits.connect.header_block,
        patience: limits.connect.stream_progress,
        bounds: seed.shared.memory.metrics().clone(),
    }
}

fn carried(seed: &Seed, stream: &TlsStream<Buffered>) -> Carried {
    let application = seed.shared.config.application.as_ref();
    application.map_or(Carried::Calls, |application| {
        opaque::agreed(stream.get_ref().1.alpn_protocol(), application.protocol)
    })
}

/// The peer means bytes, our application takes calls.
async fn refuse(mut stream: TlsStream<Buffered>, peer: &SpiffeId) {
    tracing::info!(
        %peer,
        "a peer means opaque TCP, but application.protocol is not tcp; declare it so, or leave protocol = \"tcp\" out of the peer's upstream"
    );
    if let Err(err) = Word::Mismatch.write(&mut stream).await {
        tracing::debug!(error = %err, "the peer did not wait for an answer");
    }
}

fn peer(stream: &TlsStream<Buffered>) -> Option<(SpiffeId, Validity)> {
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    certificate::read(leaf)
        .ok()
        .map(|facts| (facts.id, facts.validity))
}

/// The connection leaves before the earlier of both leaves expires, a little after the caller would have left by itself; then it ends.
fn resting_on(
    identity: &Material,
    peer: Validity,
    class: &Class,
) -> Ending<impl Future<Output = ()> + use<>, impl Future<Output = ()> + use<>> {
    let first = if identity.validity.not_after < peer.not_after {
        identity.validity
    } else {
        peer
    };
    let left = first.left(now());
    let leaves = left.saturating_sub(first.margin() / 2);
    let ending = class.ending();
    Ending {
        leave: async move {
            tokio::select! {
                () = ending.leave => {}
                () = tokio::time::sleep(leaves) => {}
            }
        },
        cut: async move {
            tokio::select! {
                () = ending.cut => {}
                () = tokio::time::sleep(left) => {}
            }
        },
    }
}
