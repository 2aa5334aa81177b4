//! Calls to peers. A service dials its own sidecar's outbound side and names
//! the peer by `:authority`; everything else (which instance, mTLS, retries,
//! breakers) is the sidecar's. The connection is made when first needed and
//! again after it broke.
//!
//! An outgoing call carries the trace, the baggage and what is left of the
//! deadline of the call being served (`Context`).

use std::error::Error;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Status, TimeoutExpired};
use tower::Service;
use tracing::Instrument as _;

use crate::Address;
use crate::context::{self, Context};
use crate::telemetry;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// For a call that has no deadline of its own and serves no call that has one.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
#[error("`{0}` cannot name a peer")]
pub struct BadName(String);

/// The sidecar's outbound side, through which every peer is reached.
#[derive(Clone, Debug)]
pub struct Outbound(Address);

/// A peer, as the generated clients take it: `StockServiceClient::new(peer)`.
#[derive(Clone, Debug)]
pub struct Peer {
    channel: Channel,
    name: String,
    timeout: Option<Duration>,
}

impl Outbound {
    pub fn new(address: Address) -> Self {
        Self(address)
    }

    /// Connects to nothing yet. Must be called within the runtime.
    pub fn peer(&self, name: &str) -> Result<Peer, BadName> {
        let endpoint = Endpoint::from_shared(format!("http://{name}"))
            .map_err(|_| BadName(name.to_owned()))?
            .connect_timeout(CONNECT_LIMIT);
        let address = self.0.clone();
        let connector = tower::service_fn(move |_: Uri| connect(address.clone()));
        Ok(Peer {
            channel: endpoint.connect_with_connector_lazy(connector),
            name: name.to_owned(),
            timeout: Some(DEFAULT_TIMEOUT),
        })
    }
}

impl Peer {
    /// For calls without deadline: `None` lets streams run as long as they do,
    /// unless the call being served has a deadline.
    #[must_use]
    pub fn with_default_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    fn timeout(&self, headers: &http::HeaderMap) -> Option<Duration> {
        let own = headers
            .get("grpc-timeout")
            .and_then(|value| context::parse_timeout(value.to_str().ok()?));
        match (own, Context::current().remaining()) {
            (Some(own), Some(left)) => Some(own.min(left)),
            (own, left) => own.or(left).or(self.timeout),
        }
    }
}

async fn connect(address: Address) -> std::io::Result<TokioIo<Either<TcpStream, UnixStream>>> {
    let stream = match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Either::Left(stream)
        }
        Address::Unix(path) => Either::Right(UnixStream::connect(path).await?),
    };
    Ok(TokioIo::new(stream))
}

/// The library calls a deadline that passed here a cancellation, which a caller
/// would take for somebody's wish.
fn status(error: tonic::transport::Error) -> Status {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if current.is::<TimeoutExpired>() {
            return Status::deadline_exceeded("the deadline passed before the peer answered");
        }
        cause = current.source();
    }
    Status::from_error(Box::new(error))
}

impl Service<http::Request<Body>> for Peer {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future =
        Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send + 'static>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.channel, context).map_err(status)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().trim_start_matches('/').to_owned();
        let span = tracing::info_span!(
            "outgoing",
            otel.name = method,
            otel.kind = "client",
            rpc.system = "grpc",
            peer = self.name,
        );
        if let Some(timeout) = self.timeout(request.headers()) {
            let timeout = context::format_timeout(timeout);
            request.headers_mut().insert("grpc-timeout", timeout);
        }
        telemetry::inject_trace(&span, request.headers_mut());
        Context::current().write_trace(request.headers_mut());
        // The clone keeps the readiness that was polled on this one.
        let fresh = self.channel.clone();
        let mut ready = std::mem::replace(&mut self.channel, fresh);
        Box::pin(async move { ready.call(request).await.map_err(status) }.instrument(span))
    }
}
