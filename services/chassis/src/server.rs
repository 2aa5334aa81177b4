//! A service on one socket: gRPC with health and reflection (v1 and v1alpha),
//! `GET /health`, `/health/live` and `/metrics` over HTTP/1.1 or h2c.
//!
//! Every answer carries `x-served-by`. A call passes, outermost first: observe
//! (span, count), admit (caller, scope, deadline), validate, handler. Health,
//! reflection and the HTTP paths are open to whoever reaches the socket: the
//! sidecar asks them.

mod admit;
mod connection;
mod observe;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;
use tower::ServiceBuilder;

pub(crate) use admit::refuse;

use crate::health::{Dependency, Health};
use crate::method::Methods;
use crate::metrics::{self, Metrics};
use crate::validate::{self, Validator};
use crate::{Instance, Listener};

/// How long calls in flight may take to finish once the drain began.
const GRACE: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is not in the contracts of this build")]
    NoContract(String),
    #[error(transparent)]
    Rules(#[from] validate::UnsupportedRule),
    #[error("reflection cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A server being put together. `serve` runs it.
#[allow(
    missing_debug_implementations,
    reason = "holds tonic's routes, which have none"
)]
pub struct Server {
    instance: Instance,
    routes: Routes,
    services: Vec<&'static str>,
    dependencies: Vec<Box<dyn Dependency>>,
    grace: Duration,
}

enum Routes {
    Grpc(RoutesBuilder),
    Http(Router),
}

/// What the stages of one server share.
#[derive(Debug)]
struct Shared {
    methods: Methods,
    validator: Validator,
    metrics: Metrics,
}

impl Server {
    /// A server of gRPC services, each checked against its contract.
    pub fn grpc(instance: &Instance) -> Self {
        Self::new(instance, Routes::Grpc(RoutesBuilder::default()))
    }

    /// A server of HTTP routes that do their own checks (the gateway); health
    /// is added, metrics are not, because its callers are strangers.
    pub fn http(instance: &Instance, routes: Router) -> Self {
        Self::new(instance, Routes::Http(routes))
    }

    fn new(instance: &Instance, routes: Routes) -> Self {
        Self {
            instance: instance.clone(),
            routes,
            services: Vec::new(),
            dependencies: Vec::new(),
            grace: GRACE,
        }
    }

    /// Adds a generated service. Only servers made by [`Server::grpc`] have any.
    #[expect(
        clippy::should_implement_trait,
        reason = "tonic's word for it; nothing is summed"
    )]
    #[must_use]
    pub fn add<S>(mut self, service: S) -> Self
    where
        S: tower::Service<http::Request<Body>, Error = std::convert::Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        if let Routes::Grpc(routes) = &mut self.routes {
            routes.add_service(service);
            self.services.push(S::NAME);
        }
        self
    }

    /// Without this the service can do nothing: health reflects it.
    #[must_use]
    pub fn requires(mut self, dependency: impl Dependency + 'static) -> Self {
        self.dependencies.push(Box::new(dependency));
        self
    }

    /// How long calls in flight may take once the drain began (3 s).
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Serves until `shutdown`, then drains: readiness off, no new connection,
    /// GOAWAY, calls in flight finish within the grace.
    pub async fn serve(self, listener: Listener, shutdown: CancellationToken) -> Result<(), Error> {
        let grace = self.grace;
        let router = self.into_router(&shutdown)?;
        connection::serve(listener, router, &shutdown, grace).await;
        Ok(())
    }

    fn into_router(self, shutdown: &CancellationToken) -> Result<Router, Error> {
        let names = self.services.iter().map(|&name| name.to_owned()).collect();
        let health = Health::new(self.dependencies, names, shutdown.clone());
        let methods = methods(&self.services)?;
        let validator = Validator::new(methods.iter().map(|method| &method.input))?;
        let served_by = http::HeaderValue::try_from(self.instance.to_string())
            .unwrap_or_else(|_| http::HeaderValue::from_static("unnamed"));
        let shared = Arc::new(Shared {
            methods,
            validator,
            metrics: Metrics::default(),
        });
        let (router, metrics) = match self.routes {
            Routes::Grpc(mut routes) => {
                add_own_services(&mut routes, &self.services, &health)?;
                let stages = ServiceBuilder::new()
                    .layer(middleware::from_fn_with_state(
                        Arc::clone(&shared),
                        observe::call,
                    ))
                    .layer(middleware::from_fn_with_state(
                        Arc::clone(&shared),
                        admit::call,
                    ))
                    .layer(middleware::from_fn_with_state(
                        Arc::clone(&shared),
                        validate::call,
                    ));
                let router = routes.routes().into_axum_router().layer(stages);
                let metrics = Router::new().route("/metrics", get(metrics_text));
                (router, metrics.with_state(Arc::clone(&shared)))
            }
            Routes::Http(router) => {
                let observe = middleware::from_fn(observe::http);
                let mut own = RoutesBuilder::default();
                own.add_service(health.server());
                // What is nobody's is the given routes' to answer.
                let own = own.routes().into_axum_router().reset_fallback();
                (router.layer(observe).merge(own), Router::new())
            }
        };
        let health = Router::new()
            .route("/health", get(readiness))
            .route("/health/live", get(liveness))
            .with_state(health);
        let served_by = middleware::map_response_with_state(served_by, observe::served_by);
        Ok(router.merge(health).merge(metrics).layer(served_by))
    }
}

impl AsRef<Validator> for Shared {
    fn as_ref(&self) -> &Validator {
        &self.validator
    }
}

fn methods(services: &[&str]) -> Result<Methods, Error> {
    let mut methods = Methods::default();
    for name in services {
        let service = outrigger_proto::pool()
            .get_service_by_name(name)
            .ok_or_else(|| Error::NoContract((*name).to_owned()))?;
        methods.add(&service);
    }
    Ok(methods)
}

/// Health and both reflections. The bytes of the set are handed over as they
/// are: decoding them by type would lose the method options.
fn add_own_services(
    routes: &mut RoutesBuilder,
    services: &[&str],
    health: &Health,
) -> Result<(), Error> {
    let reflection = || {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(outrigger_proto::DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health")
            .with_service_name("grpc.reflection.v1.ServerReflection");
        for service in services {
            builder = builder.with_service_name(*service);
        }
        builder
    };
    routes.add_service(health.server());
    routes.add_service(reflection().build_v1()?);
    routes.add_service(reflection().build_v1alpha()?);
    Ok(())
}

async fn readiness(State(health): State<Health>) -> impl IntoResponse {
    let (code, status) = if health.is_ready().await {
        (StatusCode::OK, "healthy")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unhealthy")
    };
    (code, Json(serde_json::json!({ "status": status })))
}

async fn liveness() -> impl IntoResponse {
    Json(serde_json::json!({ "status": "healthy" }))
}

async fn metrics_text(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    metrics::response(shared.metrics.render())
}
