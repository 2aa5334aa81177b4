//! Peers that do nothing but harm, as fast as the loopback lets them, all of them on one core: what they cost others is then what the
//! sidecar makes of them, not the processor time that they take away themselves.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::raw::{frame, kind};

/// One who is not cut off is left alone after this long.
const MOST: Duration = Duration::from_secs(10);
/// A peer that is to close has time for it.
const CLOSING: Duration = Duration::from_secs(3);

/// Between two volleys of one who does not read.
const DEAF_PAUSE: Duration = Duration::from_millis(50);

/// A family of attacks.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    pub name: &'static str,
    /// What follows the preface and a first SETTINGS.
    pub opening: fn() -> Vec<u8>,
    /// What is sent again and again, by its number.
    pub volley: fn(u32) -> Vec<u8>,
    pub manner: Manner,
}

/// How it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Without a pause.
    Flood,
    /// With one between two volleys.
    Paced(Duration),
    /// One volley a connection, which the attacker then drops.
    HangUp,
    /// A few volleys, and nothing is ever read.
    Deaf,
}

/// What became of the attackers.
#[derive(Debug, Default)]
pub struct Tally {
    pub connections: u64,
    pub frames: u64,
    pub bytes: u64,
    /// How the peer ended connections: GOAWAY's text, `(closed)` without one.
    pub ended: BTreeMap<String, u64>,
    /// The longest that one lived which the peer ended.
    pub longest: Duration,
    /// Attackers whose connections the peer never ended.
    pub tolerated: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.frames += other.frames;
        self.bytes += other.bytes;
        for (how, count) in other.ended {
            *self.ended.entry(how).or_default() += count;
        }
        self.longest = self.longest.max(other.longest);
        self.tolerated += other.tolerated;
    }
}

/// So many attackers at that address, for `lasts`; those that the peer has not ended by then go on for a while if `until_ended`.
pub async fn attack(
    attack: Attack,
    address: &str,
    count: u32,
    lasts: Duration,
    until_ended: bool,
) -> Tally {
    let address = address.to_owned();
    let (report, reported) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || {
        pin();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let tally = runtime.block_on(async {
            let mut attackers = JoinSet::new();
            for _ in 0..count {
                let attacker = Attacker {
                    attack,
                    lasts,
                    until_ended,
                    begun: Instant::now(),
                    tally: Tally::default(),
                };
                attackers.spawn(attacker.run(address.clone()));
            }
            let mut tally = Tally::default();
            while let Some(one) = attackers.join_next().await {
                tally.add(one.unwrap());
            }
            tally
        });
        let _ = report.send(tally);
    });
    let tally = reported.await.expect("the attackers' thread lives");
    thread.join().expect("the attackers' thread ends");
    tally
}

/// The last core that we may use, for this thread.
pub(crate) fn pin() {
    let allowed = sched_getaffinity(None).unwrap();
    let last = (0..CpuSet::MAX_CPU).rfind(|cpu| allowed.is_set(*cpu));
    let mut only = CpuSet::new();
    only.set(last.expect("a core"));
    sched_setaffinity(None, &only).unwrap();
}

struct Attacker {
    attack: Attack,
    lasts: Duration,
    until_ended: bool,
    begun: Instant,
    tally: Tally,
}

impl Attacker {
    fn is_over(&self) -> bool {
        let time = self.begun.elapsed();
        let has_what_it_wants = !self.until_ended || !self.tally.ended.is_empty();
        time >= MOST.max(self.lasts) || (time >= self.lasts && has_what_it_wants)
    }

    async fn run(mut self, address: String) -> Tally {
        while !self.is_over() {
            // A peer that has enough of us may not listen for a moment.
            let Ok(stream) = TcpStream::connect(&address).await else {
                tokio::task::yield_now().await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            self.tally.connections += 1;
            let opened = Instant::now();
            let (read, write) = stream.into_split();
            if self.attack.manner == Manner::Deaf {
                self.send(write).await;
                drop(read);
                continue;
            }
            let mut reading = pin!(farewell(read));
            let said = tokio::select! {
                said = &mut reading => Some(said),
                cut_off = self.send(write) => match cut_off {
                    true => timeout(CLOSING, &mut reading).await.ok(),
                    false => None,
                },
            };
            if let Some(said) = said {
                *self.tally.ended.entry(said).or_default() += 1;
                self.tally.longest = self.tally.longest.max(opened.elapsed());
            }
        }
        self.tally.tolerated = u64::from(self.tally.ended.is_empty());
        self.tally
    }

    /// True if the peer takes no more, false once the attacker itself has enough.
    async fn send(&mut self, mut write: OwnedWriteHalf) -> bool {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(kind::SETTINGS, 0, 0, &[]));
        bytes.extend((self.attack.opening)());
        let mut pause = interval(match self.attack.manner {
            Manner::Paced(pause) => pause,
            _ => DEAF_PAUSE,
        });
        for number in 0.. {
            bytes.extend((self.attack.volley)(number));
            match self.write(&mut write, &bytes).await {
                Some(true) => {}
                Some(false) => return true,
                None => return false,
            }
            self.tally.bytes += bytes.len() as u64;
            self.tally.frames += frames(&bytes);
            bytes.clear();
            if self.is_over() || self.attack.manner == Manner::HangUp {
                break;
            }
            match self.attack.manner {
                Manner::Paced(_) | Manner::Deaf => {
                    pause.tick().await;
                }
                Manner::Flood | Manner::HangUp => tokio::task::yield_now().await,
            }
        }
        false
    }

    /// Whether it was taken; `None` if the attack was over before.
    async fn write(&self, write: &mut OwnedWriteHalf, bytes: &[u8]) -> Option<bool> {
        let mut writing = pin!(write.write_all(bytes));
        loop {
            // A peer that reads no more holds us up here.
            match timeout(DEAF_PAUSE, &mut writing).await {
                Ok(written) => return Some(written.is_ok()),
                Err(_) if self.is_over() => return None,
                Err(_) => {}
            }
        }
    }
}

fn frames(mut bytes: &[u8]) -> u64 {
    let mut count = 0;
    while let Some(([a, b, c, ..], behind)) = bytes.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        count += 1;
        bytes = behind.get(length..).unwrap_or_default();
    }
    count
}

/// Reads to the end; what GOAWAY said.
async fn farewell(mut read: OwnedReadHalf) -> String {
    let mut said = "(closed)".to_owned();
    let mut unread = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match read.read(&mut buffer).await {
            Ok(0) | Err(_) => return said,
            Ok(count) => unread.extend_from_slice(&buffer[..count]),
        }
        let mut from = 0;
        while let Some((head, behind)) = unread[from..].split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = behind.get(..length) else {
                break;
            };
            if head[3] == kind::GOAWAY {
                said = String::from_utf8_lossy(payload.get(8..).unwrap_or_default()).into_owned();
            }
            from += 9 + length;
        }
        unread.drain(..from);
    }
}

/// A server that reads and throws away: what attackers cost by themselves.
#[derive(Debug)]
pub struct Sink {
    pub address: String,
    _tasks: JoinSet<()>,
}

impl Sink {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                open.spawn(async move {
                    let mut buffer = vec![0; 64 << 10];
                    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
                });
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}
