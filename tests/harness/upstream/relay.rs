//! A call that the application makes onwards, as one that serves others does: the deadline it got goes along.

use bytes::Bytes;
use h2::server::SendResponse;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::client::{Call, Client};
use crate::grpc;
use crate::upstream::Address;

/// Where to: `SERVICE@ADDRESS` of each hop still to come, with blanks between.
const ROUTE: HeaderName = HeaderName::from_static("x-test-route");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Answers a line for each hop from here on: the `grpc-timeout` it saw. What failed further on is a last line with `!`.
pub(super) async fn answer(
    head: &Parts,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let text = |name: &HeaderName| {
        let value = head.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    };
    let timeout = text(&TIMEOUT);
    let told = match text(&ROUTE).split_once('@') {
        None => timeout.to_owned(),
        Some((service, rest)) => {
            let (address, further) = rest.split_once(' ').unwrap_or((rest, ""));
            let behind = Box::pin(onwards(service, address, further, timeout)).await;
            format!("{timeout}\n{behind}")
        }
    };
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let mut stream = respond.send_response(response, false)?;
    grpc::send(&mut stream, grpc::frame(told.as_bytes()), false).await?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}

async fn onwards(service: &str, address: &str, further: &str, timeout: &str) -> String {
    let mut call = Call::new(service, "/test.Echo/Relay");
    for (name, value) in [(ROUTE, further), (TIMEOUT, timeout)] {
        if !value.is_empty() {
            let value = HeaderValue::from_str(value).unwrap();
            call.headers.insert(name, value);
        }
    }
    let answer = Client::new(Address::parse(address)).call(call).await;
    match answer.code() {
        tonic::Code::Ok => answer.text().to_owned(),
        _ => format!("!{}", answer.summary()),
    }
}
