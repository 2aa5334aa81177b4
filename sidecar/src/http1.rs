//! HTTP/1.1 by hyper: towards callers on the edge and local listeners, towards applications that speak nothing else.

/// Connections others make to us.
pub(crate) mod server;

/// Connections to the application.
pub(crate) mod client;

use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderMap;
use http::header::{
    CONNECTION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::error::Error;
use crate::stack::Data;

/// hyper's body with errors translated by `F`. hyper reads no further than one piece ahead, so there is no credit to give.
struct Received<F> {
    body: Incoming,
    translate: F,
}

impl<F: Fn(hyper::Error) -> Error + Unpin> http_body::Body for Received<F> {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = self.get_mut();
        Pin::new(&mut this.body).poll_frame(cx).map(|frame| {
            frame.map(|frame| {
                frame
                    .map(|frame| frame.map_data(Data::uncredited))
                    .map_err(&this.translate)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Removes what concerns one connection only, the fields `Connection` names included.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "http2-settings"] {
        headers.remove(name);
    }
}
