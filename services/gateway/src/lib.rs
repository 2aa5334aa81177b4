//! The shop's front door: REST with JSON, and native gRPC, for methods that the contracts expose. It holds no business
//! state and knows no service by name: package `shop.<x>.v1` goes to authority `<x>`.
//!
//! Modules in the order in which a request meets them.

/// The service's settings.
pub mod config;

/// Which methods are exposed, compiled from the contracts.
mod exposed;
/// How large the head of a request may be.
mod head;
/// A gRPC request: checked and passed through.
mod native;
/// A REST request: bind, call, print.
mod rest;
/// From a path to the RPC it means.
mod route;

/// Who is calling: tokens, keys, scopes.
mod auth;
/// A body of bounded messages.
mod bounded;
/// Errors as callers get them.
mod error;
/// How many requests of a method are under way.
mod in_flight;
/// JSON as the contract reads and prints it.
mod json;
/// The limits as metrics.
mod limit;
/// One line a request.
mod log;
/// The API's description, from the routes that serve it.
mod open_api;
/// The contracts as reflection shows them.
mod reflect;
/// From path, query and body to a message.
mod transcode;
/// Calls into the mesh.
mod upstream;

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode};
use shop_chassis::client::Outbound;
use shop_chassis::clock::SystemClock;
use shop_chassis::{Address, CancellationToken, Failure, Listener, Server, metrics};
use tokio::sync::OwnedSemaphorePermit;
use tonic::service::RoutesBuilder;
use tonic::{Code, Status};

use auth::{KeySet, Verifier};
pub use config::Config;
use config::Limits;
use error::Refusal;
use exposed::{Exposed, Rpc};
use in_flight::InFlight;
use limit::{Hits, Limit};
use rest::Timeout;
use upstream::Upstreams;

/// What every request needs.
#[derive(Debug)]
struct Gateway {
    limits: Limits,
    exposed: Exposed,
    in_flight: InFlight,
    hits: Arc<Hits>,
    upstreams: Upstreams,
    verifier: Verifier,
    open_api: String,
}

impl Gateway {
    /// A place for one more request of the method.
    fn enter(&self, rpc: &Rpc) -> Result<OwnedSemaphorePermit, Failure> {
        let entered = self.in_flight.enter(rpc);
        entered.inspect_err(|_| self.hits.count(Limit::InFlight))
    }

    fn count_refusal(&self, refusal: &Refusal) {
        if let Some(limit) = refusal.limit() {
            self.hits.count(limit);
        }
    }

    fn timeout(&self, headers: &HeaderMap) -> Result<Timeout, Failure> {
        let timeout = rest::timeout(headers, &self.limits)?;
        if timeout.limit == Some(Limit::GrpcTimeoutMax) {
            self.hits.count(Limit::GrpcTimeoutMax);
        }
        Ok(timeout)
    }

    /// A request that stated no time had the gateway's, and it was not enough.
    fn count_late(&self, status: &Status, timeout: Timeout) {
        let late = status.code() == Code::DeadlineExceeded;
        if late && timeout.limit == Some(Limit::RouteTimeout) {
            self.hits.count(Limit::RouteTimeout);
        }
    }

    fn metrics(&self) -> String {
        self.hits.render(&self.limits, self.in_flight.largest())
    }
}

/// Serves until `shutdown`; the caller owns the socket and the signals.
pub async fn serve(
    config: Config,
    listener: Listener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let exposed = Exposed::compile(outrigger_proto::pool())?;
    let hits = Arc::default();
    let outbound = Outbound::new(config.outbound);
    let upstreams = Upstreams::new(&outbound, exposed.services(), &hits)?;
    let keys = KeySet::default();
    let gateway = Arc::new(Gateway {
        limits: config.limits,
        open_api: open_api::describe(&exposed).to_string(),
        verifier: Verifier::new(keys.clone(), Arc::new(SystemClock)),
        upstreams: upstreams.clone(),
        in_flight: InFlight::new(&exposed, config.limits.in_flight),
        hits,
        exposed,
    });
    let router = router(Arc::clone(&gateway))?;
    let refresh = auth::keep_fresh(
        keys.clone(),
        upstreams,
        config.key_set_ttl,
        shutdown.clone(),
    );
    let admin = admin(
        Server::http(&config.instance, admin_routes(gateway)).requires(keys.clone()),
        config.admin,
        shutdown.clone(),
    );
    let server = Server::http(&config.instance, router)
        .requires(keys)
        .serve(listener, shutdown);
    let server = async { Ok(server.await?) };
    let refresh = async {
        refresh.await;
        Ok(())
    };
    tokio::try_join!(server, admin, refresh)?;
    Ok(())
}

/// Serves on a socket of its own what is not for strangers.
async fn admin(
    server: Server,
    address: Option<Address>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Some(address) = address else {
        return Ok(());
    };
    let listener = Listener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address} (SHOP_GATEWAY_ADMIN_LISTEN)"))?;
    Ok(server.serve(listener, shutdown).await?)
}

fn admin_routes(gateway: Arc<Gateway>) -> Router {
    let metrics = get(async move || metrics::response(gateway.metrics()));
    Router::new().route("/metrics", metrics)
}

fn router(gateway: Arc<Gateway>) -> anyhow::Result<Router> {
    let set = gateway.exposed.descriptors();
    let set = set.context("the contracts cannot be shown by reflection")?;
    let reflection = || {
        gateway.exposed.grpc_services().fold(
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(&set)
                .with_service_name("grpc.health.v1.Health")
                .with_service_name("grpc.reflection.v1.ServerReflection")
                .with_service_name("grpc.reflection.v1alpha.ServerReflection"),
            tonic_reflection::server::Builder::with_service_name,
        )
    };
    let mut own = RoutesBuilder::default();
    own.add_service(reflection().build_v1()?);
    own.add_service(reflection().build_v1alpha()?);
    let description = gateway.open_api.clone();
    let description = get(async move || json::response(StatusCode::OK, description.into()));
    Ok(own
        .routes()
        .into_axum_router()
        .route("/openapi.json", description.fallback(other_method))
        .fallback(move |request| any(Arc::clone(&gateway), request)))
}

async fn other_method(request: Request) -> Response {
    let methods = vec![Method::GET, Method::HEAD];
    if request.method() == Method::OPTIONS {
        return error::options(&methods);
    }
    let id = rest::request_id(request.headers());
    error::refused(&Refusal::not_allowed(methods), &id)
}

/// Everything that is not the gateway's own.
async fn any(gateway: Arc<Gateway>, request: Request) -> Response {
    if native::is_grpc(request.headers()) {
        native::call(&gateway, request).await
    } else {
        rest::call(&gateway, request).await
    }
}
