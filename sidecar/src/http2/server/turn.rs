//! How many calls a connection may begin at a time. Calls run in the order in which they came, each connection's behind those of all
//! others: whoever sends more heads than can be served would have everybody wait behind them. Connections that were never served share
//! room for few calls whose tasks have not run, and take turns, in the order in which they asked. What they send beyond that stays with
//! them, unread or as bytes: what they take back, or hang up on, meanwhile never begins. One that has been served needs no room, and its
//! turns are so short that what its heads wrote is still in the processor's cache when their tasks read it.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// Room for so many calls of connections that were never served, on one thread.
const ROOM: usize = 64;
/// What one of those takes in a turn, and what one takes that was served.
const FEWEST: u32 = 4;
const FEW: usize = 32;
/// Where heads hold most of what they may, those that are too many are soon refused: if they were left, they would take whatever room others
/// leave.
const MANY: usize = 128;

thread_local! {
    static STRANGERS: Arc<Semaphore> = Arc::new(Semaphore::new(ROOM));
}

/// One turn of a connection.
#[derive(Debug)]
pub(super) struct Turn {
    requests: usize,
    room: Option<OwnedSemaphorePermit>,
}

/// The turns of one connection.
#[derive(Default)]
pub(super) struct Turns {
    /// Its place among those who wait for room.
    place: Option<PollSemaphore>,
}

/// Room that a call takes until its task runs, or is gone.
#[derive(Debug)]
pub(super) struct Waits(
    #[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>,
);

// === impl Turns ===

impl Turns {
    /// The next one. Until then nothing of the connection is to be read.
    pub(super) fn poll(
        &mut self,
        is_known: bool,
        is_tight: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Turn> {
        if !is_known && !is_tight {
            return self.poll_room(cx);
        }
        // A place that nobody asks about again would keep its room from others.
        self.place = None;
        Poll::Ready(Turn {
            requests: if is_tight { MANY } else { FEW },
            room: None,
        })
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let place = self
            .place
            .get_or_insert_with(|| PollSemaphore::new(STRANGERS.with(Arc::clone)));
        let room = ready!(place.poll_acquire_many(cx, FEWEST));
        Poll::Ready(Turn {
            requests: FEWEST as usize,
            room,
        })
    }
}

// === impl Turn ===

impl Turn {
    /// Requests that may come in it.
    pub(super) fn requests(&self) -> usize {
        self.requests
    }

