//! Our server and our client against each other, while the server leaves.

use std::cell::RefCell;
use std::future::Pending;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::duplex;
use tokio::task::{JoinHandle, LocalSet};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Scope;
use crate::error::Processed;
use crate::http2::client::{self, Client, Setup, connect};
use crate::stack::{Boxed, Data};

/// An application that takes a while, a different one each time, and then answers a message and trailers.
async fn application(turns: usize, call: Call) -> Result<Reply, Error> {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
    call.into_parts().body.collect().await?;
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let frames = [
        Ok(Frame::data(Data::uncredited(Bytes::from_static(b"done")))),
        Ok(Frame::trailers(trailers)),
    ];
    Ok(Reply {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Box::pin(StreamBody::new(futures::stream::iter(frames))),
    })
}

pub(super) fn accepted() -> Accepted {
    let turns = RefCell::new(0);
    let dispatch = Boxed(move |call: Call| {
        *turns.borrow_mut() += 7;
        application(*turns.borrow() % 31, call)
    });
    Accepted {
        dispatch: Rc::new(dispatch),
        peer: Peer::Application,
        limits: Connection::new(Scope::Mesh),
        idle: Duration::from_secs(60),
        preface: Duration::from_secs(5),
        header_block: Duration::from_secs(5),
        patience: Duration::from_secs(60),
        metrics: Metrics::default(),
    }
}

/// Of a connection that goes on until its peer ends it.
pub(super) fn never() -> Ending<Pending<()>, Pending<()>> {
    Ending {
        leave: std::future::pending(),
        cut: std::future::pending(),
    }
}

fn call() -> Call {
    let body = [Ok(Frame::data(Data::uncredited(Bytes::from_static(b"do"))))];
    Call::arrived(
        Protocol::Http2,
        Peer::Application,
        Method::POST,
        Uri::from_static("/a.B/C"),
        "orders".to_owned(),
        HeaderMap::new(),
        Box::pin(StreamBody::new(futures::stream::iter(body))),
    )
}

/// The fields of one, by hand.
pub(super) fn request() -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/a.B/C"),
        (":authority", "a"),
    ];
    let literals = fields.map(|(name, value)| crate::http2::script::literal(name, value));
    literals.concat()
}

/// `Ok(true)`: answered. `Ok(false)`: provably not taken.
async fn outcome(client: Rc<Client>) -> Result<bool, Error> {
    let reply = match client.call(call()).await {
        Err(err) if err.processed == Processed::No => return Ok(false),
        reply => reply?,
    };
    let collected = reply.body.collect().await?;
    assert_eq!(collected.trailers().expect("trailers")["grpc-status"], "0");
    assert_eq!(collected.to_bytes(), "done");
    Ok(true)
}

/// Our client and our server on one connection.
struct Pair {
    client: Rc<Client>,
    leave: CancellationToken,
    driven: JoinHandle<std::io::Result<()>>,
    serving: JoinHandle<()>,
}

impl Pair {
    fn new(accepted: Accepted) -> Self {
        let (near, far) = duplex(64 << 10);
        let leave = CancellationToken::new();
        let ending = Ending {
            leave: leave.clone().cancelled_owned(),
            cut: std::future::pending(),
        };
        let serving = serve(far, Rc::new(accepted), ending, TaskTracker::new());
        let setup = Setup::of(Connection::new(Scope::Mesh));
        let (client, mut driver): (_, client::Driver<_>) = connect(near, &setup);
        let driven = async move { std::future::poll_fn(|cx| driver.poll(cx)).await };
        Self {
            client,
            leave,
            driven: tokio::task::spawn_local(driven),
            serving: tokio::task::spawn_local(serving),
        }
    }

    async fn ends_in_order(self) {
        self.driven.await.unwrap().expect("an end in order");
        self.serving.await.unwrap();
    }
}

