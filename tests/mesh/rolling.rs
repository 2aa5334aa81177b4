//! Everything is replaced, one after the other, while calls come by the clock: no call fails, and a stream ends by its grace alone.

use std::sync::{Arc, Mutex};

use outrigger_tests::client::{Call, Stream};
use outrigger_tests::eventually::reached;
use outrigger_tests::figure::tell;
use outrigger_tests::load::Load;
use outrigger_tests::mesh::Service;
use outrigger_tests::sidecar::Sidecar;
use outrigger_tests::upstream::Address;
use outrigger_tests::{Client, Mesh, eventually, settings};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::ECHO;

/// Who the public talks to: what balances the load of a gateway's instances.
#[derive(Clone)]
struct Front(Arc<Mutex<Client>>);

impl Front {
    fn to(sidecar: &Sidecar) -> Self {
        Self(Arc::new(Mutex::new(public(sidecar))))
    }

    fn client(&self) -> Client {
        self.0.lock().unwrap().clone()
    }

    fn moves_to(&self, sidecar: &Sidecar) {
        *self.0.lock().unwrap() = public(sidecar);
    }
}

fn public(sidecar: &Sidecar) -> Client {
    Client::new(Address::parse(sidecar.addresses.edge.as_ref().unwrap()))
}

/// Conversations that go on until they are ended from outside; then a new one takes its place.
struct Streams {
    stop: CancellationToken,
    running: JoinSet<(u64, Vec<String>)>,
}

impl Streams {
    fn start(client: &Client, count: u64) -> Self {
        let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
        for _ in 0..count {
            running.spawn(talk(client.clone(), stop.clone()));
        }
        Self { stop, running }
    }

    /// How many were cut; panics if one ended otherwise.
    async fn stop(self) -> u64 {
        self.stop.cancel();
        let ends = self.running.join_all().await;
        let wrong: Vec<_> = ends.iter().flat_map(|(_, wrong)| wrong).collect();
        assert!(
            wrong.is_empty(),
            "{} streams ended otherwise: {}",
            wrong.len(),
            wrong[0]
        );
        ends.iter().map(|(cut, _)| cut).sum()
    }
}

async fn talk(client: Client, stop: CancellationToken) -> (u64, Vec<String>) {
    let (mut cut, mut wrong) = (0, Vec::new());
    while !stop.is_cancelled() {
        let call = Call::new("orders", "/test.Echo/Bidi");
        let Ok(mut stream) = client.open(&call).await else {
            wrong.push("it could not be opened".to_owned());
            break;
        };
        stream.message(b"x").await;
        if stream.next().await.is_none() {
            wrong.push("it ended before it began".to_owned());
            continue;
        }
        let Some(answer) = ended(stream, &stop).await else {
            break;
        };
        let pushback = answer.field("grpc-retry-pushback-ms");
        match (answer.code(), answer.reason(), pushback) {
            (Code::Unavailable, "cut", Some("0")) => cut += 1,
            _ => wrong.push(answer.summary()),
        }
    }
    (cut, wrong)
}

/// `None` if the test was over first.
async fn ended(stream: Stream, stop: &CancellationToken) -> Option<outrigger_tests::Answer> {
    tokio::select! {
        answer = stream.finish() => Some(answer),
        () = stop.cancelled() => None,
    }
}

/// A new instance comes, the oldest one goes.
async fn replace(mesh: &mut Mesh, service: &Service, oldest: usize, front: Option<&Front>) {
    mesh.start(service).await;
    let sidecar = mesh.instance(&service.name, oldest).sidecar.take().unwrap();
    sidecar.begin_drain();
    if let Some(front) = front {
        eventually("the front sees that it leaves", async || {
            match sidecar.health("/ready").await {
                Ok((200, _)) => Err("ready"),
                _ => Ok(()),
            }
        })
        .await;
        front.moves_to(
            mesh.instance(&service.name, oldest + 1)
                .sidecar
                .as_ref()
                .unwrap(),
        );
    }
    sidecar.end().await;
}

/// D5. `OUTRIGGER_ROLLING_ROUNDS` (a full run: 3), `OUTRIGGER_ROLLING_RATE` calls a second (500), `OUTRIGGER_ROLLING_STREAMS` (100), and each
/// round is stretched to `OUTRIGGER_ROLLING_SECONDS` (40). Its methods are of an unknown class, so that only what provably never ran is
/// repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d5_everything_is_replaced_without_a_failed_call() {
    let rounds = settings::number("OUTRIGGER_ROLLING_ROUNDS", 1) as usize;
    let rate = settings::number("OUTRIGGER_ROLLING_RATE", 60);
    let count = settings::number("OUTRIGGER_ROLLING_STREAMS", 10);
    let lasts = settings::seconds("ROLLING", 0);
    let (orders, gateway) = (Service::new("orders"), Service::new("gateway").edge());
    Mesh::builder()
        .service(orders.clone().instances(2))
        .service(gateway.clone().instances(2))
        .client("web")
        .settings("[drain]\npropagation = \"1s\"\ngrace = \"3s\"")
        .run(async |mesh| {
            let web = mesh.client("web");
            let front = Front::to(mesh.instance("gateway", 0).sidecar.as_ref().unwrap());
            let streams = Streams::start(&web, count);
            let (caller, public) = (web.clone(), front.clone());
            let load = Load::start(rate, move |number| match number % 3 {
                0 => (public.client(), Call::new("gateway", ECHO)),
                1 => (caller.clone(), Call::new("gateway", ECHO)),
                _ => (caller.clone(), Call::new("orders", ECHO)),
            });
            for round in 0..rounds {
                let begun = tokio::time::Instant::now();
                for instance in 0..2 {
                    replace(mesh, &orders, 2 * round + instance, None).await;
                    replace(mesh, &gateway, 2 * round + instance, Some(&front)).await;
                }
                mesh.registry.stop().await;
                mesh.registry.start().await;
                reached(begun + lasts).await;
            }
            let report = load.stop().await;
            let cut = streams.stop().await;
            tell(&format!(
                "d5: {rounds} rounds, {} calls, {cut} streams cut",
                report.calls
            ));
            report.expect_no_failures();
        })
        .await;
}
