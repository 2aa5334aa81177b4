//! Against peers that do what their script says: leaving, late, mean, or gone.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::task::{JoinHandle, LocalSet};

use super::*;
use crate::http2::frame::{flag, kind};
use crate::http2::script::{OK, Peer, frame, goaway, head, literal, setting};
use crate::stack::{self, Protocol};

/// SETTINGS_MAX_CONCURRENT_STREAMS.
const STREAMS: u16 = 3;

fn setup() -> Setup {
    Setup {
        limits: Connection::new(Scope::Mesh),
        scheme: Scheme::HTTPS,
        ping: None,
        patience: Duration::from_secs(60),
        metrics: Metrics::default(),
    }
}

fn call(body: Body) -> Call {
    let grpc = HeaderValue::from_static("application/grpc");
    Call::arrived(
        Protocol::Grpc,
        stack::Peer::Application,
        Method::POST,
        Uri::from_static("/a.B/C"),
        "orders".to_owned(),
        HeaderMap::from_iter([(http::header::CONTENT_TYPE, grpc)]),
        body,
    )
}

fn empty() -> Call {
    call(crate::observe::empty())
}

/// A body that never ends.
fn endless() -> Body {
    Box::pin(StreamBody::new(futures::stream::pending()))
}

type Calling = JoinHandle<Result<Reply, Error>>;

fn begin(client: &Rc<Client>, call: Call) -> Calling {
    let client = Rc::clone(client);
    tokio::task::spawn_local(async move { client.call(call).await })
}

/// A client whose connection is driven to its end, and the peer; `room` bytes fit between them.
async fn with_peer<T>(
    setup: Setup,
    room: usize,
    test: impl AsyncFnOnce(Rc<Client>, Peer, JoinHandle<io::Result<()>>) -> T,
) -> T {
    let local = LocalSet::new();
    let (near, far) = duplex(room);
    let (client, mut driver) = connect(near, &setup);
    let driven = local.spawn_local(async move { poll_fn(|cx| driver.poll(cx)).await });
    local.run_until(test(client, Peer::new(far), driven)).await
}

/// Everybody goes as far as they can.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

async fn ends_with_200(calling: Calling) {
    let reply = calling.await.unwrap().unwrap();
    assert_eq!(reply.status, 200);
    reply.body.collect().await.unwrap();
}

/// The connection still serves.
async fn serves(client: &Rc<Client>, peer: &mut Peer) {
    let calling = begin(client, empty());
    let stream = peer.next_of(kind::HEADERS).await.stream;
    peer.send(&head(stream, flag::END_STREAM, OK)).await;
    ends_with_200(calling).await;
}

#[tokio::test]
async fn c4_a_grpc_request_without_a_message_ends_with_an_empty_data_frame() {
    with_peer(setup(), 1 << 20, async |client, mut peer, _| {
        begin(&client, empty());
        let begun = peer.next_of(kind::HEADERS).await;
        assert_eq!(begun.flags & flag::END_STREAM, 0);
        let end = peer.next_of(kind::DATA).await;
        assert_eq!(
            (end.stream, end.flags, end.payload.len()),
            (begun.stream, flag::END_STREAM, 0)
        );
        let mut other = empty();
        other.headers.clear();
        begin(&client, other);
        let begun = peer.next_of(kind::HEADERS).await;
        assert_eq!(begun.flags & flag::END_STREAM, flag::END_STREAM);
    })
    .await;
}

#[tokio::test]
async fn what_a_goaway_leaves_out_is_unprocessed_and_the_rest_is_finished() {
    with_peer(setup(), 1 << 20, async |client, mut peer, driven| {
        peer.send(&setting(STREAMS, 100)).await;
        let calls: Vec<_> = (0..3).map(|_| begin(&client, empty())).collect();
        let mut streams = Vec::new();
        for _ in &calls {
            streams.push(peer.next_of(kind::HEADERS).await.stream);
        }
        assert_eq!(streams, [1, 3, 5]);
        // In two steps, as servers leave; nothing is lost between them.
        peer.send(&goaway((1 << 31) - 1, 0)).await;
        peer.send(&goaway(3, 0)).await;
        let mut calls = calls.into_iter();
        let (first, second, third) = (calls.next(), calls.next(), calls.next());
        let refused = third.unwrap().await.unwrap().unwrap_err();
        assert_eq!(
            (refused.kind, refused.processed),
            (Kind::Refused, Processed::No)
        );
        assert!(client.is_closed() && !client.has_room());
        for (calling, stream) in [(first, 1), (second, 3)] {
            peer.send(&head(stream, flag::END_STREAM, OK)).await;
            ends_with_200(calling.unwrap()).await;
        }
        assert!(
            driven.await.unwrap().is_ok(),
            "it closes in order after the last call"
        );
        while peer.next().await.is_some() {}
    })
    .await;
}

