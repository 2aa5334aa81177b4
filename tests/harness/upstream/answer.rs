//! What the harness's application does with a call.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{End, Shared, mirror, relay};
use crate::grpc;

/// Bytes of one message of a download.
const CHUNK: usize = 64 * 1024;

pub(super) async fn answer(
    shared: Arc<Shared>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    dead: CancellationToken,
) {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    // The sidecar's own probe is no call of a test.
    if path == "/grpc.health.v1.Health/Check" {
        let _ = whole(respond, &shared, Bytes::from_static(&[0x08, 0x01]), None).await;
        return;
    }
    shared.remember(head.clone());
    if Shared::take(&shared.refuse) {
        respond.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    shared.handled.fetch_add(1, Ordering::SeqCst);
    if Shared::take(&shared.die) {
        dead.cancel();
        // Held until the connection's end: dropped, the stream would be reset first, which a dead program does not do.
        std::future::pending::<()>().await;
    }
    // An error means that the caller went away; what it had wanted no longer matters.
    let _ = execute(&shared, &head, body, respond).await;
}

async fn execute(
    shared: &Shared,
    head: &http::request::Parts,
    mut body: RecvStream,
    respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let mut hanging = shared.hanging.subscribe();
    let _ = hanging.wait_for(|hanging| !hanging).await;
    if Shared::take(&shared.unavailable) {
        return trailers_only(respond, 14, "not now");
    }
    match head.uri.path().rsplit('/').next().unwrap_or_default() {
        "Stall" => std::future::pending().await,
        "Early" => early(shared, head, respond).await,
        "Reset" => reset(shared, head, respond).await,
        "Http" => http_status(head, respond),
        "Drip" => drip(shared, respond).await,
        "Linger" => linger(shared, head, respond).await,
        "Forty" => forty(shared, respond).await,
        "Bidi" => bidi(shared, body, respond).await,
        "Download" => download(shared, body, respond).await,
        "Upload" => upload(shared, body, respond).await,
        "Fail" => fail(shared, head, body, respond).await,
        "NoTrailers" => no_trailers(shared, respond),
        "Watch" => watch(shared, head, respond).await,
        "Relay" => relay::answer(head, respond).await,
        "Mirror" => mirror::answer(&head.headers, body, respond).await,
        _ => {
            let mut received = BytesMut::new();
            while let Some(piece) = grpc::receive(&mut body).await {
                received.extend_from_slice(&piece?);
            }
            let message = grpc::take_messages(&mut received).pop().unwrap_or_default();
            whole(respond, shared, message, head.headers.get("x-test-echo")).await
        }
    }
}

fn start(
    respond: &mut SendResponse<Bytes>,
    shared: &Shared,
) -> Result<SendStream<Bytes>, h2::Error> {
    respond.send_response(opening(shared), false)
}

fn opening(shared: &Shared) -> Response<()> {
    Response::builder()
        .header("content-type", "application/grpc")
        .header("x-upstream", &shared.name)
        .body(())
        .unwrap()
}

fn status(code: u16, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.into());
    if !message.is_empty() {
        trailers.insert("grpc-message", HeaderValue::from_str(message).unwrap());
    }
    trailers
}

/// One message and OK; the caller's `x-test-echo` comes back among the trailers.
async fn whole(
    mut respond: SendResponse<Bytes>,
    shared: &Shared,
    message: Bytes,
    echo: Option<&HeaderValue>,
) -> Result<(), h2::Error> {
    let mut stream = start(&mut respond, shared)?;
    grpc::send(&mut stream, grpc::frame(&message), false).await?;
    let mut trailers = status(0, "");
    if let Some(echo) = echo {
        trailers.insert("x-test-echo", echo.clone());
    }
    stream.send_trailers(trailers)
}

fn trailers_only(
    mut respond: SendResponse<Bytes>,
    code: u16,
    message: &str,
) -> Result<(), h2::Error> {
    let mut response = Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    response.headers_mut().extend(status(code, message));
    respond.send_response(response, true)?;
    Ok(())
}

/// A number of the request's, by which a test says what it wants.
fn wanted(head: &http::request::Parts) -> u32 {
    let wanted = head.headers["x-test-code"].to_str().unwrap();
    wanted.parse().unwrap()
}

/// A 1xx head before the answer.
async fn early(
    shared: &Shared,
    head: &http::request::Parts,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let hint = Response::builder()
        .status(u16::try_from(wanted(head)).unwrap())
        .header("x-hint", "1")
        .body(())
        .unwrap();
    respond.send_informational(hint)?;
    whole(respond, shared, Bytes::new(), None).await
}

