//! Connections others make to us in HTTP/1.1: requests become calls, one after the other.
//!
//! A request whose head or framing could be read in two ways is refused before anything of it goes onwards, and the connection ends
//! with it. Between two requests a connection may be idle; once told to leave it ends after the response in progress.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf as _;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE};
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

use super::answer::{self, Asked};
use super::caller::Caller;
use super::decode::{Bounds, Decoder};
use super::framing::{self, Framing};
use super::head::{self, Version};
use super::outgoing::{Outgoing, Stop};
use super::refusal::Refusal;
use super::target;
use crate::config::Connection;
use crate::error::Kind;
use crate::http2::server::Ending;
use crate::http2::{self, Alarm, Limit};
use crate::stack::{Call, Dispatch, Early, Peer, Protocol, Reply};

/// Bytes of a request line's target (RFC 9110, 4.1, asks for 8,000).
const TARGET: usize = 8 << 10;
/// A closed connection is read on for so long, and so many bytes, so that the last words are not lost in a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;
/// What of a body is looked at before the call begins, and of a next request while one is in progress.
const AHEAD: usize = 64 << 10;

/// What the requests of one connection share.
pub(crate) struct Accepted {
    pub(crate) dispatch: Rc<dyn Dispatch>,
    pub(crate) peer: Peer,
    pub(crate) limits: Connection,
    /// No request for this long: the connection is closed.
    pub(crate) idle: Duration,
    /// A head has to be complete so long after its first byte.
    pub(crate) header_block: Duration,
    /// The caller may take no byte of a response for this long.
    pub(crate) patience: Duration,
    pub(crate) metrics: http2::Metrics,
}

/// Serves one connection to its end.
pub(crate) async fn serve<IO, L, C>(io: IO, accepted: Rc<Accepted>, ending: Ending<L, C>)
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    L: Future<Output = ()>,
    C: Future<Output = ()>,
{
    let mut serving = Serving {
        caller: Rc::new(Caller::new(io, accepted.limits.is_strange())),
        accepted,
        leave: Leave {
            signal: Box::pin(ending.leave),
            is_told: false,
        },
        alarm: Alarm::default(),
    };
    let mut cut = pin!(ending.cut);
    let mut run = Box::pin(serving.run());
    std::future::poll_fn(|cx| match cut.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => run.as_mut().poll(cx),
    })
    .await;
}

struct Serving<IO: AsyncRead + AsyncWrite + Unpin, L> {
    caller: Rc<Caller<IO>>,
    accepted: Rc<Accepted>,
    leave: Leave<L>,
    alarm: Alarm,
}

struct Leave<L> {
    signal: Pin<Box<L>>,
    is_told: bool,
}

/// What comes next on a connection.
enum Next {
    Request(head::Request),
    Refused(Refusal),
    Over,
}

/// What becomes of a connection after a request.
enum After {
    Next,
    /// Everything of the request was read.
    Close,
    /// More of it may come.
    Linger,
    Gone,
}

// === impl Leave ===

impl<L: Future<Output = ()>> Leave<L> {
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.is_told {
            self.is_told = self.signal.as_mut().poll(cx).is_ready();
        }
        self.is_told
    }
}

// === impl Serving ===

impl<IO, L> Serving<IO, L>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    L: Future<Output = ()>,
{
    async fn run(&mut self) {
        loop {
            let after = match self.next().await {
                Next::Over => After::Close,
                Next::Refused(refusal) => self.refuse(refusal),
                Next::Request(request) => self.serve(request).await,
            };
            match after {
                After::Next => {}
                After::Close => return self.close(0).await,
                After::Linger => return self.close(LINGER_BYTES).await,
                After::Gone => return,
            }
        }
    }