    /// For one of its calls.
    pub(super) fn waits(&mut self) -> Waits {
        Waits(self.room.as_mut().and_then(|room| room.split(1)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::task::Waker;
    use std::time::Duration;

    use tokio::io::{AsyncWriteExt as _, duplex};
    use tokio::task::LocalSet;
    use tokio_util::task::TaskTracker;

    use super::super::tests::{accepted, never, request};
    use super::super::{Accepted, serve};
    use super::*;
    use crate::config::{Connection, Scope};
    use crate::error::{Error, Kind};
    use crate::http2::frame::{PREFACE, flag, kind};
    use crate::http2::script::{Peer, frame, head};
    use crate::stack::{Boxed, Call};

    const CONNECTIONS: usize = 20;
    const EACH: u32 = 150;

    fn free() -> usize {
        STRANGERS.with(|room| room.available_permits())
    }

    /// A turn of a connection that was never served or was, while heads hold little or most of what they may.
    fn turn(turns: &mut Turns, is_known: bool, is_tight: bool) -> Poll<Turn> {
        turns.poll(is_known, is_tight, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn strangers_take_few_and_need_room() {
        let mut turns: Vec<_> = (0..=ROOM / 4).map(|_| Turns::default()).collect();
        let mut polled: Vec<_> = turns
            .iter_mut()
            .map(|one| turn(one, false, false))
            .collect();
        assert!(polled.pop().unwrap().is_pending(), "there is room for more");
        let Poll::Ready(mut first) = polled.swap_remove(0) else {
            panic!("there is no room at all");
        };
        assert_eq!(first.requests(), 4);
        let mut last = turns.pop().unwrap();
        for (is_known, is_tight, requests) in
            [(true, false, 32), (false, true, 128), (true, true, 128)]
        {
            let needs_none = turn(&mut last, is_known, is_tight).map(|turn| turn.requests());
            assert_eq!(needs_none, Poll::Ready(requests));
        }
        // What it had asked for before is not kept for it.
        let waits = first.waits();
        drop(first);
        assert_eq!(free(), 3);
        assert!(turn(&mut last, false, false).is_pending());
        drop(waits);
        assert!(turn(&mut last, false, false).is_ready());
    }

    /// Each sends as many at once as it may: how many of each had begun when `after` of all had, and the most that took room at once.
    async fn begun_of_each(after: usize) -> (Vec<usize>, usize) {
        let begun = Rc::new(RefCell::new(Vec::new()));
        let most = Rc::new(Cell::new(0));
        let mut peers = Vec::new();
        for number in 0..CONNECTIONS {
            let (begun, most) = (Rc::clone(&begun), Rc::clone(&most));
            let dispatch = Boxed(move |_: Call| {
                begun.borrow_mut().push(number);
                most.set(most.get().max(ROOM - free()));
                std::future::ready(Err(Error::new(Kind::Internal, "")))
            });
            let accepted = Rc::new(Accepted {
                dispatch: Rc::new(dispatch),
                ..accepted()
            });
            let (near, far) = duplex(64 << 10);
            let heads = (0..EACH).flat_map(|n| head(2 * n + 1, flag::END_STREAM, &request()));
            let settings = frame(kind::SETTINGS, 0, 0, &[]);
            let mut peer = Peer::new(near);
            let said = [PREFACE.to_vec(), settings, heads.collect()].concat();
            peer.send(&said).await;
            peers.push(peer);
            tokio::task::spawn_local(serve(far, accepted, never(), TaskTracker::new()));
        }
        let all = CONNECTIONS * EACH as usize;
        let waits = async {
            while begun.borrow().len() < all {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waits).await;
        let begun = begun.borrow();
        assert!(waited.is_ok(), "{} of {all} began", begun.len());
        let first = begun.get(..after).unwrap();
        let of_each =
            (0..CONNECTIONS).map(|number| first.iter().filter(|one| **one == number).count());
        (of_each.collect(), most.get())
    }

    #[tokio::test]
    async fn b1_heads_of_many_peers_are_not_all_held_at_once_and_each_has_its_turn() {
        // In two rounds of all of them.
        let after = CONNECTIONS * 2 * FEWEST as usize;
        let scene = begun_of_each(after);
        let (of_each, most) = LocalSet::new().run_until(scene).await;
        assert!(most <= ROOM && most > 0, "{most}");
        let turns = of_each.iter().map(|count| count / FEWEST as usize);
        assert!(
            turns.clone().all(|count| (1..=3).contains(&count)),
            "{of_each:?}"
        );
        assert_eq!(free(), ROOM);
    }

    /// How many calls begin of one who says `last` behind fifty of them, which are more than a turn takes.
    async fn begun_before(last: &[u8], hangs_up: bool) -> u32 {
        let begun = Rc::new(Cell::new(0));
        let told = Rc::clone(&begun);
        let dispatch = Boxed(move |_: Call| {
            told.set(told.get() + 1);
            std::future::pending::<Result<crate::stack::Reply, Error>>()
        });
        let accepted = Rc::new(Accepted {
            dispatch: Rc::new(dispatch),
            ..accepted()
        });
        let scene = async {
            let (near, far) = duplex(64 << 10);
            let mut peer = Peer::new(near);
            let heads = (0..50).flat_map(|n| head(2 * n + 1, 0, &request()));
            let settings = frame(kind::SETTINGS, 0, 0, &[]);
            let said = [PREFACE, &*settings, &*heads.collect::<Vec<_>>(), last].concat();
            peer.send(&said).await;
            let serving = serve(far, accepted, never(), TaskTracker::new());
            if hangs_up {
                // A socket takes what is written to one who is gone, once.
                let mut gone = peer.into_io();
                gone.shutdown().await.unwrap();
                return serving.await;
            }
            tokio::select! {
                () = serving => panic!("the connection goes on"),
                _ = peer.next_of(kind::PING) => {}
            }
        };
        LocalSet::new().run_until(scene).await;
        begun.get()
    }

    #[tokio::test]
    async fn of_who_has_hung_up_no_call_begins_however_few_a_turn_takes() {
        assert_eq!(begun_before(&[], true).await, 0);
    }

    #[tokio::test]
    async fn calls_that_are_taken_back_in_the_same_breath_never_begin() {
        let resets = (0..50).flat_map(|n| frame(kind::RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8]));
        let ping = frame(kind::PING, 0, 0, &[7; 8]);
        let last = resets.chain(ping).collect::<Vec<_>>();
        assert_eq!(begun_before(&last, false).await, 0);
    }

    /// Though none of it begins.
    #[tokio::test]
    async fn b1_who_takes_everything_back_is_found_out() {
        let accepted = Rc::new(Accepted {
            limits: Connection::new(Scope::Edge),
            ..accepted()
        });
        let scene = async {
            let (near, far) = duplex(128 << 10);
            let mut peer = Peer::new(near);
            tokio::task::spawn_local(serve(far, accepted, never(), TaskTracker::new()));
            let mut said = [PREFACE, &*frame(kind::SETTINGS, 0, 0, &[])].concat();
            for volley in 0..11 {
                let ids = (0..50).map(|n| 2 * (50 * volley + n) + 1);
                said.extend(ids.clone().flat_map(|id| head(id, 0, &request())));
                said.extend(ids.flat_map(|id| frame(kind::RST_STREAM, 0, id, &[0, 0, 0, 8])));
            }
            said.extend(frame(kind::PING, 0, 0, &[7; 8]));
            peer.send(&said).await;
            loop {
                let mut got = peer.next().await.expect("a goodbye");
                assert_ne!(got.kind, kind::PING, "all of it was taken");
                if got.kind == kind::GOAWAY {
                    return String::from_utf8(got.payload.split_off(8)).unwrap();
                }
            }
        };
        let why = LocalSet::new().run_until(scene).await;
        assert_eq!(why, "too_many_premature_resets");
    }

    /// Nothing whole may be left behind the last one that a turn takes, which is not the end of the connection.
    #[tokio::test]
    async fn who_sends_as_many_as_a_turn_takes_is_heard_again() {
        LocalSet::new()
            .run_until(async {
                let (near, far) = duplex(64 << 10);
                let tasks = TaskTracker::new();
                tokio::task::spawn_local(serve(far, Rc::new(accepted()), never(), tasks));
                let mut peer = Peer::new(near);
                let most = FEWEST;
                let heads = (0..most).flat_map(|n| head(2 * n + 1, flag::END_STREAM, &request()));
                let settings = frame(kind::SETTINGS, 0, 0, &[]);
                let said = [PREFACE.to_vec(), settings, heads.collect()].concat();
                peer.send(&said).await;
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                peer.send(&frame(kind::PING, 0, 0, &[7; 8])).await;
                let answer = peer.next_of(kind::PING).await;
                assert_eq!(&*answer.payload, &[7; 8]);
            })
            .await;
    }
}
