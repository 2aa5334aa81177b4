//! A mesh peer's connection to our application, top to bottom: memory left → may it → our application → bytes both ways.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Word;
use super::metrics::Observed;
use crate::accept::stream::Plain;
use crate::config::Scope;
use crate::error::Kind;
use crate::identity::spiffe::SpiffeId;
use crate::intention::Decision;
use crate::observe::Direction;
use crate::snapshot::{Shared, Thread};

/// Carries `near` to our application until both have ended, `ended` says why it has to end before, or the peer may no more.
pub(crate) async fn carry<IO: AsyncRead + AsyncWrite + Unpin>(
    thread: &Rc<Thread>,
    mut near: IO,
    peer: Arc<SpiffeId>,
    with_word: bool,
    ended: impl Future<Output = Kind>,
) {
    let shared = &thread.shared;
    let mut observed = shared.opaque.observe(
        Direction::Inbound,
        &shared.service,
        &peer.service_name().into(),
        shared.memory.metrics().buffered(),
    );
    let carrying = async {
        let opened = open(thread, &peer, &mut observed).await;
        if with_word {
            let word = opened.as_ref().map_or_else(|word| *word, |_| Word::Ready);
            word.write(&mut near).await.map_err(|_| Kind::Cancelled)?;
        }
        let far = match opened {
            Ok(far) => far,
            Err(word) => return word.refusal().map_or(Ok(()), Err),
        };
        through(thread, &mut near, far, &peer, &mut observed).await
    };
    let result = tokio::select! {
        biased;
        kind = ended => Err(kind),
        result = carrying => result,
    };
    observed.ends(result);
}

/// The application, if the peer may have it.
async fn open(thread: &Thread, peer: &SpiffeId, observed: &mut Observed) -> Result<Plain, Word> {
    if thread.shared.memory.is_short() {
        return Err(Word::Overloaded);
    }
    if decide(&thread.shared, peer) == Decision::Deny {
        return Err(Word::Denied);
    }
    let application = thread.application.as_ref().ok_or(Word::Absent)?;
    application.dial().await.map_err(|err| {
        observed.detail = Some(err.to_string());
        Word::Absent
    })
}

async fn through<IO: AsyncRead + AsyncWrite + Unpin>(
    thread: &Thread,
    near: &mut IO,
    mut far: Plain,
    peer: &SpiffeId,
    observed: &mut Observed,
) -> Result<(), Kind> {
    let patience = thread.shared.config.limits.connect.stream_progress;
    let bounds = thread.shared.memory.metrics();
    let result = tokio::select! {
        () = denied(&thread.shared, peer) => Err(Kind::Denied),
        result = observed.carry((near, Scope::Mesh), (&mut far, Scope::AppIn), patience, bounds) => result,
    };
    if result.is_err() {
        // The application is not to take for an end what was none.
        far.abort();
    }
    result
}

/// Decides, and counts the decision.
fn decide(shared: &Shared, peer: &SpiffeId) -> Decision {
    let decision = decision(shared, peer);
    let metrics = &shared.metrics;
    metrics
        .authorization(peer.service_name(), decision.name())
        .inc();
    decision
}

fn decision(shared: &Shared, peer: &SpiffeId) -> Decision {
    let intentions = shared.intentions.load();
    let intentions = intentions.as_ref();
    intentions.map_or(Decision::Deny, |intentions| intentions.decide(peer))
}

/// Ready when the intentions have changed so that the peer may no more.
async fn denied(shared: &Shared, peer: &SpiffeId) {
    let mut changes = shared.changes();
    while decision(shared, peer) == Decision::Allow {
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
    decide(shared, peer);
}
