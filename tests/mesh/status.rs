//! How an application's ending becomes its caller's: resets by code and moment, HTTP statuses without a gRPC status, 1xx heads.

use outrigger_tests::Mesh;
use outrigger_tests::client::{Call, Client};
use outrigger_tests::raw::{self, END_HEADERS, END_STREAM, Frame, Raw, frame, kind};
use tonic::Code;

use crate::ECHO;

/// What a reset before the head comes to: the codes of RFC 9113, 7, as gRPC over HTTP/2 reads them.
const CODES: [(u32, Code); 14] = [
    (0, Code::Internal),
    (1, Code::Internal),
    (2, Code::Internal),
    (3, Code::Internal),
    (4, Code::Internal),
    (5, Code::Internal),
    (6, Code::Internal),
    (7, Code::Unavailable),
    (8, Code::Cancelled),
    (9, Code::Internal),
    (10, Code::Internal),
    (11, Code::ResourceExhausted),
    (12, Code::PermissionDenied),
    (13, Code::Internal),
];

async fn raw(mesh: &Mesh) -> Raw {
    let address = &mesh.client_sidecar("web").addresses.upstreams["orders"];
    Raw::connect(address).await
}

fn request(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = raw::grpc("orders", path);
    fields.extend_from_slice(more);
    frame(
        kind::HEADERS,
        END_STREAM | END_HEADERS,
        stream,
        &raw::block(&fields),
    )
}

/// Enough of them between two failures keep the breaker closed.
async fn succeed(web: &Client) {
    for _ in 0..5 {
        web.unary("orders", ECHO, "").await.expect_ok();
    }
}

#[tokio::test]
async fn c9_a_reset_before_the_head_is_a_status_and_behind_it_stays_a_reset() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let web = mesh.client("web");
            let mut raw = raw(mesh).await;
            let mut stream = 1;
            for (code, status) in CODES {
                let text = code.to_string();
                let call = Call::new("orders", "/test.Echo/Reset")
                    .header("x-test-code", &text)
                    .header("x-test-shape", "before");
                let answer = web.call(call).await;
                assert_eq!(answer.code(), status, "{code}: {}", answer.summary());
                succeed(&web).await;
                for shape in ["amid", "behind"] {
                    let more = [("x-test-code", &*text), ("x-test-shape", shape)];
                    raw.send(&request(stream, "/test.Echo/Reset", &more)).await;
                    let is_over = |frame: &Frame| {
                        frame.stream == stream
                            && (frame.reset().is_some()
                                || frame.flags & END_STREAM != 0 && frame.kind == kind::HEADERS)
                    };
                    let (_, last) = raw.until(is_over).await.expect("the connection lives");
                    assert_eq!(last.reset(), Some(code), "{code} {shape}");
                    stream += 2;
                    succeed(&web).await;
                }
            }
        })
        .await;
}

#[tokio::test]
async fn c9_an_http_status_without_a_grpc_status_is_read_as_one() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let web = mesh.client("web");
            for http in 200..600 {
                let expected = match http {
                    400 => Code::Internal,
                    401 => Code::Unauthenticated,
                    403 => Code::PermissionDenied,
                    404 => Code::Unimplemented,
                    429 | 502 | 503 | 504 => Code::Unavailable,
                    _ => Code::Unknown,
                };
                let call =
                    Call::new("orders", "/test.Echo/Http").header("x-test-code", &http.to_string());
                let answer = web.call(call).await;
                assert_eq!(answer.code(), expected, "{http}: {}", answer.summary());
                succeed(&web).await;
            }
        })
        .await;
}

/// RFC 9110, 15.2: they pass in front of the response, whatever their number.
#[tokio::test]
async fn c9_a_1xx_head_passes_in_front_of_the_answer() {
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let mut raw = raw(mesh).await;
            let statuses = (100..200).filter(|status| *status != 101);
            for (stream, status) in (1..).step_by(2).zip(statuses) {
                let text = status.to_string();
                raw.send(&request(
                    stream,
                    "/test.Echo/Early",
                    &[("x-test-code", &text)],
                ))
                .await;
                let is_end =
                    |frame: &Frame| frame.stream == stream && frame.flags & END_STREAM != 0;
                let (before, _) = raw.until(is_end).await.expect("an answer");
                let of_stream = before.iter().filter(|frame| frame.stream == stream);
                let kinds: Vec<_> = of_stream.map(|frame| frame.kind).collect();
                assert_eq!(
                    kinds,
                    [kind::HEADERS, kind::HEADERS, kind::DATA],
                    "{status}"
                );
            }
        })
        .await;
}
