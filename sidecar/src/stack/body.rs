//! A direction of a call's bytes, as the stages hand it on.

use std::pin::Pin;
use std::rc::Rc;

use bytes::{Buf, Bytes};
use http_body_util::StreamBody;
use http_body_util::combinators::MapErr;

use crate::error::Error;
use crate::http2::{Credit, Link};

/// One direction of a call's bytes: DATA frames, then optionally trailers. Polling a reply's body also drives the request's.
pub type Body = Pin<Box<dyn Linked>>;

/// A body that may let bytes pass.
pub trait Linked: http_body::Body<Data = Data, Error = Error> {
    /// Lets what comes from now on pass by `link`, as far as its sink takes it; the rest, trailers and the end are still polled for. False
    /// where each piece has to be seen, or the bytes are not those of an HTTP/2 stream. To be asked while polling is pending.
    fn link(self: Pin<&mut Self>, _link: &Rc<Link>) -> bool {
        false
    }
}

/// A piece of a body and the flow-control credit it holds: dropping it gives the credit back to the sender, so drop it only once the
/// bytes went onwards.
#[derive(Debug)]
pub struct Data {
    pub bytes: Bytes,
    pub credit: Credit,
}

// === impl Linked ===

impl<B, F> Linked for MapErr<B, F> where Self: http_body::Body<Data = Data, Error = Error> {}

impl<S> Linked for StreamBody<S> where Self: http_body::Body<Data = Data, Error = Error> {}

// === impl Data ===

impl Data {
    /// Bytes that nobody waits to get credit for.
    pub fn uncredited(bytes: Bytes) -> Self {
        Self {
            bytes,
            credit: Credit::none(),
        }
    }
}

impl Buf for Data {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}