/// A reset with the code that is wanted, where `x-test-shape` says: before the head, behind it, or behind the body.
async fn reset(
    shared: &Shared,
    head: &http::request::Parts,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let code = Reason::from(wanted(head));
    let shape = head.headers["x-test-shape"].to_str().unwrap();
    if shape == "before" {
        respond.send_reset(code);
        return Ok(());
    }
    let mut stream = start(&mut respond, shared)?;
    if shape == "behind" {
        grpc::send(&mut stream, grpc::frame(b"all"), false).await?;
    } else {
        // A message whose end does not come.
        grpc::send(&mut stream, Bytes::from_static(&[0, 0, 0, 0, 9, 7]), false).await?;
    }
    // What a reset overtakes is lost, so the connection's task goes first.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    stream.send_reset(code);
    Ok(())
}

/// A plain HTTP status, and nothing of gRPC.
fn http_status(
    head: &http::request::Parts,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let response = Response::builder()
        .status(u16::try_from(wanted(head)).unwrap())
        .body(())
        .unwrap();
    respond.send_response(response, true)?;
    Ok(())
}

/// Reads nothing, and answers after as many milliseconds as are wanted.
async fn linger(
    shared: &Shared,
    head: &http::request::Parts,
    respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    // A slow application is what is simulated; nobody waits for this to be over.
    let wait = Duration::from_millis(wanted(head).into());
    let _ = tokio::time::timeout(wait, std::future::pending::<()>()).await;
    whole(respond, shared, Bytes::new(), None).await
}

/// Messages of 11 bytes, 16 with their prefix, for as long as somebody takes them.
async fn drip(shared: &Shared, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut stream = start(&mut respond, shared)?;
    loop {
        grpc::send(&mut stream, grpc::frame(&[7; 11]), false).await?;
        // A window has room for thousands of them: others come in between.
        tokio::task::consume_budget().await;
    }
}

/// Forty messages of 3 bytes, each a frame of its own, and the end.
async fn forty(shared: &Shared, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut stream = start(&mut respond, shared)?;
    for _ in 0..40 {
        grpc::send(&mut stream, grpc::frame(&[7; 3]), false).await?;
    }
    stream.send_trailers(status(0, ""))
}

/// Every piece goes back the moment it arrives.
async fn bidi(
    shared: &Shared,
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let mut stream = start(&mut respond, shared)?;
    while let Some(piece) = grpc::receive(&mut body).await {
        grpc::send(&mut stream, piece?, false).await?;
    }
    stream.send_trailers(status(0, ""))
}

/// The message is a number of bytes, as text; that many come.
async fn download(
    shared: &Shared,
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let mut received = BytesMut::new();
    while let Some(piece) = grpc::receive(&mut body).await {
        received.extend_from_slice(&piece?);
    }
    let message = grpc::take_messages(&mut received).pop().unwrap_or_default();
    let mut left: usize = std::str::from_utf8(&message).unwrap().parse().unwrap();
    let mut stream = start(&mut respond, shared)?;
    let chunk = grpc::frame(&vec![7; CHUNK]);
    while left > 0 {
        let message = if left < CHUNK {
            grpc::frame(&vec![7; left])
        } else {
            chunk.clone()
        };
        left = left.saturating_sub(CHUNK);
        grpc::send(&mut stream, message, false).await?;
    }
    stream.send_trailers(status(0, ""))
}

/// Answers how many bytes the messages had.
async fn upload(
    shared: &Shared,
    mut body: RecvStream,
    respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let mut received = BytesMut::new();
    let mut total = 0;
    while let Some(piece) = grpc::receive(&mut body).await {
        received.extend_from_slice(&piece?);
        total += grpc::take_messages(&mut received)
            .iter()
            .map(Bytes::len)
            .sum::<usize>();
    }
    whole(respond, shared, total.to_string().into(), None).await
}

/// Answers the status of `x-test-code`, in one frame or, with `x-test-shape: trailers`, after the headers.
async fn fail(
    shared: &Shared,
    head: &http::request::Parts,
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    while let Some(piece) = grpc::receive(&mut body).await {
        piece?;
    }
    let code = head.headers["x-test-code"].to_str().unwrap();
    let code = code.parse().unwrap();
    let message = format!("code%20{code}%3A%20h%C3%A9");
    if head
        .headers
        .get("x-test-shape")
        .is_none_or(|shape| shape != "trailers")
    {
        return trailers_only(respond, code, &message);
    }
    let mut stream = start(&mut respond, shared)?;
    stream.send_trailers(status(code, &message))
}

/// Headers and nothing more: a broken peer.
fn no_trailers(shared: &Shared, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    respond.send_response(opening(shared), true)?;
    Ok(())
}

/// Is never answered; how and when its caller let go of it is remembered.
async fn watch(
    shared: &Shared,
    head: &http::request::Parts,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let id = wanted(head);
    let reset = poll_fn(|context| respond.poll_reset(context)).await;
    shared.ended.lock().unwrap().push(End {
        id,
        code: reset.ok().map(u32::from),
        at: Instant::now(),
    });
    Ok(())
}