/// One connection that is drained with calls in flight, and more begun while it is. How many were answered, and how many not taken.
async fn drained(before: usize, between: usize, settle: usize) -> (usize, usize) {
    let pair = Pair::new(accepted());
    let begin = || tokio::task::spawn_local(outcome(Rc::clone(&pair.client)));
    let mut calls: Vec<_> = (0..before).map(|_| begin()).collect();
    for _ in 0..settle {
        tokio::task::yield_now().await;
    }
    pair.leave.cancel();
    for _ in 0..between {
        calls.push(begin());
        tokio::task::yield_now().await;
    }
    let mut answered = 0;
    for call in calls {
        answered += usize::from(call.await.unwrap().expect("neither lost nor failed"));
    }
    pair.ends_in_order().await;
    (answered, before + between - answered)
}

/// RFC 9113, 6.8: two steps, so that what was on its way is served.
#[tokio::test]
async fn no_call_is_lost_by_a_connection_that_is_drained() {
    LocalSet::new()
        .run_until(async {
            let mut untaken = 0;
            for round in 0..200 {
                // At every moment of the calls' lives; at the first ones they have not left yet.
                let moment = round % 40;
                let (answered, not_taken) = drained(50, 20, moment).await;
                assert!(
                    answered >= 50 || moment < 5,
                    "round {round}: {answered} answered"
                );
                untaken += not_taken;
            }
            assert!(untaken > 0, "no round had a call that came too late");
        })
        .await;
}

/// What a slow peer got before it was let go, and after how many seconds.
async fn let_go(
    script: impl AsyncFnOnce(&mut crate::http2::script::Peer),
    until: impl Fn(&crate::http2::script::Got) -> bool,
    dispatch: Rc<dyn Dispatch>,
) -> (u64, Option<crate::http2::script::Got>) {
    let local = LocalSet::new();
    // Small, so that a peer that reads nothing is noticed.
    let (near, far) = duplex(1 << 10);
    let accepted = Accepted {
        dispatch,
        header_block: Duration::from_secs(10),
        patience: Duration::from_secs(30),
        ..accepted()
    };
    local.spawn_local(serve(far, Rc::new(accepted), never(), TaskTracker::new()));
    local
        .run_until(async {
            let mut peer = crate::http2::script::Peer::new(near);
            script(&mut peer).await;
            let start = Instant::now();
            let mut found = None;
            while let Some(got) = peer.next().await {
                if until(&got) {
                    found = Some(got);
                    break;
                }
            }
            (start.elapsed().as_secs(), found)
        })
        .await
}

fn echo() -> Rc<dyn Dispatch> {
    accepted().dispatch
}

fn is_goaway(got: &crate::http2::script::Got) -> bool {
    got.kind == crate::http2::frame::kind::GOAWAY
}

/// B7: what never comes is waited for as long as its timer says.
#[tokio::test(start_paused = true)]
async fn b7_no_preface_and_half_a_head_are_let_go_at_their_time() {
    use crate::http2::frame::{PREFACE, kind};
    use crate::http2::script::{frame, literal};
    let (seconds, goodbye) = let_go(async |_| {}, is_goaway, echo()).await;
    assert_eq!(seconds, 5);
    assert_eq!(&goodbye.unwrap().payload[8..], b"no_preface_in_time");
    let half = async |peer: &mut crate::http2::script::Peer| {
        let settings = frame(kind::SETTINGS, 0, 0, &[]);
        let head = frame(kind::HEADERS, 0, 1, &literal(":method", "POST"));
        peer.send(&[PREFACE.as_slice(), &settings, &head].concat())
            .await;
    };
    let (seconds, goodbye) = let_go(half, is_goaway, echo()).await;
    assert_eq!(seconds, 10);
    assert_eq!(&goodbye.unwrap().payload[8..], b"no_end_of_headers_in_time");
}

