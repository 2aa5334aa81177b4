//! gRPC's case list by clients and servers of our own (`programs/caselist`, `harness/bin/caselist`), directly and through two sidecars.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use outrigger_tests::eventually::holds;
use outrigger_tests::mesh::Service;
use outrigger_tests::sidecar::{self, Sidecar};
use outrigger_tests::{Mesh, eventually, settings};
use tokio::task::JoinSet;

use crate::official;
use crate::program::{announced, run};

mod partly;
mod stack;

use stack::{Stack, Stacks};

/// What the list has besides the official cases, of one call or a few.
const COMPRESSED: [&str; 4] = [
    "client_compressed_unary",
    "server_compressed_unary",
    "client_compressed_streaming",
    "server_compressed_streaming",
];

/// All other cases of a client together, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Calls of `long_lived_channel`, as its clients have it.
const LONG_LIVED: u32 = 8;

/// Calls of `cases` that end with OK, and with statuses that no other case has.
const OK: u64 = 14;
const ON_PURPOSE: [(&str, u64); 2] = [("UNKNOWN", 3), ("INVALID_ARGUMENT", 2)];

/// tonic's client makes a call more for each case that it cancels, and one for a stream that it cannot mix.
const OK_OF_TONIC: u64 = 3;

/// Calls of a client that it cancels or that run out of time. Where the requests end with them, an answer may come first.
const BROKEN_OFF: u64 = 3;

/// The cases of one call or a few.
fn cases() -> impl Iterator<Item = &'static str> {
    official::CASES.into_iter().chain(COMPRESSED)
}

/// How much the cases of many calls do.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    calls: u64,
    channels: u64,
    concurrent: u64,
    pause: Duration,
}

impl Sizes {
    fn chosen() -> Self {
        Self {
            calls: settings::number("OUTRIGGER_CASELIST_CALLS", 50),
            channels: settings::number("OUTRIGGER_CASELIST_CHANNELS", 10),
            concurrent: settings::number("OUTRIGGER_CASELIST_CONCURRENT", 100),
            pause: Duration::from_millis(settings::number("OUTRIGGER_CASELIST_PAUSE_MILLIS", 250)),
        }
    }

