//! GOAWAY in two steps, seen on the wire: nothing that was opened before the second one is lost, nothing above it is taken.

use outrigger_tests::eventually::holds;
use outrigger_tests::raw::{self, ACK, END_HEADERS, END_STREAM, Frame, Raw, frame, kind};
use outrigger_tests::{Mesh, eventually, settings, tls};

const LARGEST: u32 = (1 << 31) - 1;
const NO_ERROR: u32 = 0;
/// In progress in each drain.
const CALLS: u32 = 50;

fn call(stream: u32) -> Vec<u8> {
    let block = raw::block(&raw::grpc("orders", crate::ECHO));
    let head = frame(kind::HEADERS, END_HEADERS, stream, &block);
    [head, frame(kind::DATA, END_STREAM, stream, &[0; 5])].concat()
}

/// One too many of what makes us reset: the connection is drained.
fn last_straw(stream: u32) -> Vec<u8> {
    let mut fields = raw::grpc("orders", crate::ECHO);
    fields.push(("connection", "close"));
    let flags = END_HEADERS | END_STREAM;
    frame(kind::HEADERS, flags, stream, &raw::block(&fields))
}

fn answered(frames: &[Frame]) -> Vec<u32> {
    let ends = |frame: &&Frame| frame.kind == kind::HEADERS && frame.flags & END_STREAM != 0;
    frames
        .iter()
        .filter(ends)
        .map(|frame| frame.stream)
        .collect()
}

fn streams(from: u32, count: u32) -> impl Iterator<Item = u32> {
    (from..).step_by(2).take(count as usize)
}

/// D7: `OUTRIGGER_DRAINS` connections, each second one of a peer that never answers the ping between the two.
#[tokio::test]
async fn d7_nothing_opened_before_the_last_word_is_lost() {
    let drains = settings::number("OUTRIGGER_DRAINS", 12);
    Mesh::builder()
        .service("orders")
        .client("web")
        // A connection is drained at an eighth of it.
        .settings("[limits.mesh]\nlibrary_resets = 8\n")
        .run(async |mesh| {
            let inbound = mesh.sidecar("orders").addresses.inbound.clone().unwrap();
            let identity = tls::issued(&mesh.registry, "web").await;
            let tunnel = tls::Tunnel::to(&inbound, identity).await;
            let upstream = mesh.upstream("orders");
            for drain in 0..drains {
                let before = upstream.handled();
                upstream.hang();
                let mut raw = Raw::connect(&tunnel.address).await;
                raw.send(&streams(1, CALLS).flat_map(call).collect::<Vec<_>>())
                    .await;
                raw.send(&last_straw(2 * CALLS + 1)).await;
                let first = raw.until(|frame| frame.goaway().is_some()).await;
                let (_, first) = first.expect("a first word");
                assert_eq!(first.goaway(), Some((LARGEST, NO_ERROR, String::new())));
                let ping = |frame: &Frame| frame.kind == kind::PING && frame.flags & ACK == 0;
                let (between, ping) = raw.until(ping).await.expect("a ping behind it");
                assert!(
                    between.iter().all(|frame| frame.goaway().is_none()),
                    "{between:?}"
                );

                // On its way before the first word was seen.
                let late = 2 * CALLS + 3;
                raw.send(&call(late)).await;
                let answers_ping = drain % 2 == 0;
                if answers_ping {
                    raw.send(&frame(kind::PING, ACK, 0, &ping.payload)).await;
                }
                let second = raw.until(|frame| frame.goaway().is_some()).await;
                let Some((_, second)) = second else {
                    let log = mesh.sidecar("orders").log();
                    panic!("drain {drain} ended without a last word:\n{log}");
                };
                assert_eq!(second.goaway(), Some((late, NO_ERROR, String::new())));
                // Above it nothing is taken.
                raw.send(&call(late + 2)).await;
                eventually("all calls have arrived", async || {
                    let arrived = upstream.handled() - before;
                    holds(arrived == u64::from(CALLS) + 1, arrived)
                })
                .await;
                upstream.resume();
                let mut rest = Vec::new();
                while let Some(frame) = raw.next().await {
                    rest.push(frame);
                }
                let mut done = answered(&rest);
                done.sort_unstable();
                let expected: Vec<_> = streams(1, CALLS).chain([late]).collect();
                assert_eq!(
                    done, expected,
                    "drain {drain}: each call is answered, then it closes"
                );
                assert_eq!(upstream.handled() - before, u64::from(CALLS) + 1);
            }
        })
        .await;
}
