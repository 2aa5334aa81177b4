//! What stands behind the gateway: one server on a Unix socket in place of the sidecar's outbound side, with the
//! services of our contracts on it. It notes every call, and does as a test says instead of answering.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use outrigger_proto::google::r#type::Money;
use outrigger_proto::shop::catalog::v1::product_service_server::{
    ProductService, ProductServiceServer,
};
use outrigger_proto::shop::catalog::v1::{
    BatchGetProductsRequest, BatchGetProductsResponse, GetProductRequest, Product,
};
use outrigger_proto::shop::identity::v1::session_service_server::{
    SessionService, SessionServiceServer,
};
use outrigger_proto::shop::identity::v1::{CreateSessionRequest, GetJwksRequest, Jwks, Session};
use outrigger_proto::shop::inventory::v1::stock_service_server::{
    StockService, StockServiceServer,
};
use outrigger_proto::shop::inventory::v1::{GetStockRequest, Stock};
use outrigger_proto::shop::orders::v1::order_service_server::{OrderService, OrderServiceServer};
use outrigger_proto::shop::orders::v1::{GetOrderRequest, Order, PlaceOrderRequest};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tonic::service::RoutesBuilder;
use tonic::{Request as Call, Response as Answer, Status};

use crate::token;

pub(crate) const PLACE_ORDER: &str = "/shop.orders.v1.OrderService/PlaceOrder";
pub(crate) const GET_ORDER: &str = "/shop.orders.v1.OrderService/GetOrder";
pub(crate) const GET_PRODUCT: &str = "/shop.catalog.v1.ProductService/GetProduct";
pub(crate) const GET_JWKS: &str = "/shop.identity.v1.SessionService/GetJwks";

/// Ends with the test.
#[derive(Debug)]
pub(crate) struct Mesh {
    script: Arc<Script>,
    _running: JoinSet<()>,
}

/// What happens instead of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Fail(Status),
    /// The answer, with this besides.
    Add(&'static str, &'static str),
    /// Never answers.
    Hang,
    /// The request's body comes back as it arrives.
    Echo,
    /// This many bytes of answer in one message.
    Flood(usize),
    /// HTTP without gRPC.
    Http(u16),
}

/// A call that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) authority: String,
    pub(crate) headers: HeaderMap,
}

#[derive(Debug, Default)]
struct Script {
    acts: Mutex<HashMap<String, Act>>,
    seen: Mutex<Vec<Seen>>,
    orders: Mutex<Vec<PlaceOrderRequest>>,
    abandoned: AtomicUsize,
}

/// Counts a call that hangs when it ends.
struct Hanging(Arc<Script>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.abandoned.fetch_add(1, Ordering::Relaxed);
    }
}

impl Mesh {
    pub(crate) fn start(socket: &Path) -> Self {
        let script = Arc::new(Script::default());
        let services = Services(Arc::clone(&script));
        let mut routes = RoutesBuilder::default();
        routes.add_service(OrderServiceServer::new(services.clone()));
        routes.add_service(ProductServiceServer::new(services.clone()));
        routes.add_service(StockServiceServer::new(services.clone()));
        routes.add_service(SessionServiceServer::new(services));
        let watch = middleware::from_fn_with_state(Arc::clone(&script), act);
        let router = routes.routes().into_axum_router().layer(watch);
        let listener = UnixListener::bind(socket).unwrap();
        let mut running = JoinSet::new();
        running.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            script,
            _running: running,
        }
    }

    pub(crate) fn on(&self, path: &str, act: Act) {
        let mut acts = self.script.acts.lock().unwrap();
        acts.insert(path.to_owned(), act);
    }

    /// Calls of this method so far.
    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        let seen = self.script.seen.lock().unwrap();
        seen.iter()
            .filter(|call| call.path == path)
            .cloned()
            .collect()
    }

    /// Calls that hung until they were given up.
    pub(crate) fn abandoned(&self) -> usize {
        self.script.abandoned.load(Ordering::Relaxed)
    }

    /// The orders that were placed.
    pub(crate) fn orders(&self) -> Vec<PlaceOrderRequest> {
        self.script.orders.lock().unwrap().clone()
    }
}

