//! Peers that take their time, in every way and on every kind of listener: each is let go when its time is over, neither before nor
//! long after, and nobody else notices.

/// The ways.
mod way;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outrigger_tests::alone::alone;
use outrigger_tests::eventually::holds;
use outrigger_tests::footprint::Footprint;
use outrigger_tests::good::Good;
use outrigger_tests::mesh::Service;
use outrigger_tests::raw::{END_STREAM, kind};
use outrigger_tests::sidecar::Sidecar;
use outrigger_tests::tls::{self, Files};
use outrigger_tests::{Mesh, eventually, figure, settings};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::limit::{hits, neighbour_is_served};
use way::{DEAF, Ends, WAYS, Way};

const MIB: u64 = 1 << 20;

/// Timers short enough to wait for; a window that stays shut has half of its time at the edge.
const SETTINGS: &str = "[limits.connect]
handshake = \"2s\"
preface = \"2s\"
header_block = \"2s\"
request_body = \"2s\"
stream_progress = \"4s\"
[limits.edge]
connections_per_peer = 10000
tls_handshakes_at_once = 10000
tls_handshakes_per_second = 10000
[limits.mesh]
connections_per_peer = 10000
tls_handshakes_at_once = 10000
tls_handshakes_per_second = 10000
";

/// Where a peer connects, and how far it comes before it is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Edge,
    /// Before the handshake.
    EdgeTls,
    EdgeInTls,
    Mesh,
    MeshInTls,
    Outbound,
}

impl Place {
    /// How long a window may stay shut, or a socket unread.
    fn progress(self) -> Duration {
        match self {
            Self::Edge | Self::EdgeTls | Self::EdgeInTls => Duration::from_secs(2),
            Self::Mesh | Self::MeshInTls | Self::Outbound => Duration::from_secs(4),
        }
    }
}

/// Ports and what it takes to get through TLS.
#[derive(Clone)]
struct Ports {
    edge: String,
    edge_tls: String,
    mesh: String,
    outbound: String,
    public: Arc<ClientConfig>,
    peer: Arc<ClientConfig>,
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Ports {
    async fn of(mesh: &Mesh) -> Self {
        let (orders, web) = (mesh.sidecar("orders"), mesh.client_sidecar("web"));
        let addresses = orders.addresses.clone();
        let identity = tls::issued(&mesh.registry, "web").await;
        Self {
            edge: addresses.edge.unwrap(),
            edge_tls: addresses.edge_tls.unwrap(),
            mesh: addresses.inbound.unwrap(),
            outbound: web.addresses.upstreams["orders"].clone(),
            public: Arc::new(tls::as_public()),
            peer: Arc::new(tls::as_peer(identity)),
        }
    }

    fn address(&self, place: Place) -> &str {
        match place {
            Place::Edge => &self.edge,
            Place::EdgeTls | Place::EdgeInTls => &self.edge_tls,
            Place::Mesh | Place::MeshInTls => &self.mesh,
            Place::Outbound => &self.outbound,
        }
    }

    async fn connect(&self, place: Place) -> Box<dyn Io> {
        let config = match place {
            Place::EdgeInTls => Some(&self.public),
            Place::MeshInTls => Some(&self.peer),
            Place::Edge | Place::EdgeTls | Place::Mesh | Place::Outbound => None,
        };
        let stream = narrow(self.address(place)).await;
        match config {
            None => Box::new(stream),
            Some(config) => Box::new(tls::shake_hands(stream, config).await.unwrap()),
        }
    }
}

/// A connection that the kernel buffers little for.
async fn narrow(address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let stream = socket.connect(address.parse().unwrap()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Heads of the frames in it.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32)> {
    let mut frames = Vec::new();
    while let Some(([a, b, c, kind, flags, stream @ ..], behind)) = bytes.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        frames.push((*kind, *flags, u32::from_be_bytes(*stream)));
        bytes = behind.get(length..).unwrap_or_default();
    }
    frames
}

/// How long it was borne, from its last word or, if it was answered, from the answer's head.
async fn borne(mut io: Box<dyn Io>, way: &Way) -> Duration {
    io.write_all(&(way.says)()).await.unwrap();
    let mut begun = Instant::now();
    let (mut came, mut is_answered) = (Vec::new(), false);
    loop {
        // However it is closed.
        if !matches!(io.read_buf(&mut came).await, Ok(1..)) {
            let is_over = way.ends == Ends::Connection;
            assert!(
                is_over,
                "{}: the connection is gone after {:?} and {:?}",
                way.name,
                begun.elapsed(),
                String::from_utf8_lossy(&came)
            );
            return begun.elapsed();
        }
        if way.ends == Ends::Connection {
            continue;
        }
        for (kind, flags, _) in frames(&came).iter().filter(|frame| frame.2 == 1) {
            let carries_end = matches!(*kind, kind::HEADERS | kind::DATA);
            if *kind == kind::RST_STREAM || (carries_end && flags & END_STREAM != 0) {
                return begun.elapsed();
            }
            if way.ends == Ends::Answer && !std::mem::replace(&mut is_answered, true) {
                begun = Instant::now();
            }
        }
    }
}

/// How late the kernel, a busy machine and an unoptimised build may make it, in milliseconds: a full run says 1000.
fn lateness() -> Duration {
    Duration::from_millis(settings::number("OUTRIGGER_SLOW_LATE_MILLIS", 2000))
}

fn check(what: &str, timer: Duration, borne: Duration) {
    let least = timer.saturating_sub(Duration::from_millis(500));
    let most = timer + lateness();
    assert!(
        (least..=most).contains(&borne),
        "{what} was borne for {borne:?}, its time is {timer:?}"
    );
}

/// So many peers of each way at once; the longest that any was borne beyond its time.
async fn all_at_once(ports: &Ports, each: u64) {
    let mut peers = JoinSet::new();
    for way in WAYS {
        for _ in 0..each {
            let ports = ports.clone();
            peers.spawn(async move {
                let io = ports.connect(way.place).await;
                (way, borne(io, way).await)
            });
        }
    }
    let mut late = Duration::ZERO;
    while let Some(done) = peers.join_next().await {
        let (way, borne) = done.unwrap();
        check(way.name, way.timer, borne);
        late = late.max(borne.saturating_sub(way.timer));
    }
    let count = each * WAYS.len() as u64;
    figure::tell(&format!(
        "b7 {count} slow peers at once, the latest {late:?} after its time"
    ));
}

/// Peers that ask for more than they will ever read. They do not hear that it is over, but the kernel knows.
async fn deaf(ports: &Ports, place: Place, count: u64) {
    let mut peers = JoinSet::new();
    for _ in 0..count {
        let ports = ports.clone();
        peers.spawn(async move {
            let mut io = ports.connect(place).await;
            io.write_all(&DEAF()).await.unwrap();
            io
        });
    }
    let open = peers.join_all().await;
    let server = port(ports.address(place));
    let mut borne = Vec::new();
    let mut since: BTreeMap<u16, (u64, Instant)> = BTreeMap::new();
    let mut looks = interval(Duration::from_millis(20));
    let begun = Instant::now();
    while borne.len() < open.len() {
        looks.tick().await;
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{place:?}: {borne:?}"
        );
        let now = sockets(server);
        for (peer, unsent) in &now {
            let (before, since) = since.entry(*peer).or_insert((*unsent, Instant::now()));
            if before != unsent {
                (*before, *since) = (*unsent, Instant::now());
            }
        }
        let gone = since.extract_if(.., |peer, (unsent, _)| {
            *unsent > 0 && !now.contains_key(peer)
        });
        borne.extend(gone.map(|(_, (_, since))| since.elapsed()));
    }
    figure::tell(&format!(
        "b7 those that never read on {place:?} are let go: {}",
        figure::spread(&borne)
    ));
    for borne in borne {
        check("one that never reads", place.progress(), borne);
    }
    drop(open);
}

