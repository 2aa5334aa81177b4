//! The official soaks of gRPC interop through two sidecars: large calls over one channel, and a channel for each of them.

use std::time::Duration;

use outrigger_tests::mesh::Service;
use outrigger_tests::{Mesh, settings};

use crate::program::{Programs, Server, run};

const THREADS: u64 = 10;

/// Bytes of `large_unary`, which the soaks repeat.
const REQUEST: u64 = 271_828;
const RESPONSE: u64 = 314_159;

/// No call takes longer on a busy machine; one that hangs does.
const SLOWEST: Duration = Duration::from_secs(20);

/// Fails unless every call of a soak succeeds.
async fn soak(programs: &Programs, address: &str, case: &str, calls: u64) {
    let bound = Duration::from_secs(60 + calls);
    let mut client = programs.go_client("client", address, case);
    for (flag, value) in [
        ("-soak_iterations", calls),
        ("-soak_num_threads", THREADS),
        ("-soak_max_failures", 0),
        ("-soak_request_size", REQUEST),
        ("-soak_response_size", RESPONSE),
        ("-soak_overall_timeout_seconds", bound.as_secs()),
    ] {
        client.args([flag, &value.to_string()]);
    }
    let slowest = SLOWEST.as_millis().to_string();
    client.args(["-soak_per_iteration_max_acceptable_latency_ms", &slowest]);
    let said = run(client, bound + SLOWEST).await;
    let whole = format!("soak test successes: {calls} / {calls} iterations. Total failures: 0.");
    assert!(
        said.as_ref().is_ok_and(|said| said.contains(&whole)),
        "{case} to {address}: {}",
        said.unwrap_or_else(|failed| failed)
    );
}

/// `OUTRIGGER_SOAK_CALLS` (of the full run: 10000) and `OUTRIGGER_SOAK_CHANNELS` (1000) are multiples of ten.
#[tokio::test]
async fn c6_no_call_of_rpc_soak_and_channel_soak_fails() {
    let Some(programs) = Programs::find() else {
        return;
    };
    let calls = settings::number("OUTRIGGER_SOAK_CALLS", 200);
    let channels = settings::number("OUTRIGGER_SOAK_CHANNELS", 50);
    let (mut go, mut python) = Server::both(&programs).await;
    soak(&programs, &go.address, "rpc_soak", THREADS).await;
    Mesh::builder()
        .service(Service::new("go").application(&go.address))
        .service(Service::new("python").application(&python.address))
        .client("web")
        .run(async |mesh| {
            let web = mesh.client_sidecar("web");
            for (service, upstream) in &web.addresses.upstreams {
                for (case, count) in [("rpc_soak", calls), ("channel_soak", channels)] {
                    soak(&programs, upstream, case, count).await;
                }
                let sidecar = mesh.sidecar(service);
                let came = sidecar.metric("grpc_server_call_started_total", &[]).await;
                let made = (calls + channels) as f64;
                assert_eq!(came, Some(made), "{service}: each call once");
            }
        })
        .await;
    go.assert_running();
    python.assert_running();
}
