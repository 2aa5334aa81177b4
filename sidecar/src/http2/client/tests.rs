//! Against peers that do what their script says: leaving, late, mean, or gone.

use std::collections::{BTreeMap, BTreeSet};

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
/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW: u16 = 4;

fn setup() -> Setup {
    Setup::of(Connection::new(Scope::Mesh))
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
        other.headers.edit().clear();
        begin(&client, other);
        let begun = peer.next_of(kind::HEADERS).await;
        assert_eq!(begun.flags & flag::END_STREAM, flag::END_STREAM);
    })
    .await;
}

/// Each of them has more to say than the connection's window ever takes; it opens by 8 KiB at a time.
#[tokio::test]
async fn streams_take_turns_with_the_window_of_their_connection() {
    with_peer(setup(), 1 << 20, async |client, mut peer, _| {
        peer.send(&setting(INITIAL_WINDOW, 1 << 30)).await;
        for _ in 0..3 {
            let large = bytes::Bytes::from(vec![7; 10 << 20]);
            let body = StreamBody::new(futures::stream::once(async {
                Ok(http_body::Frame::data(stack::Data::uncredited(large)))
            }));
            begin(&client, call(Box::pin(body)));
        }
        let mut first_window = 65_535;
        while first_window > 0 {
            first_window -= peer.next_of(kind::DATA).await.payload.len();
        }
        let mut got = BTreeMap::<u32, usize>::new();
        for _ in 0..30 {
            let more = 8192_u32.to_be_bytes();
            peer.send(&frame(kind::WINDOW_UPDATE, 0, 0, &more)).await;
            let mut left = 8192;
            while left > 0 {
                let data = peer.next_of(kind::DATA).await;
                left -= data.payload.len();
                *got.entry(data.stream).or_default() += data.payload.len();
            }
        }
        assert_eq!(
            got,
            BTreeMap::from([1, 3, 5].map(|stream| (stream, 10 * 8192)))
        );
    })
    .await;
}

