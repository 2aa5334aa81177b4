//! The HTTP/2 bomb: a byte on the wire names a field that was sent once, the windows stay shut, and what each stream holds is the
//! sidecar's to keep.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use outrigger_tests::alone::alone;
use outrigger_tests::eventually::holds;
use outrigger_tests::figure;
use outrigger_tests::footprint::Footprint;
use outrigger_tests::good::Good;
use outrigger_tests::mesh::Service;
use outrigger_tests::raw::{self, END_HEADERS, END_STREAM, Frame, Raw, frame, kind};
use outrigger_tests::{Mesh, eventually, settings};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::limit::{hits, neighbour_is_served};

const MIB: u64 = 1 << 20;
/// Streams of one connection: as many as the edge allows.
const STREAMS: u32 = 100;
/// Fields of a head besides the request's own six: as many as the edge allows.
const FIELDS: u32 = 94;
/// The first entry behind the static table (RFC 7541, 2.3.3).
const FIRST: u32 = 62;

/// All of it is over by then.
const GONE: Duration = Duration::from_secs(30);
/// Where a window may stay shut for as long: the answers have to be there first.
const GRACE: Duration = Duration::from_secs(5);

/// What one stream's head is made of.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    /// Bytes of `:authority`.
    authority: usize,
    /// Names in the table, and bytes of each one's value.
    names: u32,
    value: usize,
    path: &'static str,
}

/// What is small on the wire and large in memory, each in its way.
const SHAPES: [Shape; 4] = [
    Shape {
        name: "many names",
        authority: 6,
        names: FIELDS,
        value: 0,
        path: "/test.Echo/Echo",
    },
    Shape {
        name: "names with many values",
        authority: 6,
        names: 20,
        value: 130,
        path: "/test.Echo/Echo",
    },
    Shape {
        name: "a long authority",
        authority: 3900,
        names: 1,
        value: 0,
        path: "/test.Echo/Echo",
    },
    Shape {
        name: "small messages that wait",
        authority: 6,
        names: 1,
        value: 0,
        path: "/test.Echo/Forty",
    },
];

/// RFC 7541, 5.1, behind a first byte that has `bits` of it.
fn integer(first: u8, bits: u8, value: u32, block: &mut Vec<u8>) {
    let most = (1_u32 << bits) - 1;
    let Some(mut rest) = value.checked_sub(most) else {
        return block.push(first | u8::try_from(value).unwrap());
    };
    block.push(first | u8::try_from(most).unwrap());
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

fn text(text: &str, block: &mut Vec<u8>) {
    integer(0, 7, u32::try_from(text.len()).unwrap(), block);
    block.extend_from_slice(text.as_bytes());
}

/// A field that both tables remember from now on.
fn remembered(name: &str, value: &str, block: &mut Vec<u8>) {
    block.push(0x40);
    text(name, block);
    text(value, block);
}

impl Shape {
    /// The first head fills the table.
    fn first(&self) -> Vec<u8> {
        let authority = format!("orders{}", "a".repeat(self.authority - 6));
        let own = raw::grpc("orders", self.path);
        let mut block = raw::block(&own[..3]);
        remembered(":authority", &authority, &mut block);
        block.extend(raw::block(&own[4..]));
        let value = "v".repeat(self.value);
        for number in 0..self.names {
            let name = format!(
                "{}{}",
                char::from(b'a' + u8::try_from(number / 10).unwrap()),
                number % 10
            );
            remembered(&name, &value, &mut block);
        }
        block
    }

    /// The others name what is there: the authority is the oldest.
    fn next(&self) -> Vec<u8> {
        let own = raw::grpc("orders", self.path);
        let mut block = raw::block(&own[..3]);
        integer(0x80, 7, FIRST + self.names, &mut block);
        block.extend(raw::block(&own[4..]));
        for number in 0..FIELDS {
            integer(0x80, 7, FIRST + number % self.names, &mut block);
        }
        block
    }

    fn bytes(&self) -> Vec<u8> {
        let head = |stream: u32, block: &[u8]| {
            frame(kind::HEADERS, END_STREAM | END_HEADERS, stream, block)
        };
        let mut bytes = head(1, &self.first());
        for number in 1..STREAMS {
            bytes.extend(head(2 * number + 1, &self.next()));
        }
        bytes
    }
}

/// How the streams of one bomber ended.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    refused: u32,
    /// They held on until their time was over.
    stalled: u32,
    /// The last of all so long after the first was begun.
    last: Duration,
    /// The connection was gone before.
    lost: bool,
}

/// One connection with all the streams it may have, and no room for any answer; until all of them have ended.
async fn bomb(edge: String, bytes: Arc<Vec<u8>>, all: Arc<Barrier>) -> Ended {
    let mut raw = Raw::connect(&edge).await;
    raw.send(&frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]))
        .await;
    raw.is_alive().await.expect("a connection");
    all.wait().await;
    let begun = Instant::now();
    raw.send(&bytes).await;
    let mut ended = Ended::default();
    let mut answered = BTreeSet::new();
    while ended.refused + ended.stalled < STREAMS {
        let Some(frame) = raw.next_ever().await else {
            ended.lost = true;
            return ended;
        };
        let is_over = frame.ends_stream() || frame.reset().is_some();
        if is_over && frame.stream != 0 {
            match answered.contains(&frame.stream) {
                true => ended.stalled += 1,
                false => ended.refused += 1,
            }
            ended.last = begun.elapsed();
        }
        answered.insert(frame.stream);
    }
    ended
}

