//! A real client: tonic, with metadata that no two calls share, as tracing and deadlines make them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::{Caller, MESSAGES, Work};
use crate::pair::SERVICE;

#[derive(Clone)]
pub(super) struct Tonic {
    client: Grpc<Channel>,
    work: Work,
    message: Bytes,
}

impl Tonic {
    pub(super) async fn connect(address: SocketAddr, work: Work) -> anyhow::Result<Self> {
        let origin = format!("http://{SERVICE}").parse()?;
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .origin(origin)
            .tcp_nodelay(true)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(1 << 24)
            .connect()
            .await?;
        let message = Bytes::from(vec![b'x'; work.size]);
        let client = Grpc::new(channel).max_decoding_message_size(usize::MAX);
        Ok(Self {
            client,
            work,
            message,
        })
    }

    fn request(&self, number: u64) -> anyhow::Result<Request<Bytes>> {
        let mut request = Request::new(self.message.clone());
        let trace = format!("00-{number:032x}-{:016x}-00", number | 1 << 63);
        let metadata = request.metadata_mut();
        metadata.insert("traceparent", trace.parse()?);
        metadata.insert(MESSAGES, self.work.messages.into());
        request.set_timeout(Duration::from_micros(30_000_000 + number % 1_000_000));
        Ok(request)
    }
}

impl Caller for Tonic {
    async fn call(&mut self, number: u64) -> anyhow::Result<()> {
        self.client.ready().await?;
        // A trace id of zeroes is none.
        let request = self.request(number + 1)?;
        let path = PathAndQuery::from_static(self.work.path());
        let answer = self.client.server_streaming(request, path, Opaque).await?;
        let mut messages = answer.into_inner();
        let mut received = 0;
        while let Some(message) = messages.message().await? {
            ensure!(
                message.len() == self.work.size,
                "a message of {} bytes",
                message.len()
            );
            received += 1;
        }
        ensure!(received == self.work.messages, "{received} messages");
        Ok(())
    }
}

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
struct Opaque;

impl Codec for Opaque {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Opaque {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(message);
        Ok(())
    }
}

impl Decoder for Opaque {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
