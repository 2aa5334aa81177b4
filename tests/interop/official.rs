//! The official cases of gRPC interop: grpc-go and C-core, each as client and as server, directly and through two sidecars.

use std::time::Duration;

use outrigger_tests::mesh::Service;
use outrigger_tests::{Mesh, settings};

use crate::program::{Programs, Server, run};

/// The cases that need neither TLS nor credentials of a cloud.
pub(crate) const CASES: [&str; 14] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
];

/// All cases of a client together, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often two that are not ours may try among themselves.
const TRIES: u32 = 3;

/// The cases that did not pass, each with what its client said.
async fn failures_of_go(programs: &Programs, address: &str) -> Vec<String> {
    let mut failures = Vec::new();
    for case in CASES {
        let client = programs.go_client("client", address, case);
        if let Err(said) = run(client, PATIENCE).await {
            failures.push(format!("{case}: {said}"));
        }
    }
    failures
}

/// Python starts slowly, so one process makes all of them.
async fn failures_of_python(programs: &Programs, address: &str) -> Vec<String> {
    let mut client = programs.python();
    client.arg(settings::root().join("tests/programs/interop_client.py"));
    client.arg(address).args(CASES);
    let said = run(client, PATIENCE).await.unwrap_or_else(|failed| failed);
    let passed = |case: &&str| said.lines().any(|line| line == format!("{case} ok"));
    let failed = CASES.iter().filter(|case| !passed(case));
    failed.map(|case| format!("{case}: {said}")).collect()
}

#[derive(Debug, Clone, Copy)]
enum Stack {
    Go,
    Python,
}

async fn failures_of(programs: &Programs, client: Stack, address: &str) -> Vec<String> {
    match client {
        Stack::Go => failures_of_go(programs, address).await,
        Stack::Python => failures_of_python(programs, address).await,
    }
}

/// Where a deadline of 1 ms passes at the server before it passes at the client, grpc-go resets the stream and C-core calls that CANCELLED:
/// what they do without us is only to show that a case can pass.
async fn passes_directly(programs: &Programs, client: Stack, server: &str, address: &str) {
    for _ in 1..TRIES {
        if failures_of(programs, client, address).await.is_empty() {
            return;
        }
    }
    passes(programs, client, server, address).await;
}

/// Fails unless every case of a client passes.
async fn passes(programs: &Programs, client: Stack, server: &str, address: &str) {
    let failures = failures_of(programs, client, address).await;
    assert!(
        failures.is_empty(),
        "{client:?} to {server}: {} of {} failed:\n{}",
        failures.len(),
        CASES.len(),
        failures.join("\n")
    );
}

/// Each client has a sidecar of its own: the cases let servers fail on purpose, which a breaker counts.
#[tokio::test]
async fn c4_go_and_python_pass_every_official_case_with_each_other_directly_and_through_the_mesh() {
    let Some(programs) = Programs::find() else {
        return;
    };
    let clients = [("go-client", Stack::Go), ("python-client", Stack::Python)];
    let (mut go, mut python) = Server::both(&programs).await;
    for (name, server) in [("go, directly", &go), ("python, directly", &python)] {
        for (_, client) in clients {
            passes_directly(&programs, client, name, &server.address).await;
        }
    }
    Mesh::builder()
        .service(Service::new("go").application(&go.address))
        .service(Service::new("python").application(&python.address))
        .client("go-client")
        .client("python-client")
        .run(async |mesh| {
            for (name, client) in clients {
                for (service, upstream) in &mesh.client_sidecar(name).addresses.upstreams {
                    passes(&programs, client, service, upstream).await;
                }
            }
            // Both clients' calls came in over mTLS, one or more a case.
            for service in ["go", "python"] {
                let sidecar = mesh.sidecar(service);
                let calls = sidecar.metric("grpc_server_call_started_total", &[]).await;
                let least = 2 * CASES.len();
                assert!(calls >= Some(least as f64), "{service}: {calls:?}");
            }
        })
        .await;
    go.assert_running();
    python.assert_running();
}