    /// Each case with its size.
    fn cases(self) -> [(&'static str, u128); 4] {
        [
            ("rpc_soak", self.calls.into()),
            ("channel_soak", self.channels.into()),
            ("concurrent_large_unary", self.concurrent.into()),
            ("long_lived_channel", self.pause.as_millis()),
        ]
    }

    /// Large calls of a client.
    fn large(self) -> u64 {
        self.calls + self.channels + self.concurrent + u64::from(LONG_LIVED)
    }

    fn patience(self) -> Duration {
        PATIENCE + Duration::from_secs(self.large() / 2) + LONG_LIVED * self.pause
    }
}

/// What a client said of each case: `ok`, `partly` or what went wrong.
type Said = BTreeMap<String, String>;

async fn said(stacks: Stacks, client: Stack, address: String, sizes: Sizes) -> Said {
    let mut command = stacks.client(client);
    command.arg(address).args(cases());
    command.args(sizes.cases().map(|(case, size)| format!("{case}={size}")));
    let output = run(command, sizes.patience()).await;
    let text = output.unwrap_or_else(|failed| failed);
    let lines = text.lines().map(|line| line.split_once(' '));
    let mut said: Said = lines
        .flatten()
        .map(|(case, said)| (case.to_owned(), said.to_owned()))
        .collect();
    for case in cases().chain(sizes.cases().map(|(case, _)| case)) {
        let missing = || format!("nothing was said of it, but: {text}");
        said.entry(case.to_owned()).or_insert_with(missing);
    }
    said
}

/// Fails unless each client says of each case what the table wants. They run at the same time.
async fn pass(stacks: &Stacks, server: Stack, way: &str, addresses: &BTreeMap<Stack, String>) {
    let sizes = Sizes::chosen();
    let mut clients = JoinSet::new();
    for (client, address) in addresses {
        let (stacks, client, address) = (stacks.clone(), *client, address.clone());
        clients.spawn(async move { (client, said(stacks, client, address, sizes).await) });
    }
    let mut wrong = Vec::new();
    for (client, said) in clients.join_all().await {
        for (case, said) in said {
            let (wanted, why) = partly::wanted(client, server, &case);
            if said != wanted {
                wrong.push(format!(
                    "{client:?}: {case}: {said} (wanted: {wanted}{why})"
                ));
            }
        }
    }
    let count = wrong.len();
    let wrong = wrong.join("\n");
    assert_eq!(count, 0, "to {server:?}, {way}:\n{wrong}");
}

/// Fails unless the calls came in over mTLS and ended there as their clients saw it.
async fn came_once(sidecar: &Sidecar) {
    let clients = Stack::ALL.len() as u64;
    let least = clients * (OK + Sizes::chosen().large()) + OK_OF_TONIC;
    let ok = least..=least + clients * BROKEN_OFF;
    eventually("the sidecar counts each call once", async || {
        let (_, text) = sidecar.health("/metrics").await?;
        let ended = |code: &str| {
            let label = format!("grpc_status=\"{code}\"");
            sidecar::metric(&text, "grpc_server_call_duration_seconds_count", &[&label])
        };
        let exact = |(code, of_each): &(&str, u64)| ended(code) == Some((clients * of_each) as f64);
        let right = ON_PURPOSE.iter().all(exact)
            && ended("OK").is_some_and(|calls| ok.contains(&(calls as u64)));
        holds(right, format!("{ok:?} with OK: {text}"))
    })
    .await;
}

/// Fails if more calls came in than the clients' sidecars sent, or these sent more than their applications began.
async fn none_was_repeated(mesh: &Mesh) {
    let (mut begun, mut sent) = (0.0, 0.0);
    for client in Stack::ALL {
        let sidecar = mesh.client_sidecar(client.name());
        let calls = sidecar.metric("grpc_client_call_duration_seconds_count", &[]);
        begun += calls.await.unwrap();
        let attempts = sidecar.metric("grpc_client_attempt_started_total", &[]);
        sent += attempts.await.unwrap();
    }
    let came = mesh
        .sidecar("cases")
        .metric("grpc_server_call_started_total", &[]);
    let came = came.await.unwrap();
    assert!(came <= sent && sent <= begun, "{came} of {sent} of {begun}");
}

/// Each client has a sidecar of its own: the cases let servers fail on purpose, which a breaker counts.
async fn passes_with_every_client(server: Stack) {
    let Some(stacks) = Stacks::find() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let address = |line: &str| line.strip_suffix('\n')?.parse::<SocketAddr>().ok();
    let (mut process, address) = announced(stacks.server(server), &log, address).await;
    let address = address.to_string();

    let direct = Stack::ALL.map(|client| (client, address.clone())).into();
    pass(&stacks, server, "directly", &direct).await;

    let mut mesh = Mesh::builder().service(Service::new("cases").application(&address));
    for client in Stack::ALL {
        mesh = mesh.client(client.name());
    }
    mesh.run(async |mesh| {
        let upstream = |client: Stack| {
            let sidecar = mesh.client_sidecar(client.name());
            (client, sidecar.addresses.upstreams["cases"].clone())
        };
        let meshed = Stack::ALL.map(upstream).into();
        pass(&stacks, server, "through the mesh", &meshed).await;
        came_once(mesh.sidecar("cases")).await;
        none_was_repeated(mesh).await;
    })
    .await;
    process.assert_running();
}

#[tokio::test]
async fn c5_every_case_of_python_node_and_tonic_passes_with_a_server_of_python() {
    passes_with_every_client(Stack::Python).await;
}

#[tokio::test]
async fn c5_every_case_of_python_node_and_tonic_passes_with_a_server_of_tonic() {
    passes_with_every_client(Stack::Tonic).await;
}
