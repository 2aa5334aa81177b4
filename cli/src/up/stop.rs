//! The order of a stop: who calls before who is called, each sidecar's drain before its application's, the registry last; all within 5 s.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::run::Mesh;
use crate::supervise::Process;

/// For all instances together; what is left of 5 s is the registry's and the system's.
const INSTANCES: Duration = Duration::from_millis(4200);
/// For those that stop together: the sidecars' grace of 3 s and a little.
const WAVE: Duration = Duration::from_millis(3400);
/// From a sidecar's SIGTERM to its application's: the inbound side says goodbye first.
const AHEAD: Duration = Duration::from_millis(150);
const REGISTRY: Duration = Duration::from_millis(500);

/// Stops everything; `true` if the user did not want to wait.
pub(super) async fn stop(mesh: &mut Mesh, force: &CancellationToken) -> bool {
    mesh.output
        .waiting("stopping; a second Ctrl-C does not wait", true);
    let is_forced = tokio::select! {
        biased;
        () = force.cancelled() => true,
        () = ordered(mesh) => false,
    };
    mesh.supervisor.kill_all();
    mesh.supervisor.join().await;
    is_forced
}

async fn ordered(mesh: &Mesh) {
    let end = Instant::now() + INSTANCES;
    for wave in mesh.setup.plan.waves.iter().rev() {
        let members: Vec<_> = mesh
            .setup
            .plan
            .instances
            .iter()
            .zip(mesh.sidecars.iter().zip(&mesh.applications))
            .filter(|(instance, _)| wave.contains(&instance.service))
            .map(|(_, (sidecar, application))| (sidecar.as_ref(), application.as_ref()))
            .collect();
        let pairs = join_all(
            members
                .iter()
                .map(|(sidecar, application)| pair(*sidecar, *application)),
        );
        if timeout_at(end.min(Instant::now() + WAVE), pairs)
            .await
            .is_err()
        {
            for (sidecar, application) in members {
                insist(mesh, sidecar);
                insist(mesh, application);
            }
        }
    }
    if let Some(registry) = &mesh.registry {
        registry.stop();
        if timeout(REGISTRY, registry.gone()).await.is_err() {
            insist(mesh, Some(registry));
        }
    }
}

/// The sidecar stops taking calls, then the application ends, and the sidecar with it.
async fn pair(sidecar: Option<&Arc<Process>>, application: Option<&Arc<Process>>) {
    if let Some(sidecar) = sidecar {
        sidecar.stop();
        // Gone or not, its application is next.
        let _still_there = timeout(AHEAD, sidecar.gone()).await;
    }
    if let Some(application) = application {
        application.stop();
        application.gone().await;
    }
    if let Some(sidecar) = sidecar {
        sidecar.gone().await;
    }
}

fn insist(mesh: &Mesh, process: Option<&Arc<Process>>) {
    if let Some(process) = process.filter(|process| !process.is_gone()) {
        mesh.output.warn(&format!(
            "{} did not end in time and was killed",
            process.name()
        ));
        process.kill();
    }
}