/// B7: an answer for which the window never opens, and one that nobody reads at all.
#[tokio::test(start_paused = true)]
async fn b7_a_window_that_never_opens_costs_its_stream_and_nobody_elses() {
    use crate::http2::frame::{PREFACE, flag, kind};
    use crate::http2::script::{frame, head, setting};
    let shut = async |peer: &mut crate::http2::script::Peer| {
        // SETTINGS_INITIAL_WINDOW_SIZE.
        let open = [
            PREFACE.to_vec(),
            setting(4, 0),
            head(1, flag::END_STREAM, &request()),
        ];
        peer.send(&open.concat()).await;
    };
    let is_over = |got: &crate::http2::script::Got| {
        let is_end = got.kind == kind::HEADERS && got.flags & flag::END_STREAM != 0;
        got.stream == 1 && (is_end || got.kind == kind::RST_STREAM)
    };
    let (seconds, over) = let_go(shut, is_over, echo()).await;
    assert_eq!(seconds, 30, "{over:?}");
    assert!(over.is_some());
    let healthy = async |peer: &mut crate::http2::script::Peer| {
        shut(peer).await;
        peer.send(&head(3, flag::END_STREAM, &request())).await;
        peer.send(&frame(kind::WINDOW_UPDATE, 0, 3, &1000_u32.to_be_bytes()))
            .await;
    };
    let is_neighbour = |got: &crate::http2::script::Got| {
        got.stream == 3 && got.kind == kind::HEADERS && got.flags & flag::END_STREAM != 0
    };
    let (seconds, answered) = let_go(healthy, is_neighbour, echo()).await;
    assert_eq!(seconds, 0);
    assert!(answered.is_some());
}

/// A connection that wears us out is drained; whoever goes on meanwhile gets no second to answer in.
#[tokio::test(start_paused = true)]
async fn b1_who_makes_us_reset_on_and_on_is_not_waited_for() {
    use crate::http2::frame::{PREFACE, flag, kind};
    use crate::http2::script::{frame, head, literal};
    let drains_at = Connection::new(Scope::Mesh).drains_at().unwrap();
    for (resets, expected) in [(drains_at, 1), (2 * drains_at - 1, 1), (2 * drains_at, 0)] {
        let script = async |peer: &mut crate::http2::script::Peer| {
            let malformed = [request(), literal("connection", "close")].concat();
            let heads = (0..resets).flat_map(|n| head(2 * n + 1, flag::END_STREAM, &malformed));
            let settings = frame(kind::SETTINGS, 0, 0, &[]);
            let said = [PREFACE.to_vec(), settings, heads.collect()].concat();
            peer.send(&said).await;
        };
        let words = Cell::new(0);
        let is_last = |got: &crate::http2::script::Got| {
            words.set(words.get() + u32::from(is_goaway(got)));
            words.get() == 2
        };
        let (seconds, last) = let_go(script, is_last, echo()).await;
        assert!(last.is_some(), "{resets}: {} GOAWAYs", words.get());
        assert_eq!(seconds, expected, "{resets}");
    }
}

/// Whether a connection counts as served behind so many calls, answered with that reason or by the application.
async fn is_known_behind(calls: u32, reason: Option<&'static str>) -> bool {
    let known = Rc::new(Cell::new(false));
    let told = Rc::clone(&known);
    let dispatch = Boxed(move |call: Call| {
        told.set(call.facts.is_known);
        async move {
            let mut reply = application(0, call).await?;
            let reason = reason.map(|reason| (REASON, HeaderValue::from_static(reason)));
            reply.headers.extend(reason);
            Ok(reply)
        }
    });
    let accepted = Accepted {
        dispatch: Rc::new(dispatch),
        ..accepted()
    };
    let pair = Pair::new(accepted);
    for _ in 0..=calls {
        assert!(outcome(Rc::clone(&pair.client)).await.unwrap());
    }
    pair.leave.cancel();
    pair.ends_in_order().await;
    known.get()
}

#[tokio::test]
async fn who_was_only_refused_was_not_served() {
    LocalSet::new()
        .run_until(async {
            for (calls, reason, expected) in [
                (KNOWN - 1, None, false),
                (KNOWN, None, true),
                (2 * KNOWN, Some("overloaded"), false),
                (2 * KNOWN, Some("deadline_exceeded"), false),
            ] {
                let is_known = is_known_behind(calls, reason).await;
                assert_eq!(is_known, expected, "{calls} calls, {reason:?}");
            }
        })
        .await;
}
