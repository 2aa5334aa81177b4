//! The application behind a sidecar, whose misbehaviour is a verb.
//!
//! It speaks gRPC on the h2 crate by hand, so that it can answer what a library never would: refuse a stream, die after it has
//! executed, answer in one frame of trailers. What a call does is decided by the last part of its path (see `answer`), so a test
//! may call it by the path of any contract; every other method echoes its message.

mod answer;
pub mod mirror;
mod relay;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How many request heads an application remembers.
const REMEMBERED: usize = 1024;

/// Where somebody listens.
#[derive(Debug, Clone)]
pub enum Address {
    Tcp(std::net::SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// Reads `unix:/path` or `127.0.0.1:80`.
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(PathBuf::from(path)),
            None => Self::Tcp(
                text.parse()
                    .unwrap_or_else(|_| panic!("{text:?} is no address")),
            ),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// How a call of `Watch` ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Its `x-test-code`.
    pub id: u32,
    /// Of the reset; `None` if the connection was lost.
    pub code: Option<u32>,
    pub at: Instant,
}

/// A running application.
#[derive(Debug)]
pub struct Upstream {
    shared: Arc<Shared>,
    address: Address,
    _stop: DropGuard,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    handled: AtomicU64,
    refuse: AtomicU64,
    unavailable: AtomicU64,
    die: AtomicU64,
    hanging: watch::Sender<bool>,
    seen: Mutex<VecDeque<Parts>>,
    ended: Mutex<Vec<End>>,
}

impl Upstream {
    /// Serves on a loopback port nobody chose.
    pub async fn tcp(name: &str) -> Self {
        Self::tcp_at(name, "127.0.0.1:0").await
    }

    /// Serves on a TCP port that somebody chose.
    pub async fn tcp_at(name: &str, address: &str) -> Self {
        let listener = Arc::new(TcpListener::bind(address).await.unwrap());
        let address = Address::Tcp(listener.local_addr().unwrap());
        Self::start(name, address, move || {
            let listener = listener.clone();
            async move {
                let (stream, _) = listener.accept().await?;
                // As every server of gRPC does.
                stream.set_nodelay(true)?;
                Ok(stream)
            }
        })
    }

    /// Serves on a Unix socket.
    pub fn unix(name: &str, path: &Path) -> Self {
        let listener = Arc::new(UnixListener::bind(path).unwrap());
        let address = Address::Unix(path.to_owned());
        Self::start(name, address, move || {
            let listener = listener.clone();
            async move { listener.accept().await.map(|(stream, _)| stream) }
        })
    }

    fn start<I, R>(
        name: &str,
        address: Address,
        mut accept: impl FnMut() -> R + Send + 'static,
    ) -> Self
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        R: Future<Output = std::io::Result<I>> + Send,
    {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            handled: AtomicU64::new(0),
            refuse: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
            die: AtomicU64::new(0),
            hanging: watch::Sender::new(false),
            seen: Mutex::default(),
            ended: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (application, stopped) = (shared.clone(), stop.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    () = stopped.cancelled() => return,
                    Some(_) = connections.join_next() => {}
                    accepted = accept() => match accepted {
                        Ok(stream) => {
                            connections.spawn(serve(stream, application.clone(), stopped.clone()));
                        }
                        Err(_) => return,
                    },
                }
            }
        });
        Self {
            shared,
            address,
            _stop: stop.drop_guard(),
            _tasks: tasks,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How many calls it executed; refused ones are not among them.
    pub fn handled(&self) -> u64 {
        self.shared.handled.load(Ordering::SeqCst)
    }

    /// The heads of the calls that arrived, refused ones too, oldest first.
    pub fn requests(&self) -> Vec<Parts> {
        self.shared.seen.lock().unwrap().iter().cloned().collect()
    }

    /// The calls of `Watch` that were let go of, in that order.
    pub fn ended(&self) -> Vec<End> {
        self.shared.ended.lock().unwrap().clone()
    }

    /// The next calls are reset with `REFUSED_STREAM` before anything is executed.
    pub fn refuse_next(&self, calls: u64) {
        self.shared.refuse.store(calls, Ordering::SeqCst);
    }

    /// The next calls are executed and answered UNAVAILABLE.
    pub fn unavailable_next(&self, calls: u64) {
        self.shared.unavailable.store(calls, Ordering::SeqCst);
    }

    /// The next calls are executed; then their connection is gone, without an answer.
    pub fn die_next(&self, calls: u64) {
        self.shared.die.store(calls, Ordering::SeqCst);
    }

    /// Calls are executed but not answered, until `resume`.
    pub fn hang(&self) {
        self.shared.hanging.send_replace(true);
    }

    /// Answers what hangs.
    pub fn resume(&self) {
        self.shared.hanging.send_replace(false);
    }
}

impl Shared {
    fn take(counter: &AtomicU64) -> bool {
        counter
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok()
    }

    fn remember(&self, head: Parts) {
        let mut seen = self.seen.lock().unwrap();
        if seen.len() == REMEMBERED {
            seen.pop_front();
        }
        seen.push_back(head);
    }
}

async fn serve<I>(stream: I, shared: Arc<Shared>, stopped: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = h2::server::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 24)
        .max_concurrent_streams(10_000)
        // An application that leaves small frames unread keeps its connection.
        .data_frame_budget(usize::MAX / 2)
        .max_pending_accept_reset_streams(10_000)
        .handshake::<_, Bytes>(stream);
    let Ok(mut connection) = handshake.await else {
        return;
    };
    // A call that is to die takes its whole connection with it, as the end of a process does.
    let dead = stopped.child_token();
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            () = dead.cancelled() => return,
            Some(_) = calls.join_next() => {}
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    calls.spawn(answer::answer(shared.clone(), request, respond, dead.clone()));
                }
                _ => return,
            },
        }
    }
}
