//! Those who are called flood their caller's sidecar: the application behind it, and a callee in the mesh.

use std::time::Duration;

use outrigger_tests::alone::alone;
use outrigger_tests::client::Call;
use outrigger_tests::eventually::holds;
use outrigger_tests::figure::tell;
use outrigger_tests::flood::{Family, Flooder};
use outrigger_tests::footprint::Footprint;
use outrigger_tests::good::Good;
use outrigger_tests::mesh::Service;
use outrigger_tests::raw::{self, END_HEADERS, frame, kind};
use outrigger_tests::sidecar::Sidecar;
use outrigger_tests::tls::{self, Gate};
use outrigger_tests::upstream::Address;
use outrigger_tests::{Client, Mesh, eventually, scripted};
use tokio::time::Instant;
use tonic::Code;

use super::{AT_ONCE, MIB, Size, peak_of};
use crate::ECHO;

/// How long its caller waits for an answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// How the caller may hear of it: nobody is to believe that all went well.
const CODES: [Code; 5] = [
    Code::Internal,
    Code::Unavailable,
    Code::DeadlineExceeded,
    Code::ResourceExhausted,
    Code::Unknown,
];

/// By which words the client side ends the connection; without any it may bear it.
type Ended = &'static [&'static str];

fn many(each: &[u8]) -> Vec<u8> {
    each.repeat(256)
}

fn nothing(_: u32) -> Vec<u8> {
    Vec::new()
}

fn early(stream: u32) -> Vec<u8> {
    let block = raw::block(&[(":status", "103"), ("link", "</a>")]);
    frame(kind::HEADERS, END_HEADERS, stream, &block)
}

/// A field of 3.9 KB, once; then its place in the table, 4,000 times.
fn bomb(stream: u32) -> Vec<u8> {
    let value = [b'v'; 3900];
    let mut block = vec![0x88, 0x40, 1, b'x', 127, 0xbd, 0x1d];
    block.extend(value);
    block.extend([0xbe; 4000]);
    frame(kind::HEADERS, END_HEADERS, stream, &block)
}

const fn family(
    name: &'static str,
    opening: fn(u32) -> Vec<u8>,
    volley: fn(u32) -> Vec<u8>,
) -> Family {
    Family {
        name,
        opening,
        volley,
    }
}

fn families() -> Vec<(Family, Ended)> {
    [&of_connections()[..], &of_streams()[..]].concat()
}

fn of_connections() -> [(Family, Ended); 11] {
    [
        (
            family("pings", nothing, |_| {
                many(&frame(kind::PING, 0, 0, &[7; 8]))
            }),
            &["too_many_pings"],
        ),
        (
            family("settings", nothing, |_| {
                many(&frame(kind::SETTINGS, 0, 0, &[]))
            }),
            &["too_many_settings"],
        ),
        (
            family("unknown frames", nothing, |_| many(&frame(0x1f, 0, 0, &[]))),
            &["too_many_unknown_frames"],
        ),
        (
            family("priorities", nothing, |stream| {
                many(&frame(kind::PRIORITY, 0, stream, &[0; 5]))
            }),
            &["too_many_priorities"],
        ),
        (
            family("window updates", nothing, |_| {
                many(&raw::window_update(0, 1))
            }),
            &["too_many_window_updates", "a window above 2^31 - 1"],
        ),
        (
            family("goaways", nothing, |_| many(&raw::goaway(1, 0))),
            &["too_many_unknown_frames"],
        ),
        (
            family("answers to no ping", nothing, |_| {
                many(&frame(kind::PING, raw::ACK, 0, &[7; 8]))
            }),
            &["too_many_unknown_frames"],
        ),
        (
            family("frames of no size", |_| raw::settings(&[(5, 0)]), nothing),
            &["SETTINGS_MAX_FRAME_SIZE is not within 2^14 and 2^24 - 1"],
        ),
        (
            family("no streams", |_| raw::settings(&[(3, 0)]), nothing),
            &[],
        ),
        (
            family("a window too wide", nothing, |_| {
                raw::window_update(0, (1 << 31) - 1)
            }),
            &["a window above 2^31 - 1"],
        ),
        (
            family("a push", nothing, |stream| {
                frame(kind::PUSH_PROMISE, END_HEADERS, stream, &[0, 0, 0, 2])
            }),
            &["nobody may push: we never allow it"],
        ),
    ]
}

