//! Calls of connections that were never served, on their way to an upstream or the application.
//!
//! What reaches a callee is its to work on, also if it is taken back at once, and everybody's calls wait behind it. Of those who are
//! nobody yet it has few calls at a time that it has not answered; the others wait here, and many never leave. One that it has had for long
//! counts no more: it may be meant to be answered late, or never.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;

use crate::config::{Connection, Scope};
use crate::http2::Metrics;
use crate::http2::meter::Limit;

/// For so long one counts that is not answered, whatever becomes of it.
const YOUNG: Duration = Duration::from_millis(50);

/// Room for them, of one thread.
#[derive(Debug)]
pub struct Strangers {
    scope: Scope,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
    bounds: Metrics,
}

/// Those of one connection wait here for the first of them, which waits with the first ones of others: each connection has its turn.
#[derive(Clone, Debug)]
pub(crate) struct Line(Rc<Semaphore>);

/// Room that a call takes. If the call is given up it is kept until its time: the callee may not know yet.
struct Taken {
    room: Option<OwnedSemaphorePermit>,
    until: Instant,
    tasks: TaskTracker,
}

// === impl Strangers ===

impl Strangers {
    /// `tasks` keep the room of calls that were given up.
    pub(crate) fn new(limits: &Connection, tasks: &TaskTracker, bounds: &Metrics) -> Self {
        let most = (limits.stranger_calls as usize).min(Semaphore::MAX_PERMITS);
        Self {
            scope: limits.scope,
            room: Arc::new(Semaphore::new(most)),
            tasks: tasks.clone(),
            bounds: bounds.clone(),
        }
    }

    /// Waits for room, unless the call came without a line because its connection was served; then for the answer.
    pub(crate) async fn answered<T>(
        &self,
        line: Option<Line>,
        mut exchange: Pin<&mut impl Future<Output = T>>,
    ) -> T {
        let Some(line) = line else {
            return exchange.await;
        };
        let taken = Taken {
            room: self.room(&line).await,
            until: Instant::now() + YOUNG,
            tasks: self.tasks.clone(),
        };
        let answer = timeout_at(taken.until, exchange.as_mut()).await;
        taken.free();
        match answer {
            Ok(answer) => answer,
            Err(_) => exchange.await,
        }
    }

    async fn room(&self, line: &Line) -> Option<OwnedSemaphorePermit> {
        let _first = line.0.acquire().await;
        match Arc::clone(&self.room).try_acquire_owned() {
            Err(TryAcquireError::NoPermits) => {
                let peer = "connections that were never served";
                self.bounds.hit(self.scope, Limit::StrangerCalls, &peer);
                Arc::clone(&self.room).acquire_owned().await.ok()
            }
            room => room.ok(),
        }
    }
}

// === impl Line ===

impl Default for Line {
    fn default() -> Self {
        Self(Rc::new(Semaphore::new(1)))
    }
}

// === impl Taken ===

impl Taken {
    fn free(mut self) {
        self.room = None;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let (Some(room), Ok(runtime)) = (self.room.take(), Handle::try_current()) else {
            return;
        };
        let until = self.until;
        let kept = async move {
            sleep_until(until).await;
            drop(room);
        };
        drop(self.tasks.spawn_on(kept, &runtime));
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;

    use futures::FutureExt as _;
    use tokio::time::{advance, sleep};

    use super::*;

    fn strangers(most: u32) -> Strangers {
        let mut limits = Connection::new(Scope::AppIn);
        limits.stranger_calls = most;
        Strangers::new(&limits, &TaskTracker::new(), &Metrics::default())
    }

    /// Whether there is room for another one now.
    fn has_room(strangers: &Strangers) -> bool {
        strangers.room(&Line::default()).now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_answered_makes_room_at_once_and_what_is_not_in_time() {
        let strangers = strangers(1);
        let stranger = || Some(Line::default());
        let (never, at_once, later) = (pin!(pending::<()>()), pin!(ready(())), pin!(ready(())));
        let mut stalls = Box::pin(strangers.answered(stranger(), never));
        assert!(futures::poll!(&mut stalls).is_pending());
        assert!(!has_room(&strangers), "the bound is one");
        strangers.answered(None, at_once).await;
        let mut next = Box::pin(strangers.answered(stranger(), later));
        advance(YOUNG - Duration::from_millis(1)).await;
        assert!(futures::poll!(&mut stalls).is_pending());
        assert!(futures::poll!(&mut next).is_pending());
        advance(Duration::from_millis(1)).await;
        assert!(futures::poll!(&mut stalls).is_pending());
        next.await;
        assert!(has_room(&strangers), "that one was answered");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_given_up_keeps_its_room_until_its_time() {
        let strangers = strangers(1);
        let never = pin!(pending::<()>());
        let mut call = Box::pin(strangers.answered(Some(Line::default()), never));
        assert!(futures::poll!(&mut call).is_pending());
        drop(call);
        sleep(YOUNG / 2).await;
        assert!(!has_room(&strangers));
        sleep(YOUNG).await;
        assert!(has_room(&strangers));
    }

    /// One that sends many waits behind itself alone.
    #[tokio::test]
    async fn each_connection_has_its_turn() {
        let strangers = strangers(1);
        let (greedy, modest) = (Line::default(), Line::default());
        let first = strangers.room(&greedy).await;
        let mut others = [(); 9].map(|()| Box::pin(strangers.room(&greedy)));
        for other in &mut others {
            assert!(futures::poll!(other).is_pending());
        }
        let mut late = Box::pin(strangers.room(&modest));
        assert!(futures::poll!(&mut late).is_pending());
        drop(first);
        let [second, third, ..] = &mut others;
        drop(second.await);
        assert!(futures::poll!(third).is_pending());
        assert!(futures::poll!(&mut late).is_ready());
    }
}