/// A peer that has not said how many calls it takes gets a hundred; afterwards never more than it says.
#[tokio::test]
async fn b25_no_more_calls_are_opened_than_the_peer_takes() {
    with_peer(setup(), 1 << 20, async |client, mut peer, _driven| {
        let calls: Vec<_> = (0..300).map(|_| begin(&client, empty())).collect();
        settle().await;
        let mut unsent = 0;
        let mut sent = Vec::new();
        peer.send(&setting(STREAMS, 100)).await;
        let opened = peer.all_of(kind::HEADERS).await;
        assert_eq!(opened.len(), 100);
        for got in &opened {
            peer.send(&head(got.stream, flag::END_STREAM, OK)).await;
        }
        for calling in calls {
            match calling.await.unwrap() {
                Ok(reply) => sent.push(reply),
                Err(err) => {
                    assert!(err.unsent, "{err:?}");
                    unsent += 1;
                }
            }
        }
        assert_eq!((sent.len(), unsent), (100, 200));
        drop(sent);
        for (most, expected) in [(1, true), (0, false)] {
            peer.send(&setting(STREAMS, most)).await;
            peer.all_of(kind::SETTINGS).await;
            assert_eq!(client.has_room(), expected, "{most}");
        }
        peer.send(&setting(STREAMS, 1)).await;
        peer.all_of(kind::SETTINGS).await;
        let one = begin(&client, empty());
        let stream = peer.next_of(kind::HEADERS).await.stream;
        assert!(!client.has_room());
        assert!(client.call(empty()).await.unwrap_err().unsent);
        peer.send(&head(stream, flag::END_STREAM, OK)).await;
        ends_with_200(one).await;
    })
    .await;
}

/// The frames of an answer on a stream.
type Answer = Box<dyn Fn(u32) -> Vec<u8>>;

/// Each costs the call that asked for it and no other.
#[tokio::test]
async fn b23_a_mean_answer_ends_its_call_and_not_the_connection() {
    let early = literal(":status", "103");
    let many = [OK, &literal("x", "1").repeat(129)].concat();
    let long = literal("x-long", &"x".repeat(100)).repeat(120);
    let answers: [(&str, Answer); 8] = [
        (
            "endless 1xx",
            Box::new(move |stream| head(stream, 0, &early).repeat(9)),
        ),
        (
            "too many fields",
            Box::new(move |stream| head(stream, 0, &many)),
        ),
        (
            "trailers past their bytes",
            Box::new(move |stream| {
                [head(stream, 0, OK), head(stream, flag::END_STREAM, &long)].concat()
            }),
        ),
        (
            "trailers that do not end",
            Box::new(|stream| [head(stream, 0, OK), head(stream, 0, &literal("x", "1"))].concat()),
        ),
        (
            "trailers with a pseudo field",
            Box::new(|stream| {
                let trailers = head(stream, flag::END_STREAM, OK);
                [head(stream, 0, OK), trailers].concat()
            }),
        ),
        (
            "less body than was said",
            Box::new(|stream| {
                let block = [OK, &literal("content-length", "5")].concat();
                let body = frame(kind::DATA, flag::END_STREAM, stream, b"four");
                [head(stream, 0, &block), body].concat()
            }),
        ),
        (
            "no status",
            Box::new(|stream| head(stream, 0, &literal("x", "1"))),
        ),
        (
            "DATA in front of the head",
            Box::new(|stream| frame(kind::DATA, 0, stream, b"x")),
        ),
    ];
    for (what, answer) in answers {
        let mut setup = setup();
        setup.limits.header_list = 8 << 10;
        with_peer(setup, 1 << 20, async |client, mut peer, _driven| {
            peer.send(&setting(STREAMS, 100)).await;
            let calling = begin(&client, empty());
            let stream = peer.next_of(kind::HEADERS).await.stream;
            peer.send(&answer(stream)).await;
            let reset = peer.next_of(kind::RST_STREAM).await;
            assert_eq!(reset.stream, stream, "{what}");
            let failed = match calling.await.unwrap() {
                Err(err) => err,
                Ok(reply) => reply.body.collect().await.unwrap_err(),
            };
            assert_eq!(failed.kind, Kind::Protocol, "{what}: {failed:?}");
            serves(&client, &mut peer).await;
        })
        .await;
    }
}

