//! Connections to an application that speaks HTTP/1.1: one call at a time on each, kept for the next.
//!
//! The application is not trusted: a response that could be read in two ways, is cut short or has more behind it ends its connection,
//! and a connection after doubt is never used again. There is no task: whoever waits for the reply drives both directions, and dropping
//! it closes the connection, which is HTTP/1.1's only way to cancel.

use std::cell::RefCell;
use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue};
use http::{Method, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::decode::{self, Bounds, Decoder, Piece};
use super::encode;
use super::framing::{self, Framing};
use super::head::{self, Version};
use super::outgoing::{Outgoing, Stop};
use super::refusal::Refusal;
use super::wire::Wire;
use crate::config::Connection;
use crate::error::{Error, Kind};
use crate::http2::{self, Limit};
use crate::stack::{Call, Data, Early, Linked, Parts, Reply};

/// Idle connections kept, at most.
const KEPT: usize = 64;

/// Connections that wait for a call.
#[derive(Debug)]
pub(crate) struct Idle<IO>(RefCell<Vec<Wire<IO>>>);

/// What all exchanges with one application share.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) limits: Connection,
    /// Bytes may wait so long for an application that takes none.
    pub(crate) patience: Duration,
    /// Ends exchanges.
    pub(crate) cut: CancellationToken,
    pub(crate) metrics: http2::Metrics,
}

/// A connection that can take one call.
#[derive(Debug)]
pub(crate) struct Ready<IO>(Wire<IO>);

// === impl Idle ===

impl<IO> Default for Idle<IO> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Idle<IO> {
    /// One that is still open; what the application closed or spoke on unasked is dropped.
    pub(crate) fn take(&self) -> Option<Ready<IO>> {
        let mut idle = self.0.borrow_mut();
        idle.retain_mut(Wire::is_quiet);
        idle.pop().map(Ready)
    }

    fn give(&self, mut wire: Wire<IO>) {
        let mut idle = self.0.borrow_mut();
        idle.retain_mut(Wire::is_quiet);
        if wire.is_quiet() && idle.len() < KEPT {
            idle.push(wire);
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire<IO> {
    /// Open, and nothing came that nobody asked for.
    fn is_quiet(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.read.is_empty() && self.poll_fill(&mut nobody).is_pending()
    }
}

// === impl Ready ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Ready<IO> {
    pub(crate) fn new(io: IO) -> Self {
        Self(Wire::new(io))
    }
}

/// One call. The connection goes back to `idle` behind the last byte of a reply that leaves no doubt.
pub(crate) async fn call<IO>(
    idle: &Rc<Idle<IO>>,
    ready: Ready<IO>,
    call: Call,
    setup: &Setup,
) -> Result<Reply, Error>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut exchange = Exchange::begin(ready, call, setup)?;
    let head = std::future::poll_fn(|cx| exchange.poll_head(cx)).await?;
    let head::Response {
        status,
        mut headers,
        ..
    } = head;
    super::strip_hop_by_hop(&mut headers);
    normalise_length(&mut headers);
    let mut body = Body {
        exchange: Some(exchange),
        idle: Rc::clone(idle),
    };
    body.give_back();
    Ok(Reply {
        status,
        headers,
        body: Box::pin(body),
    })
}

/// The framing was decided, so what is left of `Content-Length` is one number or none.
fn normalise_length(headers: &mut http::HeaderMap) {
    if let Ok(Some(length)) = framing::content_length(headers) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
}

/// One call on one connection.
struct Exchange<IO> {
    wire: RefCell<Wire<IO>>,
    /// What is left of the request; `None` once it is written.
    sending: Option<Outgoing>,
    body: Decoder,
    scanned: usize,
    /// 1xx heads so far.
    informational: u32,
    method: Method,
    early: Early,
    /// The connection may serve another call.
    is_kept: bool,
    /// What the connection had taken before this call.
    begun_at: u64,
    limits: Connection,
    metrics: http2::Metrics,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

// === impl Exchange ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Exchange<IO> {
    fn begin(ready: Ready<IO>, call: Call, setup: &Setup) -> Result<Self, Error> {
        let parts = call.into_parts();
        let host = HeaderValue::from_str(&parts.authority).map_err(|_| {
            Error::unprocessed(
                Kind::Malformed,
                "the authority of the call is not a valid host",
            )
        })?;
        let mut wire = ready.0;
        let begun_at = wire.written();
        let framing = request_framing(&parts)?;
        let mut headers = parts.headers.into_sent();
        super::strip_hop_by_hop(&mut headers);
        headers.remove(CONTENT_LENGTH);
        // The body is sent without asking.
        headers.remove(EXPECT);
        let path = parts
            .uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        encode::request(&mut wire.out, &parts.method, path, &host, &headers, framing);
        Ok(Self {
            wire: RefCell::new(wire),
            sending: Some(Outgoing::new(
                Some(parts.body),
                framing,
                false,
                setup.patience,
            )),
            body: Decoder::none(),
            scanned: 0,
            informational: 0,
            method: parts.method,
            early: parts.early,
            is_kept: true,
            begun_at,
            limits: setup.limits,
            metrics: setup.metrics.clone(),
            cut: Box::pin(setup.cut.clone().cancelled_owned()),
        })
    }

