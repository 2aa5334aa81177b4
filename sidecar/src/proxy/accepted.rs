//! A connection that carries calls, from its first bytes to its end.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::accept::detect::{Spoken, detect};
use crate::accept::stream::Prefixed;
use crate::config::Connection;
use crate::http2::server::Ending;
use crate::stack::{Dispatch, Peer};
use crate::{http1, http2};

/// What a connection is served with.
pub(super) struct Accepted {
    pub(super) dispatch: Rc<dyn Dispatch>,
    pub(super) peer: Peer,
    /// The only thing that may be spoken, if both sides have said so before.
    pub(super) agreed: Option<Spoken>,
    pub(super) limits: Connection,
    pub(super) idle: Duration,
    pub(super) preface: Duration,
    pub(super) header_block: Duration,
    pub(super) patience: Duration,
    pub(super) bounds: http2::Metrics,
}

// === impl Accepted ===

impl Accepted {
    pub(super) async fn serve<IO, L, C>(mut self, io: IO, ending: Ending<L, C>, tasks: TaskTracker)
    where
        IO: AsyncRead + AsyncWrite + Unpin + 'static,
        L: Future<Output = ()>,
        C: Future<Output = ()>,
    {
        let begun = Instant::now();
        let detected = timeout(self.preface, detect(io)).await;
        // One time for all of it.
        self.preface = self.preface.saturating_sub(begun.elapsed());
        match detected {
            Ok(Ok((spoken, _))) if self.agreed.is_some_and(|agreed| agreed != spoken) => {
                let (peer, agreed) = (&self.peer, self.agreed);
                tracing::debug!(
                    ?peer,
                    ?spoken,
                    ?agreed,
                    "a connection does not speak what it agreed to"
                );
            }
            Ok(Ok((spoken, io))) => self.speak(spoken, io, ending, tasks).await,
            Ok(Err(err)) => {
                tracing::debug!(error = %err, "a connection ended before it said anything");
            }
            Err(_) => self
                .bounds
                .hit(self.limits.scope, http2::Limit::Preface, &self.peer),
        }
    }

    /// The rest of a connection of which is known what it speaks.
    pub(super) async fn speak<IO, L, C>(
        self,
        spoken: Spoken,
        io: Prefixed<IO>,
        ending: Ending<L, C>,
        tasks: TaskTracker,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin + 'static,
        L: Future<Output = ()>,
        C: Future<Output = ()>,
    {
        let Self {
            dispatch,
            peer,
            limits,
            idle,
            preface,
            header_block,
            patience,
            bounds: metrics,
            ..
        } = self;
        match spoken {
            Spoken::Http2 => {
                let accepted = http2::server::Accepted {
                    dispatch,
                    peer,
                    limits,
                    idle,
                    preface,
                    header_block,
                    patience,
                    metrics,
                };
                http2::server::serve(io, Rc::new(accepted), ending, tasks).await;
            }
            Spoken::Http1 => {
                let accepted = http1::server::Accepted {
                    dispatch,
                    peer,
                    limits,
                    idle,
                    header_block,
                    patience,
                    metrics,
                };
                http1::server::serve(io, Rc::new(accepted), ending).await;
            }
            Spoken::Neither => {
                tracing::debug!(?peer, "a connection speaks neither HTTP/2 nor HTTP/1");
            }
        }
    }
}
