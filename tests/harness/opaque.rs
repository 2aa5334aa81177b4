//! An application that speaks no HTTP, in clear over TCP, a client of one, and a sidecar that is not ours in front of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::mesh::Service;
use crate::sidecar::Sidecar;
use crate::tls::Identity;

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What it does with a connection.
#[derive(Debug, Clone)]
pub enum Script {
    /// Gives back what comes, as it comes.
    Echo,
    /// Says this first, and then the same.
    Greets(&'static str),
    /// Takes everything to its end, then tells how many bytes they were.
    Counts,
    /// Takes nothing.
    Deaf,
}

/// A running application.
#[derive(Debug)]
pub struct Application {
    address: String,
    received: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

/// A connection to one, through a sidecar.
#[derive(Debug)]
pub struct Connection(TcpStream);

/// A sidecar that gives back what comes, and agrees on no protocol, as a Consul Envoy in front of a tcp service.
#[derive(Debug)]
pub struct Nameless {
    pub address: std::net::SocketAddr,
    _tasks: JoinSet<()>,
}

impl Application {
    /// Listens on a port nobody chose.
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let received: Arc<AtomicU64> = Arc::default();
        let counted = received.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Some(_) = connections.join_next() => {}
                    Ok((stream, _)) = listener.accept() => {
                        connections.spawn(serve(stream, script.clone(), counted.clone()));
                    }
                }
            }
        });
        Self {
            address,
            received,
            _tasks: tasks,
        }
    }

    /// A service with this application alone behind it.
    pub fn service(&self, name: &str) -> Service {
        Service::new(name)
            .protocol("tcp")
            .application(&self.address)
    }

    /// Bytes of all connections so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }
}

/// An error is the connection's end.
async fn serve(mut stream: TcpStream, script: Script, received: Arc<AtomicU64>) {
    if let Script::Greets(greeting) = script
        && stream.write_all(greeting.as_bytes()).await.is_err()
    {
        return;
    }
    if let Script::Deaf = script {
        return std::future::pending().await;
    }
    let mut total = 0;
    let mut piece = vec![0; 16 << 10];
    while let Ok(count) = stream.read(&mut piece).await {
        received.fetch_add(count as u64, Ordering::SeqCst);
        total += count;
        let answer = match (&script, count) {
            (Script::Counts, 0) => total.to_string().into_bytes(),
            (Script::Counts, _) => Vec::new(),
            _ => piece[..count].to_vec(),
        };
        if stream.write_all(&answer).await.is_err() || count == 0 {
            return;
        }
    }
}

impl Connection {
    /// Connects to an upstream's own port.
    pub async fn open(sidecar: &Sidecar, upstream: &str) -> Self {
        Self::to(&sidecar.addresses.upstreams[upstream]).await
    }

    /// Connects to anybody.
    pub async fn to(address: &str) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// What comes of saying this and no more; `None` if the connection broke, which it may before it is known to be open.
    pub async fn ask(sidecar: &Sidecar, upstream: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        let address = &sidecar.addresses.upstreams[upstream];
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(bytes).await.ok()?;
        stream.shutdown().await.ok()?;
        Self(stream).rest().await
    }

    pub async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Says more and more, until nobody is there to be told.
    pub async fn floods(&mut self) {
        let piece = vec![7; 64 << 10];
        let flood = async { while self.0.write_all(&piece).await.is_ok() {} };
        timeout(PATIENCE, flood).await.unwrap();
    }

    /// Says no more.
    pub async fn end(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    /// The next bytes, so many of them.
    pub async fn hear(&mut self, count: usize) -> Vec<u8> {
        let mut heard = vec![0; count];
        let hearing = self.0.read_exact(&mut heard);
        timeout(PATIENCE, hearing).await.unwrap().unwrap();
        heard
    }

    /// Says it and hears the same.
    pub async fn echoes(&mut self, bytes: &[u8]) {
        self.say(bytes).await;
        assert_eq!(self.hear(bytes.len()).await, bytes);
    }

    /// Everything until the other side ends; `None` if it did not end but break.
    pub async fn rest(&mut self) -> Option<Vec<u8>> {
        let mut heard = Vec::new();
        let hearing = self.0.read_to_end(&mut heard);
        let ended = timeout(PATIENCE, hearing).await.unwrap();
        ended.ok().map(|_| heard)
    }

    /// Says and hears at the same time, to the end of both.
    pub async fn exchange(self, bytes: &[u8]) -> Vec<u8> {
        let (mut from, mut to) = self.0.into_split();
        let saying = async {
            to.write_all(bytes).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let ((), read) = tokio::join!(saying, from.read_to_end(&mut heard));
        read.unwrap();
        heard
    }
}

impl Nameless {
    pub async fn start(identity: Identity) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                open.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let (mut from, mut to) = tokio::io::split(stream);
                    let _: std::io::Result<u64> = tokio::io::copy(&mut from, &mut to).await;
                    let _: std::io::Result<()> = to.shutdown().await;
                });
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}
