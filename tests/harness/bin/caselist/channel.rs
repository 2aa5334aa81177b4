//! Channels of the cases, and what their calls have in common.

use std::fmt::Debug;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use crate::testing::test_service_client::TestServiceClient;
use crate::testing::{Payload, SimpleRequest};
use crate::wire::Flags;

/// What the large calls carry, in bytes.
pub(crate) const REQUEST: usize = 271_828;
pub(crate) const RESPONSE: i32 = 314_159;

/// No call takes longer on a busy machine; one that hangs does.
const SLOWEST: Duration = Duration::from_secs(60);

pub(crate) type Client = TestServiceClient<Watched>;

/// Where the server is.
#[derive(Debug, Clone)]
pub(crate) struct Address(Endpoint);

impl Address {
    pub(crate) fn new(address: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::try_from(format!("http://{address}"))?;
        Ok(Self(endpoint.timeout(SLOWEST)))
    }

    /// The same, for calls that may take so long.
    pub(crate) fn patient(&self, patience: Duration) -> Self {
        Self(self.0.clone().timeout(patience))
    }

    /// A connection of its own.
    pub(crate) async fn channel(&self) -> anyhow::Result<Watched> {
        Ok(Watched(self.0.connect().await.context("connect")?))
    }

    /// The service over a connection of its own.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        Ok(TestServiceClient::new(self.channel().await?))
    }
}

/// A channel that puts the answer's `Flags` among its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Watched(Channel);

impl Service<http::Request<Body>> for Watched {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let response = self.0.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            let flags = Flags::default();
            response.extensions_mut().insert(flags.clone());
            Ok(response.map(|body| flags.of(body)))
        })
    }
}

/// What `large_unary` sends.
pub(crate) fn large_request() -> SimpleRequest {
    SimpleRequest {
        response_size: RESPONSE,
        payload: Some(Payload::zeros(REQUEST)),
        ..SimpleRequest::default()
    }
}

/// Fails unless the answer has so many bytes.
pub(crate) fn has_size(payload: Option<Payload>, size: i32) -> anyhow::Result<()> {
    let body = payload.unwrap_or_default().body;
    equal("size", &i32::try_from(body.len())?, &size)
}

/// `large_unary` once.
pub(crate) async fn large(client: &mut Client) -> anyhow::Result<()> {
    let answer = client.unary_call(large_request()).await?;
    has_size(answer.into_inner().payload, RESPONSE)
}

pub(crate) fn equal<T: Debug + PartialEq>(what: &str, seen: &T, wanted: &T) -> anyhow::Result<()> {
    ensure!(seen == wanted, "{what}: {seen:?} instead of {wanted:?}");
    Ok(())
}

/// The status of a call that has to fail.
pub(crate) fn refusal<T>(answer: Result<T, tonic::Status>) -> anyhow::Result<tonic::Status> {
    answer.err().context("the call was answered")
}