    /// Moves what is left of the request. An application that answers early may close its side: its answer counts.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Err(Error::new(
                Kind::Cut,
                "the sidecar had to end while the call was in progress",
            ));
        }
        let Some(sending) = &mut self.sending else {
            return Ok(());
        };
        match sending.poll(&self.wire, cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.sending = None;
                Ok(())
            }
            Poll::Ready(Err(Stop::Source(err))) => {
                if err.kind == Kind::Stalled {
                    self.met(Limit::StreamProgress);
                }
                Err(err)
            }
            Poll::Ready(Err(Stop::Sink(err))) => {
                let is_unsent = self.wire.borrow().written() == self.begun_at;
                self.sending = None;
                self.is_kept = false;
                match is_unsent {
                    true => Err(Error::unprocessed(
                        Kind::ConnectionLost,
                        "the application closed the connection before it took the call",
                    )
                    .with_source(err)),
                    false => Ok(()),
                }
            }
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<head::Response, Error>> {
        self.poll_send(cx)?;
        loop {
            if let Some(head) = self.take_head()? {
                return Poll::Ready(Ok(head));
            }
            if !ready!(self.poll_fill(cx))? {
                return Poll::Ready(Err(lost("before it had answered")));
            }
        }
    }

    /// The head of the response, if it is here; those before it are passed on.
    fn take_head(&mut self) -> Result<Option<head::Response>, Error> {
        while let Some(head) = self.next_head().map_err(|refusal| self.broken(refusal))? {
            if !head.status.is_informational() {
                let framing = framing::of_response(&self.method, &head)
                    .map_err(|refusal| self.broken(refusal))?;
                self.body = Decoder::new(framing, self.bounds());
                self.is_kept &= keeps(&head) && framing != Framing::UntilClose;
                return Ok(Some(head));
            }
            self.informational += 1;
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                let detail = "the application switched protocols, which nobody asked for";
                return Err(Error::new(Kind::Protocol, detail));
            }
            if self.informational > self.limits.informational {
                self.met(Limit::Informational);
                let detail = "the application sent too many 1xx heads; limits.app_in.informational";
                return Err(Error::new(Kind::Protocol, detail));
            }
            self.early.tell(head.status, &head.headers);
        }
        Ok(None)
    }

    fn next_head(&mut self) -> Result<Option<head::Response>, Refusal> {
        let Bounds { fields, bytes } = self.bounds();
        let read = &mut self.wire.get_mut().read;
        let Some(length) = head::end(read, &mut self.scanned)? else {
            return match read.len() < bytes {
                true => Ok(None),
                false => Err(Refusal::HeadTooLong),
            };
        };
        if length > bytes {
            return Err(Refusal::HeadTooLong);
        }
        self.scanned = 0;
        head::response(&read.split_to(length), fields).map(Some)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
        self.poll_send(cx)?;
        loop {
            let read = &mut self.wire.get_mut().read;
            match self.body.decode(read) {
                Ok(Some(piece)) => return Poll::Ready(Ok(Some(piece))),
                Ok(None) if self.body.is_done() => return Poll::Ready(Ok(None)),
                Ok(None) => {}
                Err(refusal) => return Poll::Ready(Err(self.broken(refusal))),
            }
            if !ready!(self.poll_fill(cx))? {
                return Poll::Ready(match self.body.ends_here() {
                    true => Ok(None),
                    false => Err(lost("in the middle of its answer")),
                });
            }
        }
    }

    /// False at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        self.wire.get_mut().poll_fill(cx).map(|read| match read {
            Ok(count) => Ok(count > 0),
            Err(err) => Err(lost("while it answered").with_source(err)),
        })
    }

    /// What was made for an application may be a little more than what one may send us.
    fn bounds(&self) -> Bounds {
        Bounds {
            fields: self.limits.header_count as usize,
            bytes: self.limits.header_list as usize,
        }
    }

    fn broken(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::HeadTooLong => self.met(Limit::HeaderList),
            Refusal::TooManyFields => self.met(Limit::HeaderCount),
            _ => {}
        }
        let detail = format!("the application broke HTTP/1.1: {refusal}");
        Error::new(Kind::Protocol, detail)
    }

    fn met(&self, limit: Limit) {
        self.metrics
            .hit(self.limits.scope, limit, &"our application");
    }
}