/// RFC 9113, 8.1: an answer may come before its request has ended, and then the rest is not wanted.
#[tokio::test]
async fn an_early_answer_is_whole_and_its_request_stops() {
    with_peer(setup(), 1 << 20, async |client, mut peer, _driven| {
        peer.send(&setting(STREAMS, 100)).await;
        let calling = begin(&client, call(endless()));
        let stream = peer.next_of(kind::HEADERS).await.stream;
        let answer = [
            head(stream, 0, OK),
            frame(kind::DATA, 0, stream, b"all"),
            head(stream, flag::END_STREAM, &literal("grpc-status", "0")),
            frame(kind::RST_STREAM, 0, stream, &[0; 4]),
        ];
        peer.send(&answer.concat()).await;
        let collected = calling
            .await
            .unwrap()
            .unwrap()
            .body
            .collect()
            .await
            .unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(collected.to_bytes(), "all");
        assert!(
            peer.all_of(kind::RST_STREAM).await.is_empty(),
            "it is over already"
        );
        serves(&client, &mut peer).await;
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled() {
    with_peer(setup(), 1 << 20, async |client, mut peer, _driven| {
        peer.send(&setting(STREAMS, 100)).await;
        let calling = begin(&client, call(endless()));
        let stream = peer.next_of(kind::HEADERS).await.stream;
        calling.abort();
        let reset = peer.next_of(kind::RST_STREAM).await;
        assert_eq!((reset.stream, &*reset.payload), (stream, &[0, 0, 0, 8][..]));
        assert_eq!(client.open_calls(), 0);
        serves(&client, &mut peer).await;
    })
    .await;
}

/// A peer that is gone may have run what it was sent, and nothing else.
#[tokio::test]
async fn what_never_left_is_told_from_what_may_have_been_run() {
    for (room, unsent) in [(1 << 20, false), (16, true)] {
        with_peer(setup(), room, async |client, mut peer, driven| {
            let calling = begin(&client, empty());
            settle().await;
            if !unsent {
                peer.send(&setting(STREAMS, 100)).await;
                peer.next_of(kind::HEADERS).await;
            }
            drop(peer);
            let lost = calling.await.unwrap().unwrap_err();
            assert_eq!((lost.kind, lost.unsent), (Kind::ConnectionLost, unsent));
            let processed = if unsent {
                Processed::No
            } else {
                Processed::Maybe
            };
            assert_eq!(lost.processed, processed);
            assert!(driven.await.unwrap().is_err() && client.is_closed());
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_pings_is_dead() {
    let times = PingTimes {
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(20),
    };
    let setup = Setup {
        ping: Some(times),
        ..setup()
    };
    let begun = Instant::now();
    with_peer(setup, 1 << 20, async |client, mut peer, driven| {
        peer.send(&setting(STREAMS, 100)).await;
        let calling = begin(&client, empty());
        // The first is answered, the second is not.
        let ping = peer.next_of(kind::PING).await;
        peer.send(&frame(kind::PING, flag::ACK, 0, &ping.payload))
            .await;
        peer.next_of(kind::PING).await;
        assert_eq!(
            calling.await.unwrap().unwrap_err().kind,
            Kind::ConnectionLost
        );
        let ended = driven.await.unwrap().unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    })
    .await;
    assert_eq!(begun.elapsed().as_secs(), 40);
}

/// It is not read from while too much waits for it, and it is once there is room again.
#[tokio::test]
async fn a_peer_that_reads_late_is_answered_in_the_end() {
    const PINGS: usize = 60_000;
    let mut setup = setup();
    setup.limits.ping_frames = 1 << 30;
    with_peer(setup, 64 << 10, async |_client, peer, _driven| {
        let (mut reading, mut writing) = tokio::io::split(peer.into_io());
        let pings = frame(kind::PING, 0, 0, b"ping me!");
        let said = [setting(STREAMS, 100), pings.repeat(PINGS)].concat();
        let saying = tokio::task::spawn_local(async move {
            writing.write_all(&said).await.unwrap();
            writing
        });
        for _ in 0..100 {
            settle().await;
        }
        assert!(!saying.is_finished(), "it is held back");
        let answer = frame(kind::PING, flag::ACK, 0, b"ping me!");
        let mut heard = Vec::new();
        while heard.len() < PINGS * answer.len() {
            let count = reading.read_buf(&mut heard).await.unwrap();
            assert!(count > 0);
        }
        assert_eq!(&heard[heard.len() - answer.len()..], answer);
        saying.await.unwrap();
    })
    .await;
}

/// Streams are opened in order, however many calls begin at once.
#[tokio::test]
async fn stream_ids_count_up() {
    with_peer(setup(), 1 << 20, async |client, mut peer, _driven| {
        peer.send(&setting(STREAMS, 100)).await;
        let calls: Vec<_> = (0..50).map(|_| begin(&client, empty())).collect();
        tokio::task::yield_now().await;
        let ids: Vec<_> = peer
            .all_of(kind::HEADERS)
            .await
            .iter()
            .map(|got| got.stream)
            .collect();
        let unique: BTreeSet<_> = ids.iter().copied().collect();
        assert!(ids.is_sorted() && unique.len() == 50, "{ids:?}");
        calls.iter().for_each(JoinHandle::abort);
    })
    .await;
}
