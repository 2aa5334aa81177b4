//! The server of the case list.

use std::io::Write as _;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::codegen::BoxStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::testing::test_service_server::{TestService, TestServiceServer};
use crate::testing::{
    BoolValue, EchoStatus, Empty, Payload, ResponseParameters, SimpleRequest, SimpleResponse,
    StreamingInputCallRequest, StreamingInputCallResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse,
};
use crate::wire::Flags;

mod answers;
mod echo;

use answers::Answers;
use echo::Echo;

/// Serves on a port nobody chose, which the first line of stdout names.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    let service = TestServiceServer::new(Cases)
        .accept_compressed(Gzip)
        .send_compressed(Gzip);
    // Small frames of windows would otherwise wait for acknowledgements.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .add_service(Echo(service))
        .serve_with_incoming(incoming)
        .await
        .context("serve")
}

#[derive(Debug)]
struct Cases;

#[tonic::async_trait]
impl TestService for Cases {
    async fn empty_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Ok(Response::new(Empty {}))
    }

    async fn unary_call(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        let flags = flags(&request)?;
        let request = request.into_inner();
        came_as(&flags, request.expect_compressed)?;
        refused(request.response_status)?;
        let answer = SimpleResponse {
            payload: Some(payload(request.response_size)?),
        };
        let compressed = request.response_compressed.unwrap_or_default().value;
        Ok(compressed_if(compressed, answer))
    }

    async fn streaming_output_call(
        &self,
        request: Request<StreamingOutputCallRequest>,
    ) -> Result<Response<BoxStream<StreamingOutputCallResponse>>, Status> {
        let request = request.into_inner();
        refused(request.response_status.clone())?;
        all_compressed(&request.response_parameters)?;
        let answers = wanted(request)?.into_iter().map(Ok);
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }

    async fn streaming_input_call(
        &self,
        request: Request<Streaming<StreamingInputCallRequest>>,
    ) -> Result<Response<StreamingInputCallResponse>, Status> {
        let flags = flags(&request)?;
        let mut requests = request.into_inner();
        let mut sum = 0;
        while let Some(request) = requests.message().await? {
            came_as(&flags, request.expect_compressed)?;
            sum += request.payload.unwrap_or_default().body.len();
        }
        let answer = StreamingInputCallResponse {
            aggregated_payload_size: sum.try_into().map_err(|_| size_is_wrong())?,
        };
        Ok(compressed_if(false, answer))
    }

    /// Headers come with the first answer, so that a deadline before it holds for the whole call.
    async fn full_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<BoxStream<StreamingOutputCallResponse>>, Status> {
        let mut answers = Answers::new(request.into_inner());
        let first = answers.next().await.transpose()?;
        let answers = tokio_stream::iter(first.map(Ok)).chain(answers);
        Ok(Response::new(Box::pin(answers)))
    }
}

fn flags<T>(request: &Request<T>) -> Result<Flags, Status> {
    let flags = request.extensions().get::<Flags>().cloned();
    flags.ok_or_else(|| Status::internal("nobody read the flags"))
}

fn came_as(flags: &Flags, expected: Option<BoolValue>) -> Result<(), Status> {
    let came = flags.next();
    match expected {
        Some(BoolValue { value }) if came != Some(value) => Err(Status::invalid_argument(format!(
            "compressed: {came:?}, expected: {value}"
        ))),
        _ => Ok(()),
    }
}

fn refused(status: Option<EchoStatus>) -> Result<(), Status> {
    match status {
        Some(EchoStatus { code, message }) if code != 0 => {
            Err(Status::new(Code::from_i32(code), message))
        }
        _ => Ok(()),
    }
}

/// tonic compresses every message of a stream, if its receiver takes that: to disable it works for unary calls only.
fn all_compressed(parameters: &[ResponseParameters]) -> Result<(), Status> {
    let mut wishes = parameters.iter().filter_map(|wanted| wanted.compressed);
    match wishes.all(|wish| wish.value) {
        true => Ok(()),
        false => Err(Status::unimplemented("streams are compressed")),
    }
}

fn compressed_if<T>(compressed: bool, answer: T) -> Response<T> {
    let mut response = Response::new(answer);
    if !compressed {
        response.disable_compression();
    }
    response
}

/// An answer of each size that a request wants.
fn wanted(request: StreamingOutputCallRequest) -> Result<Vec<StreamingOutputCallResponse>, Status> {
    let sizes = request.response_parameters.into_iter();
    sizes
        .map(|ResponseParameters { size, .. }| {
            Ok(StreamingOutputCallResponse {
                payload: Some(payload(size)?),
            })
        })
        .collect()
}

fn payload(size: i32) -> Result<Payload, Status> {
    Ok(Payload::zeros(
        size.try_into().map_err(|_| size_is_wrong())?,
    ))
}

fn size_is_wrong() -> Status {
    Status::invalid_argument("a size that is none")
}