fn lost(when: &str) -> Error {
    let detail = format!("the application closed the connection {when}");
    Error::new(Kind::ConnectionLost, detail)
}

/// Whether the application would take another call on the connection.
fn keeps(head: &head::Response) -> bool {
    let says = |word: &str| super::says(&head.headers, &CONNECTION, word);
    match head.version {
        Version::Http11 => !says("close"),
        Version::Http10 => says("keep-alive") && !says("close"),
    }
}

fn request_framing(parts: &Parts) -> Result<Framing, Error> {
    let length = framing::content_length(&parts.headers)
        .map_err(|refusal| Error::unprocessed(Kind::Malformed, refusal.to_string()))?;
    let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method);
    Ok(match (length, parts.body.size_hint().exact()) {
        (Some(length), _) => Framing::Length(length),
        (None, _) if parts.body.is_end_stream() => match has_body {
            true => Framing::Length(0),
            false => Framing::None,
        },
        (None, Some(length)) => Framing::Length(length),
        (None, None) => Framing::Chunked,
    })
}

/// A reply's body, which gives its connection back at its end.
struct Body<IO: AsyncRead + AsyncWrite + Unpin> {
    exchange: Option<Exchange<IO>>,
    idle: Rc<Idle<IO>>,
}

// === impl Body ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Body<IO> {
    /// Once the reply is whole. A request that is not, or bytes behind the reply, leave a doubt.
    fn give_back(&mut self) {
        if let Some(exchange) = self.exchange.take_if(|exchange| exchange.body.is_done())
            && exchange.is_kept
            && exchange.sending.is_none()
        {
            self.idle.give(exchange.wire.into_inner());
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> http_body::Body for Body<IO> {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = self.get_mut();
        let Some(exchange) = &mut this.exchange else {
            return Poll::Ready(None);
        };
        let piece = ready!(exchange.poll_piece(cx));
        if piece.is_err() {
            this.exchange = None;
        }
        this.give_back();
        Poll::Ready(match piece {
            Ok(None) => None,
            Ok(Some(Piece::Data(bytes))) => Some(Ok(Frame::data(Data::uncredited(bytes)))),
            Ok(Some(Piece::Trailers(mut trailers))) => {
                decode::strip_trailers(&mut trailers);
                (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)))
            }
            Err(err) => Some(Err(err)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let left = match &self.exchange {
            Some(exchange) => exchange.body.left(),
            None => Some(0),
        };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Linked for Body<IO> {}

#[cfg(test)]
mod tests;
