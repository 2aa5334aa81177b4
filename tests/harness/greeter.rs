//! The client of `programs/greeter.proto`, on tonic.

use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{IntoStreamingRequest, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GreetRequest {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, repeated, tag = "2")]
    pub via: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GreetResponse {
    #[prost(string, tag = "1")]
    pub text: String,
}

/// A stub on one channel.
#[derive(Debug, Clone)]
pub struct Greeter(Grpc<Channel>);

impl Greeter {
    /// `127.0.0.1:15201`
    pub async fn connect(address: &str) -> Result<Self, Status> {
        let endpoint = Endpoint::try_from(format!("http://{address}"))
            .map_err(|error| Status::internal(error.to_string()))?;
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Self(Grpc::new(channel)))
    }

    pub async fn greet(
        &mut self,
        request: Request<GreetRequest>,
    ) -> Result<Response<GreetResponse>, Status> {
        self.unary(request, "/greeter.v1.Greeter/Greet").await
    }

    pub async fn refuse(
        &mut self,
        request: Request<GreetRequest>,
    ) -> Result<Response<GreetResponse>, Status> {
        self.unary(request, "/greeter.v1.Greeter/Refuse").await
    }

    async fn unary(
        &mut self,
        request: Request<GreetRequest>,
        path: &'static str,
    ) -> Result<Response<GreetResponse>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static(path);
        self.0.unary(request, path, ProstCodec::default()).await
    }

    pub async fn chat(
        &mut self,
        requests: impl IntoStreamingRequest<Message = GreetRequest>,
    ) -> Result<Response<Streaming<GreetResponse>>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/greeter.v1.Greeter/Chat");
        self.0
            .streaming(
                requests.into_streaming_request(),
                path,
                ProstCodec::default(),
            )
            .await
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))
    }
}