/// How much more than before the process holds at most, until that is done.
async fn growth<T>(pid: u32, before: u64, work: impl Future<Output = T>) -> (u64, T) {
    let mut work = std::pin::pin!(work);
    let mut looks = interval(Duration::from_millis(10));
    let mut peak = before;
    loop {
        tokio::select! {
            done = &mut work => return (peak - before, done),
            _ = looks.tick() => peak = peak.max(Footprint::of(pid).resident),
        }
    }
}

/// B3. So many connections, `OUTRIGGER_BOMBERS`; a window may stay shut for `OUTRIGGER_BOMB_SECONDS` at the edge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_a_bomb_of_header_references_is_held_to_a_bound_and_gone_in_time() {
    let _alone = alone().await;
    let bombers = u32::try_from(settings::number("OUTRIGGER_BOMBERS", 50)).unwrap();
    let lasts = settings::seconds("BOMB", 3);
    let timer = format!(
        "[limits.connect]\nstream_progress = \"{}s\"\n",
        2 * lasts.as_secs()
    );
    Mesh::builder()
        .service(Service::new("orders").edge())
        .client("web")
        .settings(&timer)
        .run(async |mesh| {
            for shape in SHAPES {
                explode(mesh, shape, bombers, lasts).await;
            }
        })
        .await;
}

async fn explode(mesh: &Mesh, shape: Shape, bombers: u32, lasts: Duration) {
    let orders = mesh.sidecar("orders");
    let edge = orders.addresses.edge.as_ref().unwrap();
    neighbour_is_served(edge).await;
    let before = Footprint::of(orders.pid());
    let held = hits(orders, "process", "header_memory").await;
    let good = Good::start(&mesh.client("web"));
    let bytes = Arc::new(shape.bytes());
    let all = Arc::new(Barrier::new(bombers as usize));
    let mut waiting = JoinSet::new();
    for _ in 0..bombers {
        waiting.spawn(bomb(edge.clone(), bytes.clone(), all.clone()));
    }
    let (grown, ended) = growth(orders.pid(), before.resident, waiting.join_all()).await;
    good.stop(shape.name).await;
    let sum = |of: fn(&Ended) -> u32| ended.iter().map(of).sum::<u32>();
    let last = ended.iter().map(|ended| ended.last).max().unwrap();
    let refused = sum(|ended| ended.refused);
    figure::tell(&format!(
        "b3 {}: {} bytes a connection, +{} KiB at most, {refused} refused, {} held on, the last for {last:?}",
        shape.name,
        bytes.len(),
        grown / 1024,
        sum(|ended| ended.stalled),
    ));
    assert!(ended.iter().all(|ended| !ended.lost), "{ended:?}");
    assert!(grown <= 64 * MIB, "{}: {} MiB", shape.name, grown / MIB);
    assert!(last <= GONE.max(lasts + GRACE), "{}: {last:?}", shape.name);
    let counted = hits(orders, "process", "header_memory").await - held;
    assert!(counted >= f64::from(refused), "{counted} of {refused}");
    eventually("what they held comes back", async || {
        let now = Footprint::of(orders.pid()).resident;
        let most = before.resident + before.resident / 10 + 16 * MIB;
        holds(now <= most, format!("{} MiB", now / MIB))
    })
    .await;
}

/// They wait for one another. The newest are refused, by an answer that says when to come back; whoever is on another connection does not notice.
#[tokio::test]
async fn b3_heads_past_the_bound_are_refused_newest_first() {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .settings("[limits.process]\nheader_memory = 1048576\n[limits.local]\nstranger_calls = 1\n")
        .run(async |mesh| {
            let orders = mesh.sidecar("orders");
            let edge = orders.addresses.edge.as_ref().unwrap();
            let mut raw = Raw::connect(edge).await;
            raw.is_alive().await.expect("a connection");
            raw.send(&SHAPES[0].bytes()).await;
            let mut refused = Vec::new();
            let mut served = 0;
            while served + refused.len() < STREAMS as usize {
                let is_over = |frame: &Frame| frame.ends_stream() || frame.reset().is_some();
                let (_, last) = raw.until(is_over).await.expect("an end of each");
                match last.field("grpc-status") {
                    Some("0") => served += 1,
                    _ => refused.push(last),
                }
            }
            // A head of a hundred fields is about 21 KiB.
            assert!(served >= 40 && !refused.is_empty(), "{served} were served");
            for answer in &refused {
                let said = ["grpc-status", "x-outrigger-reason"].map(|name| answer.field(name));
                assert_eq!(said, [Some("8"), Some("overloaded")], "{answer:?}");
                assert!(
                    answer.field("grpc-retry-pushback-ms").is_some(),
                    "{answer:?}"
                );
                assert!(answer.stream > 60, "the oldest are served: {answer:?}");
            }
            assert_eq!(
                hits(orders, "process", "header_memory").await,
                refused.len() as f64
            );
            neighbour_is_served(edge).await;
        })
        .await;
}
