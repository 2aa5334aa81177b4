//! The h2 crate by itself: what it sends is the same for every call.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Caller, MESSAGES, Work};
use crate::pair::SERVICE;

#[derive(Clone)]
pub(super) struct Raw {
    sender: SendRequest<Bytes>,
    work: Work,
    message: Bytes,
}

impl Raw {
    /// The connection lives as long as the second part.
    pub(super) async fn connect(
        address: SocketAddr,
        in_flight: usize,
        work: Work,
    ) -> anyhow::Result<(Self, JoinSet<()>)> {
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
        let message = work.message();
        let raw = Self {
            sender,
            work,
            message,
        };
        Ok((raw, driver))
    }

    fn request(&self) -> anyhow::Result<Request<()>> {
        let request = Request::builder()
            .method("POST")
            .uri(format!("http://{SERVICE}{}", self.work.path()))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = match self.work.messages {
            1 => request,
            messages => request.header(MESSAGES, messages),
        };
        Ok(request.body(())?)
    }

    /// A large message goes out as its window lets it.
    async fn send(&self, mut stream: h2::SendStream<Bytes>) -> anyhow::Result<()> {
        let mut rest = self.message.clone();
        while !rest.is_empty() {
            stream.reserve_capacity(rest.len());
            let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
            let granted = granted.context("the stream ended")??;
            let part = rest.split_to(granted.min(rest.len()));
            stream.send_data(part, rest.is_empty())?;
        }
        Ok(())
    }
}

impl Caller for Raw {
    async fn call(&mut self, _number: u64) -> anyhow::Result<()> {
        let expected = self.message.len() * self.work.messages as usize;
        let sender = self.sender.clone();
        self.sender = sender.ready().await?;
        let (response, stream) = self.sender.send_request(self.request()?, false)?;
        let (sent, response) = tokio::join!(self.send(stream), response);
        sent?;
        let response = response?;
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
}
