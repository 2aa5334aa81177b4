//! Ready or not. Reflects only what the service needs to do anything at all,
//! its own database first; a dead peer does not make a service unready. Served
//! as `grpc.health.v1.Health` and as `GET /health`; asked again each time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthApi, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// How long a dependency may take to answer before it counts as gone.
const CHECK_LIMIT: Duration = Duration::from_secs(1);
/// How often a watcher's status is looked at again.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Something without which the service can do nothing.
#[async_trait]
pub trait Dependency: Send + Sync {
    fn name(&self) -> &str;

    /// Why it cannot be used, as the log shall say it.
    async fn check(&self) -> Result<(), String>;
}

#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    dependencies: Vec<Box<dyn Dependency>>,
    /// Names that may be asked for, beside the empty one.
    services: Vec<String>,
    draining: CancellationToken,
    was_ready: AtomicBool,
}

impl Health {
    pub(crate) fn new(
        dependencies: Vec<Box<dyn Dependency>>,
        services: Vec<String>,
        draining: CancellationToken,
    ) -> Self {
        let was_ready = AtomicBool::new(true);
        Self(Arc::new(Inner {
            dependencies,
            services,
            draining,
            was_ready,
        }))
    }

    pub(crate) fn server(&self) -> HealthServer<Self> {
        HealthServer::new(self.clone())
    }

    /// Every dependency answers and no drain has begun. A change is logged once.
    pub async fn is_ready(&self) -> bool {
        let ready = !self.0.draining.is_cancelled() && self.dependencies_ready().await;
        let before = self.0.was_ready.swap(ready, Ordering::Relaxed);
        if ready && !before {
            tracing::info!("ready again");
        }
        ready
    }

    async fn dependencies_ready(&self) -> bool {
        for dependency in &self.0.dependencies {
            let checked = tokio::time::timeout(CHECK_LIMIT, dependency.check()).await;
            let problem = match checked {
                Ok(Ok(())) => continue,
                Ok(Err(problem)) => problem,
                Err(_) => format!("no answer within {CHECK_LIMIT:?}"),
            };
            if self.0.was_ready.load(Ordering::Relaxed) {
                tracing::warn!(dependency = dependency.name(), error = problem, "not ready");
            }
            return false;
        }
        true
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.0.services.iter().any(|known| known == service)
    }

    /// The status once it differs from `last`; `None` after the drain was told.
    async fn change_from(&self, last: Option<ServingStatus>) -> Option<ServingStatus> {
        loop {
            if self.0.draining.is_cancelled() && last == Some(ServingStatus::NotServing) {
                return None;
            }
            let status = self.status().await;
            if last != Some(status) {
                return Some(status);
            }
            tokio::select! {
                () = self.0.draining.cancelled() => {}
                () = tokio::time::sleep(WATCH_INTERVAL) => {}
            }
        }
    }

    async fn status(&self) -> ServingStatus {
        if self.is_ready().await {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    }
}

#[async_trait]
impl HealthApi for Health {
    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::not_found("service not registered"));
        }
        Ok(Response::new(response(self.status().await)))
    }

    /// Sends the status at once and whenever it changes; a drain says
    /// NOT_SERVING and ends the stream, so that it holds up nobody.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if !self.knows(&request.get_ref().service) {
            let unknown = response(ServingStatus::ServiceUnknown);
            return Ok(Response::new(Box::pin(futures::stream::iter([Ok(
                unknown,
            )]))));
        }
        let changes = futures::stream::unfold((self.clone(), None), async |(health, last)| {
            let status = health.change_from(last).await?;
            Some((Ok(response(status)), (health, Some(status))))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health")
            .field("services", &self.0.services)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    struct Switch(Arc<AtomicBool>);

    #[async_trait]
    impl Dependency for Switch {
        fn name(&self) -> &str {
            "switch"
        }

        async fn check(&self) -> Result<(), String> {
            if self.0.load(Ordering::Relaxed) {
                Ok(())
            } else {
                Err("off".to_owned())
            }
        }
    }

    fn health(on: &Arc<AtomicBool>, draining: &CancellationToken) -> Health {
        let switch = Switch(Arc::clone(on));
        Health::new(
            vec![Box::new(switch)],
            vec!["a.B".to_owned()],
            draining.clone(),
        )
    }

    #[tokio::test]
    async fn a_gone_dependency_is_seen_and_so_is_its_return() {
        let on = Arc::new(AtomicBool::new(true));
        let health = health(&on, &CancellationToken::new());
        for state in [true, false, true] {
            on.store(state, Ordering::Relaxed);
            assert_eq!(health.is_ready().await, state);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_hears_changes_and_the_end() {
        let on = Arc::new(AtomicBool::new(true));
        let draining = CancellationToken::new();
        let health = health(&on, &draining);
        let request = Request::new(HealthCheckRequest {
            service: "a.B".to_owned(),
        });
        let mut watch = health.watch(request).await.unwrap().into_inner();
        let mut next = async || watch.next().await.map(|item| item.unwrap().status());
        assert_eq!(next().await, Some(ServingStatus::Serving));
        on.store(false, Ordering::Relaxed);
        assert_eq!(next().await, Some(ServingStatus::NotServing));
        on.store(true, Ordering::Relaxed);
        assert_eq!(next().await, Some(ServingStatus::Serving));
        draining.cancel();
        assert_eq!(next().await, Some(ServingStatus::NotServing));
        assert_eq!(next().await, None);
    }

    #[tokio::test]
    async fn an_unknown_service_is_not_found() {
        let health = health(&Arc::new(AtomicBool::new(true)), &CancellationToken::new());
        let request = Request::new(HealthCheckRequest {
            service: "x.Y".to_owned(),
        });
        assert_eq!(
            health.check(request).await.unwrap_err().code(),
            tonic::Code::NotFound
        );
    }
}