/// Each stream may hold a window of what its receiver does not take; past the bound for all of them nothing would be read.
#[tokio::test]
async fn a_connection_has_room_while_its_streams_windows_are_within_what_may_wait() {
    let mut setup = setup();
    setup.limits.connection_buffered = 3 * setup.limits.stream_window;
    with_peer(setup, 1 << 20, async |client, mut peer, _| {
        peer.send(&setting(STREAMS, 100)).await;
        for _ in 0..3 {
            assert!(client.has_room(Share::All));
            begin(&client, call(endless()));
            peer.next_of(kind::HEADERS).await;
        }
        assert!(!client.has_room(Share::All) && client.has_slot(Share::All));
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
        assert!(client.is_closed() && !client.has_room(Share::All));
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
            assert_eq!(client.has_room(Share::All), expected, "{most}");
        }
        peer.send(&setting(STREAMS, 1)).await;
        peer.all_of(kind::SETTINGS).await;
        let one = begin(&client, empty());
        let stream = peer.next_of(kind::HEADERS).await.stream;
        assert!(!client.has_room(Share::All));
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
    let many = [OK, &literal("x", "1").repeat(136)].concat();
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

/// How long the calls of a peer lasted that did not end what it had begun; they end as with one that is gone.
async fn lost_after(peer: &mut Peer, start: Instant, calling: Calling, text: &str) -> u64 {
    let lost = calling.await.unwrap().unwrap_err();
    let seen = (lost.kind, lost.kind.code(), lost.processed);
    let expected = (
        Kind::ConnectionLost,
        tonic::Code::Unavailable,
        Processed::Maybe,
    );
    assert_eq!(seen, expected, "{lost:?}");
    let lasted = start.elapsed().as_secs();
    let goodbye = peer.next_of(kind::GOAWAY).await;
    assert_eq!(&goodbye.payload[8..], text.as_bytes());
    lasted
}

#[tokio::test(start_paused = true)]
async fn b7_a_peer_that_never_sends_its_settings_is_let_go_after_five_seconds() {
    with_peer(setup(), 1 << 20, async |client, mut peer, driven| {
        let start = Instant::now();
        let calling = begin(&client, empty());
        let lasted = lost_after(&mut peer, start, calling, "no_preface_in_time").await;
        assert_eq!(lasted, 5);
        drop(peer);
        assert!(driven.await.unwrap().is_err() && client.is_closed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn b7_a_block_of_fields_that_never_ends_is_let_go_after_ten_seconds() {
    with_peer(setup(), 1 << 20, async |client, mut peer, _driven| {
        peer.send(&setting(STREAMS, 100)).await;
        // Long after the time for SETTINGS, and with blocks that ended before.
        serves(&client, &mut peer).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        serves(&client, &mut peer).await;
        let start = Instant::now();
        let calling = begin(&client, empty());
        let stream = peer.next_of(kind::HEADERS).await.stream;
        peer.send(&frame(kind::HEADERS, 0, stream, OK)).await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let more = literal("x", "y");
            peer.send(&frame(kind::CONTINUATION, 0, stream, &more))
                .await;
        }
        let text = "no_end_of_headers_in_time";
        assert_eq!(lost_after(&mut peer, start, calling, text).await, 10);
    })
    .await;
}

/// What the process holds of all connections, and what happens when it is too much.
#[tokio::test]
async fn what_waits_is_counted_and_the_largest_holder_goes_when_memory_is_short() {
    let held = crate::memory::Account::new(u64::MAX);
    let setup = Setup {
        metrics: Metrics::new(std::sync::Arc::clone(&held), std::sync::Arc::default()),
        ..setup()
    };
    with_peer(setup, 1 << 20, async |client, mut peer, _driven| {
        peer.send(&setting(STREAMS, 100)).await;
        let mut replies = Vec::new();
        for size in [1000, 3000] {
            let calling = begin(&client, empty());
            let stream = peer.next_of(kind::HEADERS).await.stream;
            peer.send(&head(stream, 0, OK)).await;
            peer.send(&frame(kind::DATA, 0, stream, &vec![7; size]))
                .await;
            replies.push(calling.await.unwrap().unwrap());
        }
        settle().await;
        assert_eq!(held.used(), 4000);
        crate::http2::obey(&crate::memory::Order {
            free: 1,
            give_back: false,
            keep_credit: false,
        });
        let reset = peer.next_of(kind::RST_STREAM).await;
        assert_eq!(reset.stream, 3, "the one that holds most");
        settle().await;
        assert_eq!(held.used(), 1000);
        let [small, large] = <[Reply; 2]>::try_from(replies).unwrap();
        assert!(large.body.collect().await.is_err());
        drop(small);
        settle().await;
        assert_eq!(held.used(), 0);
        serves(&client, &mut peer).await;
    })
    .await;
}

/// Exactly so much may wait for those it is sent to, and not a byte more.
#[tokio::test]
async fn past_what_a_connection_may_hold_the_largest_holder_goes() {
    let limits = Connection {
        connection_buffered: 3000,
        ..Connection::new(Scope::Mesh)
    };
    let setup = Setup { limits, ..setup() };
    with_peer(setup, 1 << 20, async |client, mut peer, _driven| {
        peer.send(&setting(STREAMS, 100)).await;
        let mut replies = Vec::new();
        for size in [1000, 2000] {
            let calling = begin(&client, empty());
            let stream = peer.next_of(kind::HEADERS).await.stream;
            peer.send(&head(stream, 0, OK)).await;
            peer.send(&frame(kind::DATA, 0, stream, &vec![7; size]))
                .await;
            replies.push(calling.await.unwrap().unwrap());
        }
        settle().await;
        assert_eq!(client.held(), 3000);
        peer.send(&frame(kind::DATA, 0, 1, b"x")).await;
        let reset = peer.next_of(kind::RST_STREAM).await;
        assert_eq!(reset.stream, 3, "the one that holds most");
        settle().await;
        assert_eq!(client.held(), 1001);
        let [small, large] = <[Reply; 2]>::try_from(replies).unwrap();
        assert!(large.body.collect().await.is_err());
        drop(small);
        serves(&client, &mut peer).await;
    })
    .await;
}

/// More came than may wait, but those it is for take it: that only takes its time.
#[tokio::test]
async fn who_takes_what_came_loses_nothing_however_much_it_is() {
    let limits = Connection {
        connection_buffered: 3000,
        ..Connection::new(Scope::Mesh)
    };
    let setup = Setup { limits, ..setup() };
    with_peer(setup, 1 << 20, async |client, mut peer, _driven| {
        peer.send(&setting(STREAMS, 100)).await;
        let mut replies = Vec::new();
        for _ in 0..10 {
            let calling = begin(&client, empty());
            let stream = peer.next_of(kind::HEADERS).await.stream;
            peer.send(&head(stream, 0, OK)).await;
            replies.push((stream, calling.await.unwrap().unwrap()));
        }
        for (stream, _) in &replies {
            peer.send(&frame(kind::DATA, 1, *stream, &[7; 10_000]))
                .await;
        }
        settle().await;
        assert!(client.held() > 3000);
        for (_, reply) in replies {
            let whole = reply.body.collect().await.unwrap().to_bytes();
            assert_eq!(whole.len(), 10_000);
        }
        serves(&client, &mut peer).await;
    })
    .await;
}

/// While the process holds too much nobody gets credit back, and all of it once it does not.
#[tokio::test]
async fn credit_that_was_kept_comes_back() {
    with_peer(setup(), 1 << 20, async |client, mut peer, _driven| {
        peer.send(&setting(STREAMS, 100)).await;
        let calling = begin(&client, empty());
        let stream = peer.next_of(kind::HEADERS).await.stream;
        peer.send(&head(stream, 0, OK)).await;
        let mut reply = calling.await.unwrap().unwrap();
        let keep = |keep_credit| {
            crate::http2::obey(&crate::memory::Order {
                free: 0,
                give_back: false,
                keep_credit,
            });
        };
        let window = 64 << 10;
        keep(true);
        for _ in 0..4 {
            let data = vec![7; window / 4];
            peer.send(&frame(kind::DATA, 0, stream, &data)).await;
        }
        let mut read = 0;
        while read < window {
            let frame = reply.body.frame().await.unwrap().unwrap();
            read += frame.into_data().unwrap().bytes.len();
        }
        let updates = peer.all_of(kind::WINDOW_UPDATE).await;
        let updates = updates.iter().filter(|got| got.stream == stream);
        assert_eq!(updates.count(), 0, "credit while too much is held");
        keep(false);
        let update = peer.next_of(kind::WINDOW_UPDATE).await;
        let credit = u32::try_from(window).unwrap().to_be_bytes();
        assert_eq!((update.stream, &*update.payload), (stream, &credit[..]));
    })
    .await;
}

fn of_an_application() -> Setup {
    Setup {
        limits: Connection::new(Scope::AppIn),
        ..setup()
    }
}

/// It reads nothing while many calls come and are given up, and then all of it at once; more than 20 resets of what it has not taken would
/// end its connection.
#[tokio::test(start_paused = true)]
async fn b1_a_busy_application_bears_that_many_calls_are_given_up() {
    let (near, far) = duplex(1 << 20);
    let (client, mut driver) = connect(near, &of_an_application());
    let local = LocalSet::new();
    let driven = local.spawn_local(async move { poll_fn(|cx| driver.poll(cx)).await });
    local.spawn_local(async move {
        let mut server = h2::server::handshake(far).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        while let Some(Ok((_, mut answer))) = server.accept().await {
            // Most callers are gone.
            let _ = answer.send_response(http::Response::new(()), true);
        }
    });
    let called = local.run_until(async {
        let calls: Vec<_> = (0..90).map(|_| begin(&client, empty())).collect();
        settle().await;
        assert_eq!(client.open_calls(), 90);
        for call in calls {
            call.abort();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        ends_with_200(begin(&client, empty())).await;
        assert!(!driven.is_finished());
    });
    called.await;
}

/// It says never that it has read them.
#[tokio::test(start_paused = true)]
async fn what_is_given_up_is_reset_in_the_end_whatever_the_application_says() {
    with_peer(of_an_application(), 1 << 20, async |client, mut peer, _| {
        peer.send(&setting(STREAMS, 100)).await;
        let begun = Instant::now();
        let calls: Vec<_> = (0..50).map(|_| begin(&client, call(endless()))).collect();
        for _ in &calls {
            peer.next_of(kind::HEADERS).await;
        }
        calls.iter().for_each(JoinHandle::abort);
        settle().await;
        for _ in &calls {
            let reset = peer.next_of(kind::RST_STREAM).await;
            assert_eq!(reset.payload, [0, 0, 0, 8]);
        }
        let waited = begun.elapsed();
        serves(&client, &mut peer).await;
        assert!(
            waited >= Duration::from_secs(10) && waited < Duration::from_secs(11),
            "{waited:?}"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_in_the_mesh_is_reset_at_once() {
    with_peer(setup(), 1 << 20, async |client, mut peer, _| {
        let begun = Instant::now();
        let calls: Vec<_> = (0..50).map(|_| begin(&client, call(endless()))).collect();
        settle().await;
        calls.iter().for_each(JoinHandle::abort);
        for _ in &calls {
            peer.next_of(kind::RST_STREAM).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
    })
    .await;
}

/// More waits than may, because whoever called reads nothing: that is not the peer's fault, and breakers are not to take it for one.
#[tokio::test]
async fn an_answer_that_crowds_out_others_is_given_up_as_too_much_for_us() {
    let mut setup = setup();
    setup.limits.connection_buffered = 1000;
    with_peer(setup, 1 << 20, async |client, mut peer, _| {
        peer.send(&setting(STREAMS, 100)).await;
        let calling = begin(&client, empty());
        let stream = peer.next_of(kind::HEADERS).await.stream;
        peer.send(&head(stream, 0, OK)).await;
        let reply = calling.await.unwrap().unwrap();
        peer.send(&frame(kind::DATA, 0, stream, &[7; 1001])).await;
        let reset = peer.next_of(kind::RST_STREAM).await;
        assert_eq!(
            (reset.stream, &*reset.payload),
            (stream, &[0, 0, 0, 11][..])
        );
        let err = reply.body.collect().await.unwrap_err();
        assert_eq!(err.kind, Kind::Overloaded, "{err:?}");
        serves(&client, &mut peer).await;
    })
    .await;
}