fn port(address: &str) -> u16 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Established connections to that port of the loopback network, by their peer's port: bytes that the peer has not taken (proc(5)).
fn sockets(server: u16) -> BTreeMap<u16, u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    let socket = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, peer) = (port(fields.next()?)?, port(fields.next()?)?);
        let is_open = fields.next()? == "01";
        let (unsent, _) = fields.next()?.split_once(':')?;
        let unsent = u64::from_str_radix(unsent, 16).ok()?;
        (local == server && is_open).then_some((peer, unsent))
    };
    table.lines().filter_map(socket).collect()
}

/// B7. So many at once in all: `OUTRIGGER_SLOW_PEERS`, a full run 1,000 with `OUTRIGGER_SLOW_LATE_MILLIS=1000`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_slow_peers_are_let_go_at_their_time_and_good_calls_do_not_notice() {
    let _alone = alone().await;
    let peers = settings::number("OUTRIGGER_SLOW_PEERS", 200);
    let folder = tempfile::tempdir().unwrap();
    let files = Files::issue(folder.path());
    Mesh::builder()
        .service(Service::new("orders").protocol("http2").edge_tls(&files))
        .client("web")
        .settings(SETTINGS)
        .run(async |mesh| {
            let (orders, web) = (mesh.sidecar("orders"), mesh.client_sidecar("web"));
            let ports = Ports::of(mesh).await;
            neighbour_is_served(&ports.edge).await;
            let before = [orders, web].map(|sidecar| Footprint::of(sidecar.pid()));
            let good = Good::start(&mesh.client("web"));
            all_at_once(&ports, peers.div_ceil(WAYS.len() as u64)).await;
            let each = peers.div_ceil(4);
            deaf(&ports, Place::Edge, each).await;
            deaf(&ports, Place::EdgeInTls, each).await;
            deaf(&ports, Place::MeshInTls, each).await;
            deaf(&ports, Place::Outbound, each).await;
            let took = good.stop("slow peers").await;
            figure::tell(&format!(
                "b7 good calls meanwhile: {}",
                figure::spread(&took)
            ));
            neighbour_is_served(&ports.edge).await;
            for (sidecar, before) in [orders, web].into_iter().zip(before) {
                comes_back(sidecar, before).await;
            }
            for (sidecar, scope, limit) in [
                (orders, "edge", "preface"),
                (orders, "edge", "header_block"),
                (orders, "edge", "request_body"),
                (orders, "edge", "stream_progress"),
                (orders, "mesh", "preface"),
                (orders, "mesh", "header_block"),
                (orders, "mesh", "stream_progress"),
                (web, "app_out", "preface"),
                (web, "app_out", "header_block"),
                (web, "app_out", "stream_progress"),
            ] {
                assert!(hits(sidecar, scope, limit).await > 0.0, "{scope} {limit}");
            }
        })
        .await;
}

async fn comes_back(sidecar: &Sidecar, before: Footprint) {
    eventually("memory and descriptors come back", async || {
        let now = Footprint::of(sidecar.pid());
        let most = before.resident + before.resident / 10 + 16 * MIB;
        let is_back = now.resident <= most && now.descriptors <= before.descriptors + 4;
        holds(is_back, format!("{now:?}, {before:?} before"))
    })
    .await;
}
