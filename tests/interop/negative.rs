//! The HTTP/2 server of gRPC's sources that breaks off, as the application behind a sidecar: its callers see what they would see
//! without one, and it finds nothing wrong with ours.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_tests::mesh::Service;
use outrigger_tests::{Mesh, settings};
use tokio::task::JoinSet;

use crate::program::{Programs, announced, run};

/// Two of the cases are large calls to a server that pads its frames, or sends as small ones without padding.
const LARGE: [&str; 2] = ["data_frame_padding", "no_df_padding_sanity_test"];

/// Padding and 5 bytes in each frame take both ends their time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the callers of one address of the server saw.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    go: Result<(), String>,
    /// Not of the large calls: C-core knows no padding and fails directly where our sidecar takes it off.
    python: Option<String>,
}

impl Seen {
    async fn of(programs: &Programs, case: &str, address: &str) -> Self {
        let python = match LARGE.contains(&case) {
            true => None,
            false => Some(codes(programs, case, address).await),
        };
        Self {
            go: as_go_wants(programs, case, address).await,
            python,
        }
    }
}

/// grpc-go's own client knows what it wants to see; what it sees instead is the error.
async fn as_go_wants(programs: &Programs, case: &str, address: &str) -> Result<(), String> {
    let client = match LARGE.contains(&case) {
        true => programs.go_client("client", address, "large_unary"),
        false => programs.go_client("http2", address, case),
    };
    let said = run(client, PATIENCE).await;
    // In front of it stand the time and a pointer.
    said.map(|_| ())
        .map_err(|said| match said.split_once(".UnaryCall() = ") {
            Some((_, code)) => code.trim().to_owned(),
            None => said,
        })
}

/// The codes of a Python client's calls.
async fn codes(programs: &Programs, case: &str, address: &str) -> String {
    let mut client = programs.python();
    client.arg(settings::root().join("tests/programs/negative_client.py"));
    client.args([address, case]);
    let said = run(client, PATIENCE).await;
    said.unwrap_or_else(|said| panic!("{case} to {address}: {said}"))
}

async fn looks_the_same(programs: Programs, case: String, direct: String, meshed: String) {
    let direct = Seen::of(&programs, &case, &direct).await;
    // grpc-go has INTERNAL for a reset whatever came before; only its test still says otherwise.
    assert!(
        case == "rst_during_data" || direct.go.is_ok(),
        "{case}, directly: {direct:?}"
    );
    let meshed = Seen::of(&programs, &case, &meshed).await;
    assert_eq!(meshed, direct, "{case}");
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// A service's name has no underscore.
fn service(case: &str) -> String {
    case.replace('_', "-")
}

#[tokio::test]
async fn c7_a_server_that_breaks_off_looks_the_same_through_the_mesh() {
    let Some(programs) = Programs::find() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut command = programs.python();
    command.arg(settings::root().join("tests/programs/negative_server.py"));
    let log = folder.path().join("log");
    let ports = |line: &str| serde_json::from_str::<BTreeMap<String, u16>>(line).ok();
    let (mut server, ports) = announced(command, &log, ports).await;
    assert_eq!(ports.len(), 8, "{ports:?}");

    let mut builder = Mesh::builder().client("web");
    for (case, port) in &ports {
        let name = service(case);
        builder = builder.service(Service::new(&name).application(&address(*port)));
    }
    builder
        .run(async |mesh| {
            let upstreams = &mesh.client_sidecar("web").addresses.upstreams;
            let mut cases = JoinSet::new();
            for (case, port) in ports {
                let meshed = upstreams[&service(&case)].clone();
                cases.spawn(looks_the_same(
                    programs.clone(),
                    case,
                    address(port),
                    meshed,
                ));
            }
            cases.join_all().await;
        })
        .await;

    // Some of its assertions are made when a connection ends; all of them have by now.
    server.terminate();
    server.wait(PATIENCE).await;
    let output = server.output();
    assert_eq!(output.lines().count(), 1, "{output}");
}
