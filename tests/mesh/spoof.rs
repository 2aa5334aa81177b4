//! Heads that are too much, and heads that say what only the mesh may say: refused or stripped, at every way in.

use http::HeaderValue;
use outrigger_tests::client::{Answer, Call};
use outrigger_tests::mesh::Service;
use outrigger_tests::raw::{self, END_HEADERS, END_STREAM, Frame, Raw, frame, kind};
use outrigger_tests::upstream::Address;
use outrigger_tests::{Client, Mesh, tls};
use tonic::Code;

use crate::ECHO;

/// PROTOCOL_ERROR.
const PROTOCOL: u32 = 1;
/// What only the mesh says, and what may be said for it: by our own application, and by another sidecar (mesh.md 1.1).
const INTERNAL: [(&str, bool, bool); 12] = [
    ("reason", false, false),
    ("attempt", false, true),
    ("hops", true, true),
    ("arm", true, true),
    ("criticality", true, true),
    ("mirror", false, true),
    ("peer", false, false),
    ("principal", false, false),
    ("client-addr", false, false),
    ("hash-key", true, true),
    ("http-status", false, false),
    ("debug", true, true),
];
/// What the forged ones say; as a number it is no fault of form.
const FORGED: &str = "3";

fn edge_of(mesh: &Mesh) -> Client {
    let address = mesh.sidecar("orders").addresses.edge.clone().unwrap();
    Client::new(Address::parse(&address))
}

/// Bytes of a head as its receiver counts them (RFC 9113, 6.5.2), without fields of one's own.
fn size_of_call(authority: &str) -> usize {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", ECHO),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + 32)
        .sum()
}

async fn with_long(client: &Client, bytes: usize) -> Answer {
    let left = bytes - size_of_call("orders") - "x-long".len() - 32;
    let mut call = Call::new("orders", ECHO);
    let value = HeaderValue::from_bytes(&vec![b'x'; left]).unwrap();
    call.headers.insert("x-long", value);
    client.call(call).await
}

#[tokio::test]
async fn b9_heads_past_their_bounds_are_refused_and_the_connection_serves_on() {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .run(async |mesh| {
            let client = edge_of(mesh);
            with_long(&client, 16 << 10).await.expect_ok();
            let answer = with_long(&client, (16 << 10) + 1).await;
            let refused = (Code::ResourceExhausted, "too_large");
            assert_eq!(
                (answer.code(), answer.reason()),
                refused,
                "{}",
                answer.summary()
            );

            let of_count = |count: usize| {
                let mut call = Call::new("orders", ECHO);
                for number in 6..count {
                    let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
                    call.headers.insert(name, HeaderValue::from_static("1"));
                }
                call
            };
            client.call(of_count(100)).await.expect_ok();
            let answer = client.call(of_count(101)).await;
            assert_eq!(
                (answer.code(), answer.reason()),
                refused,
                "{}",
                answer.summary()
            );
            assert_eq!(mesh.upstream("orders").handled(), 2);

            // Four times the bound is no mistake any more.
            let answer = with_long(&client, 64 << 10 | 1).await;
            assert!(answer.broke.is_some(), "{}", answer.summary());
            client.unary("orders", ECHO, "").await.expect_ok();
            assert_eq!(mesh.upstream("orders").handled(), 3);
        })
        .await;
}

async fn ended(raw: &mut Raw, stream: u32, more: &[(&str, &str)]) -> Frame {
    let mut fields = raw::grpc("orders", ECHO);
    fields.extend_from_slice(more);
    let flags = END_HEADERS | END_STREAM;
    raw.send(&frame(kind::HEADERS, flags, stream, &raw::block(&fields)))
        .await;
    let is_end = |frame: &Frame| {
        let ends = frame.kind == kind::HEADERS && frame.flags & END_STREAM != 0;
        frame.stream == stream && (ends || frame.reset().is_some())
    };
    raw.until(is_end)
        .await
        .expect("the connection is still there")
        .1
}

#[tokio::test]
async fn b9_nobody_speaks_for_the_mesh_under_any_spelling() {
    Mesh::builder()
        .service(Service::new("orders").edge())
        .client("web")
        .run(async |mesh| {
            let (orders, web) = (mesh.sidecar("orders"), mesh.client_sidecar("web"));
            let inbound = orders.addresses.inbound.clone().unwrap();
            let identity = tls::issued(&mesh.registry, "web").await;
            let tunnel = tls::Tunnel::to(&inbound, identity).await;
            let edge = orders.addresses.edge.clone().unwrap();
            let outbound = web.addresses.upstreams["orders"].clone();
            let ways = [
                ("edge", edge),
                ("outbound", outbound),
                ("inbound", tunnel.address.clone()),
            ];
            for (way, address) in ways {
                let mut raw = Raw::connect(&address).await;
                let mut stream = 1;
                let two = [("content-length", "1"), ("content-length", "2")];
                let end = ended(&mut raw, stream, &two).await;
                assert_eq!(end.reset(), Some(PROTOCOL), "{way}: two content-lengths");
                for (name, application_may, peer_may) in INTERNAL {
                    let plain = format!("x-outrigger-{name}");
                    let under = plain.replace('-', "_");
                    let mixed = format!("x_outrigger-{name}");
                    for spelling in [&plain, &under, &mixed] {
                        stream += 2;
                        let before = mesh.upstream("orders").requests().len();
                        ended(&mut raw, stream, &[(spelling, FORGED)]).await;
                        let requests = mesh.upstream("orders").requests();
                        assert_eq!(
                            requests.len(),
                            before + 1,
                            "{way}: {spelling}: it goes through"
                        );
                        let may = spelling == &plain
                            && match way {
                                "edge" => false,
                                "outbound" => application_may,
                                _ => peer_may,
                            };
                        let heard = requests[before].headers.get_all(&**spelling);
                        let is_heard = heard.iter().any(|value| value == FORGED);
                        // The hop that outbound counts is on top of what the application said.
                        let expected = may && !(way == "outbound" && name == "hops");
                        assert_eq!(is_heard, expected, "{way}: {spelling}");
                    }
                    stream += 2;
                    let loud = plain.to_uppercase();
                    let end = ended(&mut raw, stream, &[(&loud, FORGED)]).await;
                    assert_eq!(end.reset(), Some(PROTOCOL), "{way}: {loud}");
                }
            }
        })
        .await;
}