    /// The next head, read to its end and no further.
    async fn next(&mut self) -> Next {
        let mut scanned = 0;
        let mut is_blank_over = false;
        let mut since = Instant::now();
        std::future::poll_fn(|cx| {
            let mut wire = self.caller.wire.borrow_mut();
            loop {
                // RFC 9112, 2.2: one empty line before a request is ignored.
                if !is_blank_over && wire.read.starts_with(b"\r\n") {
                    wire.read.advance(2);
                    (is_blank_over, scanned) = (true, 0);
                }
                match self.accepted.head(&mut wire.read, &mut scanned) {
                    Ok(None) => {}
                    Ok(Some(request)) => return Poll::Ready(Next::Request(request)),
                    Err(refusal) => return Poll::Ready(Next::Refused(refusal)),
                }
                let is_idle = wire.read.is_empty();
                if is_idle && self.leave.poll(cx) {
                    return Poll::Ready(Next::Over);
                }
                match wire.poll_fill(cx) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        if is_idle {
                            since = Instant::now();
                        }
                    }
                    Poll::Ready(_) => return Poll::Ready(Next::Over),
                    Poll::Pending if is_idle => {
                        std::task::ready!(self.alarm.poll(since + self.accepted.idle, cx));
                        self.accepted.met(Limit::ConnectionIdle);
                        return Poll::Ready(Next::Over);
                    }
                    Poll::Pending => {
                        let until = since + self.accepted.header_block;
                        std::task::ready!(self.alarm.poll(until, cx));
                        return Poll::Ready(Next::Refused(Refusal::SlowHead));
                    }
                }
            }
        })
        .await
    }

    fn refuse(&self, refusal: Refusal) -> After {
        self.accepted.count(refusal);
        tracing::debug!(peer = ?self.accepted.peer, error = %refusal, "request refused");
        answer::refuse(refusal, &mut self.caller.wire.borrow_mut().out);
        After::Linger
    }

    async fn serve(&mut self, request: head::Request) -> After {
        let (call, asked) = match self.begin(request).await {
            Ok(begun) => begun,
            Err(refusal) => return self.refuse(refusal),
        };
        let dispatched = Rc::clone(&self.accepted.dispatch).dispatch(call);
        match self.reply(dispatched).await {
            // Dropping what was dispatched ends whatever it still holds.
            None => After::Gone,
            Some(Err(refusal)) => self.refuse(refusal),
            Some(Ok(reply)) => self.answer(&asked, reply).await,
        }
    }

    /// The request as a call. What of its body has come already is checked: most of what is broken never goes onwards.
    async fn begin(&self, request: head::Request) -> Result<(Call, Asked), Refusal> {
        let framing = framing::of_request(&request)?;
        let body = Decoder::new(framing, self.accepted.bounds());
        if framing == Framing::Chunked {
            std::future::poll_fn(|cx| {
                let _ = self
                    .caller
                    .wire
                    .borrow_mut()
                    .poll_ended(AHEAD, cx)
                    .is_ready();
                Poll::Ready(())
            })
            .await;
            body.check(&self.caller.wire.borrow().read)?;
        }
        let asked = Asked::of(&request);
        let call = self.accepted.decode(request, framing, body, &self.caller)?;
        Ok((call, asked))
    }

    /// `None` when the caller is gone, an error when its body is refused.
    async fn reply(
        &self,
        mut dispatched: Pin<Box<dyn Future<Output = Result<Reply, crate::error::Error>>>>,
    ) -> Option<Result<Reply, Refusal>> {
        std::future::poll_fn(|cx| {
            let replied = dispatched.as_mut().poll(cx);
            if let Some(refusal) = self.caller.refusal.take() {
                return Poll::Ready(Some(Err(refusal)));
            }
            match replied {
                Poll::Ready(Ok(reply)) => return Poll::Ready(Some(Ok(reply))),
                // There is nothing left that could be said.
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            if let Poll::Ready(Err(_)) = self.caller.wire.borrow_mut().poll_flush(cx) {
                return Poll::Ready(None);
            }
            self.poll_gone(cx).map(|()| None)
        })
        .await
    }

    async fn answer(&mut self, asked: &Asked, reply: Reply) -> After {
        let is_leaving = std::future::poll_fn(|cx| Poll::Ready(self.leave.poll(cx))).await;
        let answer = answer::of(asked, reply, is_leaving);
        answer.write(&mut self.caller.wire.borrow_mut().out);
        self.caller.is_answered.set(true);
        let patience = self.accepted.patience;
        let mut outgoing = Outgoing::new(answer.body, answer.framing, asked.has_trailers, patience);
        let sent = std::future::poll_fn(|cx| match outgoing.poll(&self.caller.wire, cx) {
            Poll::Pending if self.poll_gone(cx).is_ready() => Poll::Ready(None),
            polled => polled.map(Some),
        })
        .await;
        match sent {
            None | Some(Err(Stop::Sink(_))) => return After::Gone,
            Some(Err(Stop::Source(err))) => {
                tracing::debug!(error = %err, "a response ended before its end");
                if err.kind == Kind::Stalled {
                    self.accepted.met(Limit::StreamProgress);
                    return After::Gone;
                }
                // What came goes out, unless the end of the connection would pass for the end of the body.
                return match answer.framing {
                    Framing::UntilClose => After::Gone,
                    _ => After::Close,
                };
            }
            Some(Ok(())) => {}
        }
        drop(outgoing);
        match (self.caller.finish(), answer.is_last) {
            (false, _) => After::Linger,
            (true, true) => After::Close,
            (true, false) => After::Next,
        }
    }

    /// Ready when the caller closed its side while it waits: nobody hears the answer. While its body comes, the body tells.
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.caller.is_read() {
            self.caller.wait(cx);
            return Poll::Pending;
        }
        self.caller.wire.borrow_mut().poll_ended(AHEAD, cx)
    }

    /// Last bytes go out; what still comes is dropped, up to `most` bytes.
    async fn close(&self, most: usize) {
        let closing = std::future::poll_fn(|cx| {
            let mut wire = self.caller.wire.borrow_mut();
            std::task::ready!(wire.poll_flush(cx))?;
            wire.poll_shutdown(cx)
        });
        if !matches!(timeout(LINGER, closing).await, Ok(Ok(()))) || most == 0 {
            return;
        }
        let mut dropped = 0;
        let draining = std::future::poll_fn(|cx| {
            let mut wire = self.caller.wire.borrow_mut();
            while dropped < most {
                wire.read.clear();
                match std::task::ready!(wire.poll_fill(cx)) {
                    Ok(count) if count > 0 => dropped += count,
                    Ok(_) | Err(_) => break,
                }
            }
            Poll::Ready(())
        });
        if timeout(LINGER, draining).await.is_err() {
            tracing::debug!("a caller whose connection is closed still sent");
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, L> Drop for Serving<IO, L> {
    fn drop(&mut self) {
        // A body that is still read elsewhere would hold the socket.
        self.caller.close();
    }
}

// === impl Accepted ===

impl Accepted {
    fn bounds(&self) -> Bounds {
        Bounds {
            fields: self.limits.header_count as usize,
            bytes: self.limits.header_list as usize,
        }
    }

    /// Takes a whole head from `read`, if there is one.
    fn head(
        &self,
        read: &mut bytes::BytesMut,
        scanned: &mut usize,
    ) -> Result<Option<head::Request>, Refusal> {
        let Bounds { fields, bytes } = self.bounds();
        let Some(length) = head::end(read, scanned)? else {
            return match read.len() < bytes {
                true => Ok(None),
                false if read.contains(&b'\n') => Err(Refusal::HeadTooLong),
                false => Err(Refusal::TargetTooLong),
            };
        };
        if length > bytes {
            return Err(Refusal::HeadTooLong);
        }
        let request = head::request(&read.split_to(length), fields)?;
        match self.limits.is_strange() && request.target.len() > TARGET {
            true => Err(Refusal::TargetTooLong),
            false => Ok(Some(request)),
        }
    }

    fn decode<IO: AsyncRead + AsyncWrite + Unpin + 'static>(
        &self,
        request: head::Request,
        framing: Framing,
        body: Decoder,
        caller: &Rc<Caller<IO>>,
    ) -> Result<Call, Refusal> {
        let head::Request {
            method,
            target,
            version,
            mut headers,
        } = request;
        let is_strange = self.limits.is_strange();
        if method == Method::CONNECT || (is_strange && method == Method::TRACE) {
            return Err(Refusal::Method);
        }
        let (path, authority) = target::of(&method, &target, &headers, is_strange)?;
        let expects = version == Version::Http11 && takes_expectation(&mut headers);
        headers.remove(HOST);
        super::strip_hop_by_hop(&mut headers);
        headers.remove(CONTENT_LENGTH);
        if let Framing::Length(length) = framing {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        if is_strange {
            strip_underscores(&mut headers);
        }
        let body = caller.begin(body, expects);
        let mut call = Call::arrived(
            Protocol::Http1,
            self.peer.clone(),
            method,
            Uri::from(path),
            authority,
            headers,
            Box::pin(body),
        );
        if version == Version::Http11 {
            call.early = early(caller);
        }
        Ok(call)
    }

    fn count(&self, refusal: Refusal) {
        match refusal {
            Refusal::HeadTooLong => self.met(Limit::HeaderList),
            Refusal::TooManyFields => self.met(Limit::HeaderCount),
            Refusal::SlowHead => self.met(Limit::HeaderBlock),
            _ => {}
        }
    }

    fn met(&self, limit: Limit) {
        self.metrics.hit(self.limits.scope, limit, &self.peer);
    }
}

/// We give leave to send a body ourselves, when it is wanted, so the expectation goes no further.
fn takes_expectation(headers: &mut HeaderMap) -> bool {
    let expects = headers
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if expects {
        headers.remove(EXPECT);
    }
    expects
}

/// Some servers cannot tell `_` from `-`: what was stripped under one spelling would come in under the other.
fn strip_underscores(headers: &mut HeaderMap) {
    let names: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().contains('_'))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// 1xx heads, but for the one that we send ourselves.
fn early<IO: AsyncRead + AsyncWrite + Unpin + 'static>(caller: &Rc<Caller<IO>>) -> Early {
    let caller = Rc::clone(caller);
    Early::new(move |status, headers| {
        if status == StatusCode::CONTINUE || caller.is_answered.get() {
            return;
        }
        answer::early(status, headers, &mut caller.wire.borrow_mut().out);
        caller.wake();
    })
}

impl Asked {
    /// What of a request decides how it is answered.
    fn of(request: &head::Request) -> Self {
        let says = |name, word| super::says(&request.headers, name, word);
        let keeps = match request.version {
            Version::Http11 => !says(&CONNECTION, "close"),
            Version::Http10 => says(&CONNECTION, "keep-alive") && !says(&CONNECTION, "close"),
        };
        Self {
            is_head: request.method == Method::HEAD,
            version: request.version,
            keeps,
            has_trailers: request.version == Version::Http11 && says(&TE, "trailers"),
        }
    }
}

#[cfg(test)]
mod tests;
