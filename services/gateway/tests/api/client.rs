//! Plain HTTP over a Unix socket.

use std::path::Path;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `ErrorInfo`'s reason.
    #[track_caller]
    pub(crate) fn reason(&self) -> String {
        let details = self.detail("ErrorInfo");
        details["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// The detail of this type; null if there is none.
    #[track_caller]
    pub(crate) fn detail(&self, kind: &str) -> Value {
        let json = self.json();
        let details = json["error"]["details"].as_array().cloned();
        let name = format!("type.googleapis.com/google.rpc.{kind}");
        let details = details.unwrap_or_default();
        details
            .into_iter()
            .find(|detail| detail["@type"] == name.as_str())
            .unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default()
    }
}

/// One request on a connection of its own.
pub(crate) async fn http1(
    socket: &Path,
    method: &str,
    path: &str,
    headers: HeaderMap,
    body: impl Into<Body>,
) -> Reply {
    let io = TokioIo::new(UnixStream::connect(socket).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let mut running = JoinSet::new();
    running.spawn(connection);
    let mut request = Request::builder().method(method).uri(path);
    request.headers_mut().unwrap().extend(headers);
    let request = request.header("host", "shop.example").body(body.into());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

/// An HTTP/2 connection, as gRPC clients hold one.
#[derive(Debug)]
pub(crate) struct Http2 {
    sender: hyper::client::conn::http2::SendRequest<Body>,
    _running: JoinSet<hyper::Result<()>>,
}

impl Http2 {
    pub(crate) async fn connect(socket: &Path) -> Self {
        let io = TokioIo::new(UnixStream::connect(socket).await.unwrap());
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (sender, connection) = handshake.await.unwrap();
        let mut running = JoinSet::new();
        running.spawn(connection);
        Self {
            sender,
            _running: running,
        }
    }

    /// A gRPC call with these headers besides; the body is sent as it comes.
    pub(crate) async fn call(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Response<Incoming> {
        let mut request = Request::post(format!("http://shop.example{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).unwrap();
        self.sender.send_request(request).await.unwrap()
    }
}

/// A message as gRPC frames it.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), message].concat().into()
}
