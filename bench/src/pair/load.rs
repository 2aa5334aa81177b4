//! So many calls in flight on one connection, for so long.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use hdrhistogram::Histogram;
use http::Request;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{METHOD, SERVICE};

/// What a run measured; latency in microseconds.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) calls: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latency: Histogram<u64>,
}

/// Every call must succeed: a proxy that fails calls is not faster.
pub(crate) async fn run(
    address: SocketAddr,
    in_flight: usize,
    size: usize,
    duration: Duration,
) -> anyhow::Result<Measured> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 24)
        .initial_max_send_streams(in_flight)
        .handshake::<_, Bytes>(stream)
        .await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move { drop(connection.await) });

    let message = message(size);
    let begun = Instant::now();
    let end = begun + duration;
    let mut callers = JoinSet::new();
    for _ in 0..in_flight {
        callers.spawn(caller(sender.clone(), message.clone(), end));
    }
    let mut latency = Histogram::new(3)?;
    while let Some(caller) = callers.join_next().await {
        latency.add(caller??)?;
    }
    Ok(Measured {
        calls: latency.len(),
        elapsed: begun.elapsed(),
        latency,
    })
}

fn message(size: usize) -> Bytes {
    let mut framed = BytesMut::with_capacity(size + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(size).expect("a small message"));
    framed.put_bytes(b'x', size);
    framed.freeze()
}

async fn caller(
    mut sender: SendRequest<Bytes>,
    message: Bytes,
    end: Instant,
) -> anyhow::Result<Histogram<u64>> {
    let mut latency = Histogram::new(3)?;
    while Instant::now() < end {
        let begun = Instant::now();
        sender = sender.ready().await?;
        call(&mut sender, message.clone()).await?;
        latency.record(u64::try_from(begun.elapsed().as_micros())?)?;
    }
    Ok(latency)
}

async fn call(sender: &mut SendRequest<Bytes>, message: Bytes) -> anyhow::Result<()> {
    let expected = message.len();
    let request = Request::builder()
        .method("POST")
        .uri(format!("http://{SERVICE}{METHOD}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (response, mut stream) = sender.send_request(request, false)?;
    stream.send_data(message, true)?;
    let response = response.await?;
    let headers = response.headers().clone();
    let mut body = response.into_body();
    let mut received = 0;
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        received += piece.len();
    }
    // Trailers-Only: the status stands among the headers.
    let end = body.trailers().await?.unwrap_or(headers);
    let status = end.get("grpc-status").context("no grpc-status")?;
    ensure!(status == "0", "the call failed: {end:?}");
    ensure!(received == expected, "{received} bytes of {expected}");
    Ok(())
}
