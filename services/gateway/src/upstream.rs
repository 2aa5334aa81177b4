//! Calls into the mesh. The gateway knows messages as bytes here: it dials its sidecar's outbound side and names the
//! service; which instance, mTLS, retries and breakers are the sidecar's.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::HeaderMap;
use http::uri::PathAndQuery;
use shop_chassis::client::{BadName, Outbound, Peer};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Status};

/// One connection to the sidecar a service.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams(HashMap<String, Peer>);

/// What is called, and its bounds.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
    pub(crate) timeout: Duration,
    /// Bytes of the answer.
    pub(crate) largest: usize,
}

/// A service's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) metadata: HeaderMap,
    pub(crate) message: Bytes,
}

impl Upstreams {
    pub(crate) fn new(outbound: &Outbound, services: BTreeSet<String>) -> Result<Self, BadName> {
        let peers = services.into_iter().map(|name| {
            let peer = outbound.peer(&name)?;
            Ok((name, peer))
        });
        Ok(Self(peers.collect::<Result<_, BadName>>()?))
    }

    /// Whom to call for a service; `None` for one that no method goes to.
    pub(crate) fn peer(&self, authority: &str) -> Option<Peer> {
        self.0.get(authority).cloned()
    }

    /// One request, one answer.
    pub(crate) async fn unary(
        &self,
        call: &Call<'_>,
        metadata: HeaderMap,
        message: Bytes,
    ) -> Result<Answer, Status> {
        let peer = self
            .peer(call.authority)
            .ok_or_else(|| Status::unimplemented("no such service"))?;
        let path = PathAndQuery::try_from(call.path)
            .map_err(|error| Status::internal(error.to_string()))?;
        let mut client = Grpc::new(peer).max_decoding_message_size(call.largest);
        client
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let metadata = MetadataMap::from_headers(metadata);
        let mut request = Request::from_parts(metadata, Extensions::default(), message);
        request.set_timeout(call.timeout);
        let answer = tokio::time::timeout(call.timeout, client.unary(request, path, AsBytes)).await;
        let answer = answer.unwrap_or_else(|_| Err(too_late()))?;
        let (metadata, message, _) = answer.into_parts();
        Ok(Answer {
            metadata: metadata.into_headers(),
            message,
        })
    }
}

fn too_late() -> Status {
    Status::deadline_exceeded("the request was not answered in time")
}

/// Messages pass as they are.
#[derive(Debug, Clone, Copy)]
struct AsBytes;

impl Codec for AsBytes {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Decoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = source.remaining();
        Ok(Some(source.copy_to_bytes(length)))
    }
}
