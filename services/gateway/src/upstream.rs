//! Calls into the mesh. The gateway knows messages as bytes here: it dials its sidecar's outbound side and names the
//! service; which instance, mTLS, retries and breakers are the sidecar's.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::HeaderMap;
use http::uri::PathAndQuery;
use shop_chassis::Failure;
use shop_chassis::client::{BadName, Outbound, Peer};
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request, Status};
use tower::{Service, ServiceExt as _};

use crate::bounded::{Bounded, Excess};
use crate::limit::{Hits, Limit};

/// Of what is left, this much is kept for the answer's way back.
const WAY_BACK: Duration = Duration::from_millis(10);

/// One connection to the sidecar a service.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams {
    peers: HashMap<String, Peer>,
    hits: Arc<Hits>,
}

/// What is called, and its bounds.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
    pub(crate) deadline: Instant,
    /// Bytes of the answer.
    pub(crate) largest: usize,
    /// What a larger answer counts as.
    pub(crate) limit: Limit,
}

/// A service's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) metadata: HeaderMap,
    pub(crate) message: Bytes,
}

impl Upstreams {
    pub(crate) fn new(
        outbound: &Outbound,
        services: BTreeSet<String>,
        hits: &Arc<Hits>,
    ) -> Result<Self, BadName> {
        let peers = services.into_iter().map(|name| {
            let peer = outbound.peer(&name)?;
            Ok((name, peer))
        });
        Ok(Self {
            peers: peers.collect::<Result<_, BadName>>()?,
            hits: Arc::clone(hits),
        })
    }

    /// One request, one answer.
    pub(crate) async fn unary(
        &self,
        call: &Call<'_>,
        metadata: HeaderMap,
        message: Bytes,
    ) -> Result<Answer, Status> {
        let path = PathAndQuery::try_from(call.path)
            .map_err(|error| Status::internal(error.to_string()))?;
        let excess = Excess::of(call.limit, &self.hits);
        let capped = Capped {
            peer: self.peer(call.authority)?,
            largest: call.largest,
            excess: excess.clone(),
        };
        // The bound is held on the way in: the codec's own is told as the service's error.
        let mut client = Grpc::new(capped).max_decoding_message_size(usize::MAX);
        let metadata = MetadataMap::from_headers(metadata);
        let mut request = Request::from_parts(metadata, Extensions::default(), message);
        request.set_timeout(told(call.deadline));
        let answer = async {
            client.ready().await.map_err(unreachable)?;
            client.unary(request, path, AsBytes).await
        };
        let answer = timeout_at(call.deadline, answer).await;
        let answer = match answer.unwrap_or_else(|_| Err(too_late().into())) {
            Err(_) if excess.is_set() => {
                let message = format!("an answer is larger than {} bytes", call.largest);
                return Err(Status::internal(message));
            }
            answer => answer?,
        };
        let (metadata, message, _) = answer.into_parts();
        Ok(Answer {
            metadata: metadata.into_headers(),
            message,
        })
    }

    /// Any call, its body as it comes; `request` says everything but whom.
    pub(crate) async fn stream(
        &self,
        authority: &str,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, Status> {
        let peer = self.peer(authority)?.with_default_timeout(None);
        peer.oneshot(request).await.map_err(unreachable)
    }

    fn peer(&self, authority: &str) -> Result<Peer, Status> {
        let peer = self.peers.get(authority).cloned();
        peer.ok_or_else(|| Status::internal(format!("{authority} has methods and no peer")))
    }
}

/// What a service hears of the deadline.
pub(crate) fn told(deadline: Instant) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    left.saturating_sub(WAY_BACK)
}

pub(crate) fn too_late() -> Failure {
    Failure::new(
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        "the request was not answered in time",
    )
}

/// The sidecar did not answer at all; what the transport says is for the log.
fn unreachable<E: Into<Box<dyn std::error::Error + Send + Sync>>>(error: E) -> Status {
    let status = Status::from_error(error.into());
    if status.code() == Code::DeadlineExceeded {
        return too_late().into();
    }
    tracing::warn!(error = status.message(), "the sidecar cannot be reached");
    Failure::new(
        Code::Unavailable,
        "MESH_UNREACHABLE",
        "the service cannot be reached now; try again later",
    )
    .into()
}

/// A peer whose answers are bounded as they come in.
#[derive(Debug, Clone)]
struct Capped {
    peer: Peer,
    largest: usize,
    excess: Excess,
}

impl Service<http::Request<Body>> for Capped {
    type Response = http::Response<Bounded<Body>>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.peer.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (largest, excess) = (self.largest, self.excess.clone());
        let answer = self.peer.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(unreachable)?;
            // The body of an answer that is not gRPC would be read as a message; its status says enough.
            let is_grpc = answer.status() == http::StatusCode::OK;
            Ok(answer.map(|body| {
                let body = if is_grpc { body } else { Body::empty() };
                Bounded::new(body, largest, excess)
            }))
        })
    }
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
