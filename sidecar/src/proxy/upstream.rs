//! An upstream's own port: who it is for is known before a byte is read, so it may carry bytes that are no calls.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use super::accepted::Accepted;
use super::drain::Class;
use super::thread::sent_away;
use crate::accept::detect::{Spoken, detect_within};
use crate::accept::stream::{Plain, Prefixed};
use crate::config::{AppProtocol, Scope};
use crate::error::Kind;
use crate::http2::Limit;
use crate::memory::Seat;
use crate::opaque::{self, Speaks};
use crate::snapshot::{Thread, Upstream};

/// One port of one thread.
#[derive(Debug)]
pub(super) struct Port {
    thread: Rc<Thread>,
    upstream: Arc<Upstream>,
    /// What is declared for it.
    protocol: Option<AppProtocol>,
}

// === impl Port ===

impl Port {
    /// `None`: nobody declared the upstream.
    pub(super) fn new(thread: &Rc<Thread>, name: &str) -> Option<Rc<Self>> {
        let shared = &thread.shared;
        let mut declared = shared.config.upstreams.iter();
        let protocol = declared.find(|upstream| upstream.name == name)?.protocol;
        Some(Rc::new(Self {
            thread: Rc::clone(thread),
            upstream: Arc::clone(shared.upstreams.get(name)?),
            protocol,
        }))
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(
        &self,
        stream: Plain,
        accepted: Accepted,
        class: &Class,
        seat: &Seat,
    ) {
        let chain = self.upstream.chain.load_full();
        let is_opaque = chain.is_none_or(|chain| chain.is_opaque());
        let ending = sent_away(class.ending(), seat);
        match opaque::speaks(self.protocol, is_opaque) {
            Speaks::Calls => accepted.serve(stream, ending, class.tasks.clone()).await,
            Speaks::Opaque => self.carry(Prefixed::unread(stream), class, seat).await,
            Speaks::Anything => {
                let connect = &self.thread.shared.config.limits.connect;
                match detect_within(stream, connect.protocol_detection).await {
                    Ok((Some(spoken @ (Spoken::Http2 | Spoken::Http1)), io)) => {
                        let tasks = class.tasks.clone();
                        accepted.speak(spoken, io, ending, tasks).await;
                    }
                    Ok((told, io)) => {
                        self.note(told);
                        self.carry(io, class, seat).await;
                    }
                    Err(err) => {
                        tracing::debug!(error = %err, "a connection ended before it said anything");
                    }
                }
            }
        }
    }

    fn note(&self, told: Option<Spoken>) {
        if told.is_none() {
            let metrics = self.thread.shared.memory.metrics();
            let limit = Limit::ProtocolDetection;
            metrics.hit(Scope::AppOut, limit, &self.upstream.name);
        }
    }

    async fn carry(&self, io: Prefixed<Plain>, class: &Class, seat: &Seat) {
        let ended = ended(class.ending().cut, seat);
        opaque::outbound::carry(&self.thread, &self.upstream, io, ended).await;
    }
}

/// Why an opaque connection has to end. It cannot be told to leave: it goes on until its time is over, or memory is short.
pub(super) fn ended(cut: impl Future<Output = ()>, seat: &Seat) -> impl Future<Output = Kind> {
    let sent_away = seat.sent_away();
    async move {
        tokio::select! {
            () = cut => Kind::Cut,
            () = sent_away => Kind::Overloaded,
        }
    }
}
