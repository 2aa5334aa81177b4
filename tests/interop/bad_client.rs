//! The bad clients that C-core's own tests send against its server (`test/core/bad_client` of gRPC's sources), against the sidecar's
//! listener for its own application and the one that faces the public; those beside them notice nothing.

mod case;

use std::time::Duration;

use outrigger_tests::client::Call;
use outrigger_tests::load::Load;
use outrigger_tests::mesh::Service;
use outrigger_tests::raw::{Frame, Raw, frame, kind};
use outrigger_tests::upstream::Address;
use outrigger_tests::{Client, Mesh};
use tokio::task::JoinSet;
use tokio::time::timeout;

use case::Outcome;

/// The preface's beginnings, each of which another byte ends.
const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An answer takes no longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// SETTINGS_HEADER_TABLE_SIZE of 0: what comes back is spelled out.
const NO_TABLE: &[u8] = &[0, 1, 0, 0, 0, 0];

/// `grpc-status` as the sidecar codes a name (RFC 7541, 5.2), with its length.
const GRPC_STATUS: &[u8] = b"\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f";

fn digits(text: &[u8]) -> Option<u32> {
    let (length, behind) = text.split_first()?;
    let digits = behind.get(..usize::from(*length))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The status in a block of fields without references to a table.
fn grpc_status(block: &[u8]) -> Option<u32> {
    let mut windows = block.windows(GRPC_STATUS.len());
    let at = windows.position(|window| window == GRPC_STATUS)?;
    digits(block.get(at + GRPC_STATUS.len()..)?)
}

/// `:status` whose value is a literal: its index in the static table is 8.
fn http_status(block: &[u8]) -> Option<u32> {
    // In front of it the table's size may be told (RFC 7541, 6.3).
    let block = block.strip_prefix(b"\x20").unwrap_or(block);
    let (first, behind) = block.split_first()?;
    matches!(first, 0x08 | 0x18 | 0x48).then(|| digits(behind))?
}

/// What a frame means for the client that waits for it; `None` if nothing.
fn outcome(frame: &Frame) -> Option<Outcome> {
    if let Some((_, code, _)) = frame.goaway() {
        return Some(Outcome::Goaway(code));
    }
    if let Some(code) = frame.reset() {
        return Some(Outcome::Reset(frame.stream, code));
    }
    if frame.kind != kind::HEADERS {
        return None;
    }
    let status = grpc_status(&frame.payload).map(|code| Outcome::Status(frame.stream, code));
    status.or_else(|| Some(Outcome::Http(frame.stream, http_status(&frame.payload)?)))
}

/// All that becomes of a client that sends these bytes, until the outcome that is expected and, unless it is the end of the
/// connection, an answered ping behind it.
async fn seen(address: &str, bytes: &[u8], expected: Outcome) -> Vec<Outcome> {
    let mut raw = Raw::connect(address).await;
    raw.send(&frame(kind::SETTINGS, 0, 0, NO_TABLE)).await;
    raw.send(bytes).await;
    let mut seen = Vec::new();
    let reading = async {
        match expected {
            Outcome::Leaves => return seen.push(Outcome::Leaves),
            Outcome::Alive => {}
            Outcome::Goaway(_) => {
                while let Some(frame) = raw.next().await {
                    seen.extend(outcome(&frame));
                }
                return seen.push(Outcome::Closed);
            }
            _ => {
                raw.until(|frame| {
                    seen.extend(outcome(frame));
                    seen.contains(&expected)
                })
                .await;
            }
        }
        match raw.is_alive().await {
            Ok(frames) => seen.extend(frames.iter().filter_map(outcome).chain([Outcome::Alive])),
            Err(goodbye) => {
                seen.extend(goodbye.map(|(_, code, _)| Outcome::Goaway(code)));
                seen.push(Outcome::Closed);
            }
        }
    };
    // What was not seen by then is missing.
    let _ = timeout(PATIENCE, reading).await;
    seen
}

/// Whether it is what was expected, and nothing worse.
fn agrees(seen: &[Outcome], expected: Outcome) -> bool {
    let last = match expected {
        Outcome::Goaway(_) => Outcome::Closed,
        Outcome::Leaves => Outcome::Leaves,
        _ => Outcome::Alive,
    };
    let worse = |outcome: &Outcome| {
        matches!(outcome, Outcome::Reset(..) | Outcome::Goaway(_)) && *outcome != expected
    };
    seen.contains(&expected) && seen.last() == Some(&last) && !seen.iter().any(worse)
}

/// A connection that begins with anything but the preface ends, and never with a word of HTTP/2.
async fn ends_without_preface(address: String, beginning: String) -> Result<(), String> {
    let mut raw = Raw::silent(&address).await;
    raw.send(beginning.as_bytes()).await;
    match timeout(PATIENCE, raw.next()).await {
        Ok(None) => Ok(()),
        other => Err(format!("{beginning:?}: {other:?}")),
    }
}

/// The lines of a list whose outcome is another one.
async fn wrong(listener: &str, address: &str, not_grpc: Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    for (family, cases) in case::list(not_grpc) {
        for (what, bytes, expected) in cases {
            let seen = seen(address, &bytes, expected).await;
            if !agrees(&seen, expected) {
                wrong.push(format!(
                    "{listener}: {family}: {what}: {seen:?}, not {expected:?}"
                ));
            }
        }
    }
    let mut beginnings = JoinSet::new();
    for length in 0..PREFACE.len() {
        let beginning = format!("{}X", PREFACE.get(..length).unwrap_or_default());
        beginnings.spawn(ends_without_preface(address.to_owned(), beginning));
    }
    for ended in beginnings.join_all().await {
        wrong.extend(ended.err());
    }
    wrong
}

#[tokio::test]
async fn c8_each_bad_client_of_the_list_meets_what_it_should_and_nobody_else_notices() {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .client("web")
        .settings("[limits.connect]\npreface = \"1s\"\n")
        .run(async |mesh| {
            let edge = mesh.sidecar("orders").addresses.edge.clone().unwrap();
            let upstreams = &mesh.client_sidecar("web").addresses.upstreams;
            let beside = [mesh.client("web"), Client::new(Address::parse(&edge))];
            let load = Load::start(50, move |n| {
                let client = beside.iter().cycle().nth(n as usize % 2).unwrap();
                (client.clone(), Call::new("orders", "/test.Echo/Echo"))
            });
            // Once in a sidecar, what is not gRPC is for the application to refuse.
            let mut found = wrong("outbound", &upstreams["orders"], Outcome::Http(1, 415)).await;
            found.extend(wrong("edge", &edge, Outcome::Status(1, 0)).await);
            load.stop().await.expect_no_failures();
            assert!(found.is_empty(), "{}", found.join("\n"));
        })
        .await;
}
