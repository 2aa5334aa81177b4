//! Exchanges through two sidecars, between a caller and an application that both are written by hand: what one of them says has to
//! reach the other in its order, whenever it is said.

/// The lines.
mod table;

use std::sync::Arc;
use std::time::Duration;

use outrigger_tests::mesh::Service;
use outrigger_tests::raw::{self, Application, Frame, Raw, Script, block, frame, kind};
use outrigger_tests::{Mesh, grpc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::answers::UNHURRIED;
use crate::case::{STREAM, Step};
use crate::frames::{self, OPEN, data};
use table::exchanges;

/// Nothing takes longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// One line of the table.
struct Exchange {
    /// Also the script's name, which the call's first message says.
    id: &'static str,
    does: &'static str,
    /// What the caller does behind its head and first message.
    caller: fn() -> Vec<Step>,
    application: Script,
    /// What the caller has to see.
    sees: &'static str,
    /// What the application has to hear.
    hears: &'static str,
}

/// The caller's head and first message; the request goes on.
fn call(id: &str) -> Vec<u8> {
    let head = block(&raw::grpc("orders", "/test.Wire/Call"));
    let message = grpc::frame(id.as_bytes());
    [
        frame(kind::HEADERS, OPEN, STREAM, &head),
        data(STREAM, 0, &message),
    ]
    .concat()
}

/// What came on the stream, in words.
fn seen(frames: &[Frame]) -> String {
    let mut words = Vec::new();
    let mut bytes = 0;
    for frame in frames.iter().filter(|frame| frame.stream == STREAM) {
        if frame.kind == kind::DATA {
            bytes += frame.payload.len();
            continue;
        }
        let word = match (frame.reset(), frame.fields.is_empty()) {
            (Some(code), _) => format!("reset {code}"),
            (None, false) => fields_seen(frame),
            (None, true) => continue,
        };
        if bytes > 0 {
            words.push(format!("{bytes} bytes"));
            bytes = 0;
        }
        words.push(word);
    }
    if bytes > 0 {
        words.push(format!("{bytes} bytes"));
    }
    words.join(", ")
}

fn fields_seen(frame: &Frame) -> String {
    let (long, _) = frames::long();
    let more = frame.fields.iter().filter(|(name, _)| name == long);
    let more: usize = more.map(|(_, value)| value.len()).sum();
    let mut words = Vec::new();
    words.extend(frame.field(":status").map(str::to_owned));
    words.extend(
        frame
            .field("grpc-status")
            .map(|status| format!("status {status}")),
    );
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    words.join(" ")
}

impl Exchange {
    /// What the caller saw.
    async fn run(&self, address: &str) -> String {
        let mut raw = Raw::connect(address).await;
        raw.send(&call(self.id)).await;
        let mut frames = Vec::new();
        let acting = async {
            for step in (self.caller)() {
                match step {
                    Step::Send(bytes) => raw.send(&bytes).await,
                    Step::Until(is_it) => {
                        while let Some(frame) = raw.next().await {
                            let found = is_it(&frame);
                            frames.push(frame);
                            if found {
                                break;
                            }
                        }
                    }
                    Step::Greet | Step::Beyond(_) => unreachable!("no exchange does"),
                }
            }
            while seen(&frames) != self.sees
                && let Some(frame) = raw.next().await
            {
                frames.push(frame);
            }
        };
        let in_time = timeout(PATIENCE, acting).await.is_ok();
        // Nothing follows, and the connection is as it was.
        match in_time {
            true => frames.extend(raw.is_alive().await.expect("the connection lives")),
            false => return format!("{} and nothing more", seen(&frames)),
        }
        seen(&frames)
    }
}

#[tokio::test]
async fn c12_exchanges_through_two_sidecars_are_what_both_ends_said() {
    let exchanges = Arc::new(exchanges());
    assert!(exchanges.len() >= 25, "{}", exchanges.len());
    let scripts = exchanges.iter().map(|line| (line.id, line.application));
    let application = Application::start(scripts.collect::<Vec<_>>()).await;
    Mesh::builder()
        .service(Service::new("orders").application(&application.address))
        .client("web")
        .settings(UNHURRIED)
        .run(async |mesh| {
            let outbound = &mesh.client_sidecar("web").addresses.upstreams["orders"];
            let mut running = JoinSet::new();
            for index in 0..exchanges.len() {
                let (exchanges, outbound) = (exchanges.clone(), outbound.clone());
                running.spawn(async move {
                    let line = &exchanges[index];
                    (index, line.run(&outbound).await)
                });
            }
            let mut failures = Vec::new();
            for (index, saw) in running.join_all().await {
                let line = &exchanges[index];
                if saw != line.sees {
                    failures.push(format!(
                        "{} ({}): the caller saw {saw:?}",
                        line.id, line.does
                    ));
                }
            }
            for line in exchanges.iter() {
                let heard = application.heard(line.id);
                if heard != line.hears {
                    failures.push(format!(
                        "{} ({}): the application heard {heard:?}",
                        line.id, line.does
                    ));
                }
            }
            assert!(failures.is_empty(), "{}", failures.join("\n"));
        })
        .await;
}