fn of_streams() -> [(Family, Ended); 9] {
    [
        (
            family("empty frames", scripted::head, |stream| {
                many(&frame(kind::DATA, 0, stream, &[]))
            }),
            &["too_many_data_frames"],
        ),
        (
            family("tiny frames", scripted::head, |stream| {
                many(&frame(kind::DATA, 0, stream, &[0]))
            }),
            &[],
        ),
        (
            family("oversize frames", scripted::head, |stream| {
                frame(kind::DATA, 0, stream, &[0; 16_385])
            }),
            &["a frame larger than we allow"],
        ),
        (
            family(
                "continuations",
                |stream| frame(kind::HEADERS, 0, stream, &[]),
                |stream| many(&frame(kind::CONTINUATION, 0, stream, &[])),
            ),
            &["too_many_continuations"],
        ),
        (
            family("1xx heads", nothing, |stream| many(&early(stream))),
            &[],
        ),
        (
            family("resets", scripted::head, |stream| {
                many(&raw::reset(stream, 2))
            }),
            &[],
        ),
        (
            family("a bomb of references", bomb, nothing),
            &["header_list_way_too_large"],
        ),
        (
            family("heads again and again", scripted::head, |stream| {
                many(&scripted::head(stream))
            }),
            &[],
        ),
        (
            family("more than the window", scripted::head, |stream| {
                frame(kind::DATA, 0, stream, &[0; 16_000])
            }),
            &[],
        ),
    ]
}

/// Who is flooded, and by whom.
struct Target<'a> {
    name: &'static str,
    sidecar: &'a Sidecar,
    flooder: &'a Flooder,
    client: Client,
    service: &'static str,
}

impl Target<'_> {
    fn call(&self) -> Call {
        let deadline = format!("{}m", DEADLINE.as_millis());
        Call::new(self.service, ECHO).header("grpc-timeout", &deadline)
    }

    async fn meets(&self, family: Family, ended: Ended, size: Size) {
        let what = format!("{} towards {}", family.name, self.name);
        self.becomes_calm(&what).await;
        let before = Footprint::of(self.sidecar.pid());
        self.flooder.floods(Some(family));
        let begun = Instant::now();
        let (peak, answer) = peak_of(self.sidecar.pid(), async {
            let mut answer = self.client.call(self.call()).await;
            // The connection that was left when the last family ended may be found out by the first call.
            while self.flooder.seen().flooded == 0 && begun.elapsed() < 10 * DEADLINE {
                answer = self.client.call(self.call()).await;
            }
            answer
        })
        .await;
        if !ended.is_empty() {
            eventually(&format!("{what} are ended"), async || {
                let seen = self.flooder.seen();
                holds(!seen.ended.is_empty(), format!("{seen:?}"))
            })
            .await;
        }
        let seen = self.flooder.seen();
        let after = Footprint::of(self.sidecar.pid());
        tell(&format!(
            "b1 {what}: {:+} KiB, {:?} busy, {} {:?}, {seen:?}",
            peak.saturating_sub(before.resident) / 1024,
            after.busy - before.busy,
            answer.summary(),
            begun.elapsed(),
        ));
        assert!(seen.flooded > 0, "{what}: it was never called");
        assert!(
            CODES.contains(&answer.code()),
            "{what}: {}",
            answer.summary()
        );
        let grown = peak.saturating_sub(before.resident) / MIB;
        assert!(grown < 64, "{what}: {grown} MiB");
        if !ended.is_empty() {
            let allowed = |how: &String| how == "(closed)" || ended.contains(&&**how);
            assert!(seen.ended.keys().all(allowed), "{what}: {seen:?}");
            assert!(seen.longest <= AT_ONCE * size.slack, "{what}: {seen:?}");
        }
    }

    /// It answers, and is called again: what it did is not held against it for ever.
    async fn becomes_calm(&self, what: &str) {
        self.flooder.floods(None);
        eventually(&format!("calm before {what}"), async || {
            let answer = self.client.call(self.call()).await;
            holds(answer.code() == Code::Ok, answer.summary())
        })
        .await;
    }
}

/// B1, towards our client side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_who_is_called_cannot_harm_its_callers_sidecar() {
    let _alone = alone().await;
    let size = Size::of_this_run();
    let (application, callee) = (Flooder::start(), Flooder::start());
    let evil = Service::new("evil").application(&application.address);
    Mesh::builder()
        .service("orders")
        .service(evil.edge())
        .service(Service::new("mean").instances(0))
        .client("web")
        .run(async |mesh| {
            let identity = tls::issued(&mesh.registry, "mean").await;
            let gate = Gate::before(&callee.address, identity).await;
            mesh.register("mean", &gate.address).await;
            let (evil, web) = (mesh.sidecar("evil"), mesh.client_sidecar("web"));
            let edge = evil.addresses.edge.as_ref().unwrap();
            let targets = [
                Target {
                    name: "the sidecar before it",
                    sidecar: evil,
                    flooder: &application,
                    client: Client::new(Address::parse(edge)),
                    service: "evil",
                },
                Target {
                    name: "its caller in the mesh",
                    sidecar: web,
                    flooder: &callee,
                    client: mesh.client("web"),
                    service: "mean",
                },
            ];
            for target in &targets {
                let good = Good::start(&mesh.client("web"));
                for (family, ended) in families() {
                    target.meets(family, ended, size).await;
                }
                target.becomes_calm("all is over").await;
                good.stop(target.name).await;
            }
        })
        .await;
}
