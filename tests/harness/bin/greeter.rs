//! The Rust one of the three programs that greet each other (`programs/greeter.proto`): tonic, a port, addresses of others in the
//! environment, and nothing that knows of a mesh.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use outrigger_tests::greeter::{GreetRequest, GreetResponse, Greeter};
use outrigger_tests::settings::variable;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::BoxStream;
use tonic::server::{Grpc, NamedService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port = variable("PORT").unwrap_or_default();
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    tonic::transport::Server::builder()
        .add_service(Service)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
            let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .expect("a signal handler");
            end.recv().await;
        })
        .await?;
    Ok(())
}

async fn greet(request: Request<GreetRequest>) -> Result<Response<GreetResponse>, Status> {
    let traceparent = request.metadata().get("traceparent").cloned();
    let GreetRequest { name, mut via } = request.into_inner();
    if via.is_empty() {
        let text = format!("rust(hello {name})");
        return Ok(Response::new(GreetResponse { text }));
    }
    let first = via.remove(0);
    let variable_name = format!("OUTRIGGER_UPSTREAM_{}_ADDR", first.to_uppercase());
    let address = variable(&variable_name)
        .ok_or_else(|| Status::invalid_argument(format!("{first} is nobody we know")))?;
    let mut next = Request::new(GreetRequest { name, via });
    if let Some(traceparent) = traceparent {
        next.metadata_mut().insert("traceparent", traceparent);
    }
    let answer = Greeter::connect(&address).await?.greet(next).await?;
    let text = format!("rust({})", answer.into_inner().text);
    Ok(Response::new(GreetResponse { text }))
}

#[derive(Debug, Clone)]
struct Service;

impl NamedService for Service {
    const NAME: &'static str = "greeter.v1.Greeter";
}

impl tower_service::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(match request.uri().path() {
                "/greeter.v1.Greeter/Greet" => grpc.unary(Greet, request).await,
                "/greeter.v1.Greeter/Chat" => grpc.streaming(Chat, request).await,
                "/greeter.v1.Greeter/Refuse" => grpc.unary(Refuse, request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

struct Greet;
struct Chat;
struct Refuse;

impl UnaryService<GreetRequest> for Greet {
    type Response = GreetResponse;
    type Future = Answer<GreetResponse>;

    fn call(&mut self, request: Request<GreetRequest>) -> Self::Future {
        Box::pin(greet(request))
    }
}

impl StreamingService<GreetRequest> for Chat {
    type Response = GreetResponse;
    type ResponseStream = BoxStream<GreetResponse>;
    type Future = Answer<BoxStream<GreetResponse>>;

    fn call(&mut self, request: Request<Streaming<GreetRequest>>) -> Self::Future {
        Box::pin(async move {
            let answers = request.into_inner().map(|request| {
                let text = format!("rust(hello {})", request?.name);
                Ok(GreetResponse { text })
            });
            Ok(Response::new(Box::pin(answers) as BoxStream<GreetResponse>))
        })
    }
}

impl UnaryService<GreetRequest> for Refuse {
    type Response = GreetResponse;
    type Future = Answer<GreetResponse>;

    fn call(&mut self, request: Request<GreetRequest>) -> Self::Future {
        Box::pin(async move {
            let mut status = Status::failed_precondition("not today: é");
            let why = request.into_inner().name.parse();
            status
                .metadata_mut()
                .insert("x-why", why.expect("a name that is a header value"));
            Err(status)
        })
    }
}
