//! A server and its callers, each over a socket of its own: what the chassis
//! promises to every service, shown on one that does nothing else.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request as HttpRequest;
use outrigger_proto::shop::catalog::v1::product_service_client::ProductServiceClient;
use outrigger_proto::shop::catalog::v1::product_service_server::{
    ProductService, ProductServiceServer,
};
use outrigger_proto::shop::catalog::v1::{GetProductRequest, Product};
use prost::Message as _;
use prost_reflect::DescriptorPool;
use shop_chassis::client::{Outbound, Peer};
use shop_chassis::scratch::{Served, as_service};
use shop_chassis::{
    Address, CancellationToken, Config, Environment, Instance, Listener, Server, config,
};
use tokio::sync::{Notify, Semaphore};
use tonic::{Code, Request, Response, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

struct Settings(Instance);

impl Config for Settings {
    const SERVICE: &'static str = "bench";

    fn load(env: &Environment) -> Result<Self, config::Error> {
        Ok(Self(env.instance(Self::SERVICE)))
    }
}

/// A handler that says when it was entered and left, and waits to be let go.
#[derive(Clone)]
struct Bench {
    entered: Arc<Semaphore>,
    left: Arc<Semaphore>,
    go: Arc<Notify>,
    downstream: Option<Peer>,
}

struct Leaving(Arc<Semaphore>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

#[tonic::async_trait]
impl ProductService for Bench {
    async fn get_product(
        &self,
        request: Request<GetProductRequest>,
    ) -> Result<Response<Product>, Status> {
        let _leaving = Leaving(Arc::clone(&self.left));
        self.entered.add_permits(1);
        if let Some(downstream) = &self.downstream {
            let request = as_service("bench", request.into_inner());
            return ProductServiceClient::new(downstream.clone())
                .get_product(request)
                .await;
        }
        if request.get_ref().product_id == "wait" {
            self.go.notified().await;
        }
        Ok(Response::new(Product::default()))
    }
}

impl Bench {
    fn new(downstream: Option<Peer>) -> Self {
        Self {
            entered: Arc::new(Semaphore::new(0)),
            left: Arc::new(Semaphore::new(0)),
            go: Arc::new(Notify::new()),
            downstream,
        }
    }

    async fn serve(&self, grace: Duration) -> Served {
        let bench = self.clone();
        let serve =
            async move |settings: Settings, listener: Listener, shutdown: CancellationToken| {
                Server::grpc(&settings.0)
                    .add(ProductServiceServer::new(bench))
                    .grace(grace)
                    .serve(listener, shutdown)
                    .await?;
                anyhow::Ok(())
            };
        Served::start(serve, |_| Environment::default()).await
    }
}

const LONG: Duration = Duration::from_secs(60);

fn request(id: &str) -> Request<GetProductRequest> {
    as_service(
        "gateway",
        GetProductRequest {
            product_id: id.to_owned(),
        },
    )
}

async fn entered(semaphore: &Semaphore) {
    semaphore.acquire().await.unwrap().forget();
}

#[tokio::test]
async fn a_drain_lets_calls_in_flight_finish_and_no_new_connection_in() {
    let bench = Bench::new(None);
    let served = bench.serve(LONG).await;
    let mut client = ProductServiceClient::new(served.peer());
    let mut fresh = ProductServiceClient::new(served.peer());
    let (answer, ()) = tokio::join!(client.get_product(request("wait")), async {
        entered(&bench.entered).await;
        served.drain();
        // Refused once the socket is gone; until then it is accepted and drained.
        while fresh.get_product(request("now")).await.is_ok() {}
        bench.go.notify_one();
    });
    assert!(answer.is_ok(), "{answer:?}");
    served.stop().await;
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_when_the_grace_is_over() {
    let bench = Bench::new(None);
    let served = bench.serve(Duration::from_millis(50)).await;
    let mut client = ProductServiceClient::new(served.peer());
    let (answer, ()) = tokio::join!(client.get_product(request("wait")), async {
        entered(&bench.entered).await;
        served.stop().await;
    });
    assert!(answer.is_err());
    entered(&bench.left).await;
}

#[tokio::test]
async fn the_deadline_ends_the_handler() {
    let bench = Bench::new(None);
    let served = bench.serve(LONG).await;
    let mut request = request("wait");
    request.set_timeout(Duration::from_millis(50));
    let status = ProductServiceClient::new(served.peer())
        .get_product(request)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    entered(&bench.left).await;
    served.stop().await;
}

#[tokio::test]
async fn a_cancelled_call_ends_the_handler_and_is_counted() {
    let bench = Bench::new(None);
    let served = bench.serve(LONG).await;
    let mut client = ProductServiceClient::new(served.peer());
    tokio::select! {
        answer = client.get_product(request("wait")) => panic!("{answer:?}"),
        () = entered(&bench.entered) => {}
    }
    entered(&bench.left).await;
    let (_, metrics) = served.get("/metrics").await;
    assert!(metrics.contains("code=\"CANCELLED\"} 1"), "{metrics}");
    served.stop().await;
}

/// Answers every call with UNIMPLEMENTED and keeps the heads it saw.
async fn recorder() -> (Served, Arc<Mutex<Vec<http::request::Parts>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let router = Router::new().fallback(move |request: HttpRequest| {
        keep.lock().unwrap().push(request.into_parts().0);
        async { Status::unimplemented("recorded").into_http::<axum::body::Body>() }
    });
    let serve = async move |settings: Settings, listener: Listener, shutdown: CancellationToken| {
        Server::http(&settings.0, router)
            .serve(listener, shutdown)
            .await?;
        anyhow::Ok(())
    };
    (Served::start(serve, |_| Environment::default()).await, seen)
}

#[tokio::test]
async fn an_outgoing_call_names_the_peer_and_carries_trace_and_deadline_on() {
    let (downstream, seen) = recorder().await;
    let socket = downstream.folder().path().join("run/app.sock");
    let peer = Outbound::new(Address::Unix(socket))
        .peer("stockroom")
        .unwrap();
    let served = Bench::new(Some(peer)).serve(LONG).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut request = request("now");
    request.set_timeout(Duration::from_secs(5));
    request
        .metadata_mut()
        .insert("traceparent", traceparent.parse().unwrap());
    request
        .metadata_mut()
        .insert("baggage", "a=1,b=2".parse().unwrap());
    let status = ProductServiceClient::new(served.peer())
        .get_product(request)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let head = seen.lock().unwrap().pop().unwrap();
    assert_eq!(head.uri.authority().unwrap(), "stockroom");
    assert_eq!(head.headers["traceparent"], traceparent);
    assert_eq!(head.headers["baggage"], "a=1,b=2");
    let timeout = head.headers["grpc-timeout"].to_str().unwrap();
    let timeout = shop_chassis::context::parse_timeout(timeout).unwrap();
    assert!(
        timeout < Duration::from_secs(5) && timeout > Duration::from_secs(3),
        "{timeout:?}"
    );
    served.stop().await;
    downstream.stop().await;
}

#[tokio::test]
async fn a_peer_that_is_away_is_unavailable_and_found_again() {
    let bench = Bench::new(None);
    let served = bench.serve(LONG).await;
    let folder = served.folder();
    let mut client = ProductServiceClient::new(served.peer());
    assert!(client.get_product(request("now")).await.is_ok());
    served.stop().await;
    let status = client.get_product(request("now")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let serve = async move |settings: Settings, listener: Listener, shutdown: CancellationToken| {
        let server = Server::grpc(&settings.0).add(ProductServiceServer::new(bench));
        server.serve(listener, shutdown).await?;
        anyhow::Ok(())
    };
    let served = Served::start_in(folder, serve, |_| Environment::default()).await;
    assert!(client.get_product(request("now")).await.is_ok());
    served.stop().await;
}

/// What a running service answers to one question of reflection.
async fn reflect(served: &Served, question: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    let mut client = ServerReflectionClient::new(served.peer());
    let answers = client
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    answer.message_response.unwrap()
}

async fn file(served: &Served, question: MessageRequest) -> Vec<u8> {
    match reflect(served, question).await {
        MessageResponse::FileDescriptorResponse(mut files) => files.file_descriptor_proto.remove(0),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn reflection_lists_what_is_served_and_keeps_the_options() {
    let served = Bench::new(None).serve(LONG).await;
    let MessageResponse::ListServicesResponse(list) =
        reflect(&served, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list");
    };
    let mut names: Vec<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "shop.catalog.v1.ProductService"
        ]
    );

    // The file and, by name, all it imports; as bytes, or the options are gone.
    let symbol = "shop.catalog.v1.ProductService".to_owned();
    let mut open = vec![file(&served, MessageRequest::FileContainingSymbol(symbol)).await];
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some(bytes) = open.pop() {
        let head = prost_types::FileDescriptorProto::decode(bytes.as_slice()).unwrap();
        if files.iter().any(|(name, _)| name == head.name()) {
            continue;
        }
        for import in &head.dependency {
            open.push(file(&served, MessageRequest::FileByFilename(import.clone())).await);
        }
        files.push((head.name().to_owned(), bytes));
    }
    let mut set = Vec::new();
    for (_, bytes) in files {
        prost::encoding::bytes::encode(1, &bytes, &mut set);
    }
    let pool = DescriptorPool::decode(set.as_slice()).unwrap();
    let service = pool
        .get_service_by_name("shop.catalog.v1.ProductService")
        .unwrap();
    let method = service
        .methods()
        .find(|method| method.name() == "GetProduct")
        .unwrap();
    let rule = pool.get_extension_by_name("google.api.http").unwrap();
    assert!(method.options().has_extension(&rule));
    let rule = method.options().get_extension(&rule).into_owned();
    let rule = rule
        .as_message()
        .unwrap()
        .get_field_by_name("get")
        .unwrap()
        .into_owned();
    assert_eq!(rule.as_str(), Some("/v1/products/{product_id}"));
    served.stop().await;
}
