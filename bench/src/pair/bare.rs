//! A pair of forwarders on the h2 crate with mutual TLS between them and no feature at all: no statistics, no choice, no retry. What a
//! hop costs there is the least that crate can do it for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificates;
use super::process::Process;
use super::topology::Topology;

/// One forwarder; started by `pair`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to forward to
    #[arg(long)]
    next: SocketAddr,
    /// The folder with the certificates
    #[arg(long)]
    folder: PathBuf,
    /// Which side of the TLS connection
    #[arg(long)]
    side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Side {
    /// Accepts in clear, forwards over TLS
    Outbound,
    /// Accepts over TLS, forwards in clear
    Inbound,
}

pub(crate) async fn start(folder: &Path, application: SocketAddr) -> anyhow::Result<Topology> {
    let (inbound, between) = launch(folder, "inbound", application).await?;
    let (outbound, address) = launch(folder, "outbound", between).await?;
    Ok(Topology {
        name: "bare",
        address,
        proxies: vec![outbound, inbound],
        inbound: Some(between),
        metrics: Vec::new(),
        files: Vec::new(),
        beside: Vec::new(),
    })
}

async fn launch(
    folder: &Path,
    side: &str,
    next: SocketAddr,
) -> anyhow::Result<(Process, SocketAddr)> {
    let log = folder.join(format!("bare-{side}.log"));
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["forward", "--side", side, "--next", &next.to_string()])
        .arg("--folder")
        .arg(folder);
    let process = Process::start(&format!("bare {side}"), command, &log)?;
    let address = process
        .wait_for("its address", async || {
            Ok(std::fs::read_to_string(&log)?.trim().parse()?)
        })
        .await?;
    Ok((process, address))
}

/// The whole program of a forwarder: prints where it listens, forwards until it is killed.
pub(crate) async fn serve(args: Args) -> anyhow::Result<()> {
    use std::io::Write as _;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    let tls = Arc::new(Tls::load(&args.folder, args.side)?);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("accept")?;
                stream.set_nodelay(true)?;
                let tls = Arc::clone(&tls);
                // A connection that breaks ends its own calls, which the load counts.
                connections.spawn(async move { drop(forward(stream, args.next, &tls).await) });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

enum Tls {
    Outbound(TlsConnector),
    Inbound(TlsAcceptor),
}

impl Tls {
    fn load(folder: &Path, side: Side) -> anyhow::Result<Self> {
        let name = match side {
            Side::Outbound => certificates::CALLER.0,
            Side::Inbound => certificates::CALLEE.0,
        };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join("ca.pem"))?)?;
        let roots = Arc::new(roots);
        let chain = vec![CertificateDer::from_pem_file(
            folder.join(format!("{name}.pem")),
        )?];
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key")))?;
        let alpn = vec![b"h2".to_vec()];
        Ok(match side {
            Side::Outbound => {
                let mut config = ClientConfig::builder()
                    .with_root_certificates(roots)
                    .with_client_auth_cert(chain, key)?;
                config.alpn_protocols = alpn;
                Self::Outbound(Arc::new(config).into())
            }
            Side::Inbound => {
                let verifier = rustls::server::WebPkiClientVerifier::builder(roots).build()?;
                let mut config = ServerConfig::builder()
                    .with_client_cert_verifier(verifier)
                    .with_single_cert(chain, key)?;
                config.alpn_protocols = alpn;
                Self::Inbound(Arc::new(config).into())
            }
        })
    }
}

async fn forward(stream: TcpStream, next: SocketAddr, tls: &Tls) -> anyhow::Result<()> {
    let onwards = TcpStream::connect(next).await?;
    onwards.set_nodelay(true)?;
    match tls {
        Tls::Outbound(connector) => {
            let name = ServerName::try_from(certificates::HOST)?;
            connect(stream, connector.connect(name, onwards).await?).await
        }
        Tls::Inbound(acceptor) => connect(acceptor.accept(stream).await?, onwards).await,
    }
}

/// Joins two connections: what one accepts, the other sends.
async fn connect<A, C>(accepted: A, onwards: C) -> anyhow::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, driver) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 24)
        .handshake::<_, Bytes>(onwards)
        .await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { drop(driver.await) });
    let mut connection = h2::server::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 24)
        .max_concurrent_streams(1000)
        .handshake::<_, Bytes>(accepted)
        .await?;
    loop {
        tokio::select! {
            call = connection.accept() => {
                let Some(call) = call else { return Ok(()) };
                let (request, respond) = call?;
                let sender = sender.clone();
                tasks.spawn(async move { drop(call_onwards(request, respond, sender).await) });
            }
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn call_onwards(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    sender: SendRequest<Bytes>,
) -> anyhow::Result<()> {
    let (head, body) = request.into_parts();
    let mut onwards = Request::new(());
    *onwards.method_mut() = head.method;
    *onwards.uri_mut() = head.uri;
    *onwards.headers_mut() = head.headers;
    let mut sender = sender.ready().await?;
    let is_ended = body.is_end_stream();
    let (response, sink) = sender.send_request(onwards, is_ended)?;
    let upload = async {
        match is_ended {
            true => Ok(()),
            false => pump(body, sink).await,
        }
    };
    let download = async {
        let (head, body) = response.await?.into_parts();
        let mut back = Response::new(());
        *back.status_mut() = head.status;
        *back.headers_mut() = head.headers;
        let is_ended = body.is_end_stream();
        let sink = respond.send_response(back, is_ended)?;
        match is_ended {
            true => Ok(()),
            false => pump(body, sink).await,
        }
    };
    tokio::try_join!(upload, download)?;
    Ok(())
}

async fn pump(mut source: RecvStream, mut sink: SendStream<Bytes>) -> anyhow::Result<()> {
    while let Some(piece) = source.data().await {
        let piece = piece?;
        source.flow_control().release_capacity(piece.len())?;
        let is_last = source.is_end_stream();
        send(&mut sink, piece, is_last).await?;
        if is_last {
            return Ok(());
        }
    }
    match source.trailers().await? {
        Some(trailers) => sink.send_trailers(trailers)?,
        None => sink.send_data(Bytes::new(), true)?,
    }
    Ok(())
}

async fn send(sink: &mut SendStream<Bytes>, mut piece: Bytes, is_last: bool) -> anyhow::Result<()> {
    while !piece.is_empty() {
        sink.reserve_capacity(piece.len());
        let granted = std::future::poll_fn(|cx| sink.poll_capacity(cx)).await;
        let granted = granted.context("the stream ended")??;
        let part = piece.split_to(granted.min(piece.len()));
        let is_end = is_last && piece.is_empty();
        sink.send_data(part, is_end)?;
        if is_end {
            return Ok(());
        }
    }
    if is_last {
        sink.send_data(piece, true)?;
    }
    Ok(())
}
