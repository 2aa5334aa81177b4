//! The application: echoes a message, on the h2 crate, in a process of its own.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::load::MESSAGES;
use super::process::Process;

/// A running application.
#[derive(Debug)]
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

/// Starts this program again as the application.
pub(crate) async fn start(folder: &Path) -> anyhow::Result<Application> {
    let log = folder.join("application.log");
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve");
    let process = Process::start("application", command, &log)?;
    let address = process
        .wait_for("its address", async || {
            Ok(std::fs::read_to_string(&log)?.trim().parse()?)
        })
        .await?;
    Ok(Application { address, process })
}

/// The whole program of the application: prints where it listens, serves until it is killed.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("accept")?;
                stream.set_nodelay(true)?;
                // A connection that breaks ends its own calls, which the load counts.
                connections.spawn(async move { drop(connection(stream).await) });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream) -> Result<(), h2::Error> {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 24)
        .max_concurrent_streams(1000)
        .handshake(stream)
        .await?;
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(call) => {
                    let (request, respond) = call?;
                    calls.spawn(async move { drop(answer(request, respond).await) });
                }
                None => return Ok(()),
            },
            Some(_) = calls.join_next() => {}
        }
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let health = request.uri().path() == "/grpc.health.v1.Health/Check";
    let messages = request.headers().get(MESSAGES);
    let messages = messages.and_then(|count| count.to_str().ok()?.parse().ok());
    let mut body = request.into_body();
    let mut message = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        message.extend_from_slice(&piece);
    }
    if health {
        // HealthCheckResponse{status: SERVING}
        message = BytesMut::from(&[0, 0, 0, 0, 2, 8, 1][..]);
    }
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .expect("a constant response");
    let mut stream = respond.send_response(response, false)?;
    let message = message.freeze();
    for _ in 0..messages.unwrap_or(1) {
        send(&mut stream, message.clone()).await?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}

/// As the window lets it.
async fn send(stream: &mut SendStream<Bytes>, mut rest: Bytes) -> Result<(), h2::Error> {
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(granted) => {
                let part = rest.split_to(granted?.min(rest.len()));
                stream.send_data(part, false)?;
            }
            // The caller went away, which the end of the stream will say.
            None => return Ok(()),
        }
    }
    Ok(())
}
