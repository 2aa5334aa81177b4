//! Calls that have arrived and whose tasks have not run. They run in the order in which they came, each connection's behind those of all
//! others. Of a peer that has been served a turn takes so few that what their heads wrote is still in the processor's cache when their
//! tasks read it. Of others it takes as many as they may open at the edge: what resets them again, or ends the connection, is mostly read
//! in the same turn, and none of them runs. Where many peers send more heads than can be served, a connection takes few and leaves the
//! rest, or all of them would be held at once and everybody would wait behind them: one that was never served takes fewest.

use std::cell::Cell;

/// While so many of a thread's calls wait, a connection that was never served takes fewest.
const MANY: usize = 64;
/// What one takes in a turn, what it takes if it has been served, and what it takes then.
const USUAL: usize = 128;
const FEW: usize = 32;
const FEWEST: usize = 4;

thread_local! {
    static WAITING: Cell<usize> = const { Cell::new(0) };
}

/// A call counts until its task runs, or is gone.
#[derive(Debug)]
pub(super) struct Waits(());

/// Requests that a connection may take in the turn that begins. Where heads hold most of what they may, those that are too many are soon
/// refused: if they stayed in the socket, they would take whatever room others leave.
pub(super) fn requests(is_known: bool, is_tight: bool) -> usize {
    requests_beside(WAITING.get(), is_known, is_tight)
}

fn requests_beside(waiting: usize, is_known: bool, is_tight: bool) -> usize {
    match (is_tight, is_known) {
        (true, _) => USUAL,
        (false, true) => FEW,
        (false, false) if waiting >= MANY => FEWEST,
        (false, false) => USUAL,
    }
}

// === impl Waits ===

impl Waits {
    pub(super) fn new() -> Self {
        WAITING.set(WAITING.get() + 1);
        Self(())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        WAITING.set(WAITING.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
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

    #[test]
    fn a_connection_takes_fewer_once_it_was_served_and_fewest_while_many_wait() {
        for (waiting, expected) in [
            (0, USUAL),
            (MANY - 1, USUAL),
            (MANY, FEWEST),
            (9999, FEWEST),
        ] {
            assert_eq!(
                requests_beside(waiting, false, false),
                expected,
                "{waiting}"
            );
            assert_eq!(requests_beside(waiting, true, false), FEW, "{waiting}");
            for is_known in [false, true] {
                let tight = requests_beside(waiting, is_known, true);
                assert_eq!(tight, USUAL, "{waiting}");
            }
        }
    }

    /// Each sends as many at once as it may; the most that wait when one of them runs.
    #[tokio::test]
    async fn b1_heads_of_many_peers_are_not_all_held_at_once() {
        let seen = Rc::new(RefCell::new((0, 0)));
        let told = Rc::clone(&seen);
        let dispatch = Boxed(move |_: Call| {
            let (served, most) = &mut *told.borrow_mut();
            *served += 1;
            *most = (*most).max(WAITING.get());
            std::future::ready(Err(Error::new(Kind::Internal, "")))
        });
        let accepted = Rc::new(Accepted {
            dispatch: Rc::new(dispatch),
            ..accepted()
        });
        LocalSet::new()
            .run_until(async {
                let mut peers = Vec::new();
                for _ in 0..CONNECTIONS {
                    let (near, far) = duplex(64 << 10);
                    let heads =
                        (0..EACH).flat_map(|n| head(2 * n + 1, flag::END_STREAM, &request()));
                    let settings = frame(kind::SETTINGS, 0, 0, &[]);
                    let mut peer = Peer::new(near);
                    let said = [PREFACE.to_vec(), settings, heads.collect()].concat();
                    peer.send(&said).await;
                    peers.push(peer);
                    let tasks = TaskTracker::new();
                    tokio::task::spawn_local(serve(far, Rc::clone(&accepted), never(), tasks));
                }
                let all = CONNECTIONS * EACH as usize;
                let served = || seen.borrow().0;
                let waits = async {
                    while served() < all {
                        tokio::task::yield_now().await;
                    }
                };
                let waited = tokio::time::timeout(Duration::from_secs(20), waits).await;
                assert!(waited.is_ok(), "{} of {all} were served", served());
            })
            .await;
        let most = seen.borrow().1;
        let bound = MANY + USUAL + CONNECTIONS * FEWEST;
        assert!(most < bound, "{most} waited, {bound} may");
        assert_eq!(WAITING.get(), 0);
    }

    /// How many calls begin of one who says `last` behind fifty of them, while so many others wait that a turn takes few.
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
        let _others: Vec<_> = (0..MANY).map(|_| Waits::new()).collect();
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
        let _others: Vec<_> = (0..MANY).map(|_| Waits::new()).collect();
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
                let most = u32::try_from(USUAL).unwrap();
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