async fn act(State(script): State<Arc<Script>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let authority = request.uri().authority().map(ToString::to_string);
    script.seen.lock().unwrap().push(Seen {
        path: path.clone(),
        authority: authority.unwrap_or_default(),
        headers: request.headers().clone(),
    });
    let act = script.acts.lock().unwrap().get(&path).cloned();
    match act {
        None => next.run(request).await,
        Some(Act::Fail(status)) => status.into_http(),
        Some(Act::Hang) => {
            let _counted = Hanging(script);
            std::future::pending().await
        }
        Some(Act::Http(status)) => {
            let response = Response::builder().status(status);
            response.body(Body::from("no gRPC here")).unwrap()
        }
        Some(Act::Add(name, value)) => {
            let mut response = next.run(request).await;
            response.headers_mut().insert(name, value.parse().unwrap());
            response
        }
        Some(Act::Echo) => grpc(request.into_body()),
        Some(Act::Flood(size)) => {
            let mut message = vec![0; 5 + size];
            let length = u32::try_from(size).unwrap().to_be_bytes();
            message[1..5].copy_from_slice(&length);
            grpc(Body::from(message))
        }
    }
}

/// These bytes, and status OK behind them.
fn grpc(body: Body) -> Response {
    let trailers = async {
        let trailers = [("grpc-status", "0"), ("x-outrigger-secret", "inner")];
        let trailers =
            trailers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Some(Ok(HeaderMap::from_iter(trailers)))
    };
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("x-outrigger-secret", "inner")
        .header("x-inner", "inner");
    response
        .body(Body::new(body.with_trailers(trailers)))
        .unwrap()
}

#[derive(Debug, Clone)]
struct Services(Arc<Script>);

pub(crate) fn order() -> Order {
    Order {
        order_id: "0197b2c4-7d3e-7c11-9a52-1f0c8e4b6a10".to_owned(),
        order_number: 1,
        user_id: 1,
        total: Some(Money {
            currency_code: "USD".to_owned(),
            units: 24,
            nanos: 0,
        }),
        ..Order::default()
    }
}

#[tonic::async_trait]
impl OrderService for Services {
    async fn place_order(&self, request: Call<PlaceOrderRequest>) -> Result<Answer<Order>, Status> {
        self.0.orders.lock().unwrap().push(request.into_inner());
        Ok(Answer::new(order()))
    }

    async fn get_order(&self, request: Call<GetOrderRequest>) -> Result<Answer<Order>, Status> {
        let order_id = request.into_inner().order_id;
        Ok(Answer::new(Order {
            order_id,
            ..order()
        }))
    }
}

#[tonic::async_trait]
impl ProductService for Services {
    async fn get_product(
        &self,
        request: Call<GetProductRequest>,
    ) -> Result<Answer<Product>, Status> {
        Ok(Answer::new(product(request.into_inner().product_id)))
    }

    async fn batch_get_products(
        &self,
        request: Call<BatchGetProductsRequest>,
    ) -> Result<Answer<BatchGetProductsResponse>, Status> {
        let ids = request.into_inner().product_ids;
        let products = ids.into_iter().map(product).collect();
        Ok(Answer::new(BatchGetProductsResponse { products }))
    }
}

fn product(product_id: String) -> Product {
    Product {
        product_id,
        ..Product::default()
    }
}

#[tonic::async_trait]
impl StockService for Services {
    async fn get_stock(&self, request: Call<GetStockRequest>) -> Result<Answer<Stock>, Status> {
        Ok(Answer::new(Stock {
            sku: request.into_inner().sku,
            on_hand: 12,
            available: 12,
            ..Stock::default()
        }))
    }
}

#[tonic::async_trait]
impl SessionService for Services {
    async fn create_session(
        &self,
        _: Call<CreateSessionRequest>,
    ) -> Result<Answer<Session>, Status> {
        Ok(Answer::new(Session {
            access_token: "a token".to_owned(),
            ..Session::default()
        }))
    }

    async fn get_jwks(&self, _: Call<GetJwksRequest>) -> Result<Answer<Jwks>, Status> {
        Ok(Answer::new(token::key_set()))
    }
}
