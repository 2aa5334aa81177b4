//! What a stage is, and what flows through it: a `Call` down, a `Reply` up, an `Error` instead of a reply.
//!
//! Stages are plain async functions over `Call`; there is no `poll_ready`: waiting and refusing is admission's work. A route's stack is
//! boxed once, behind `Dispatch`. Nothing is `Send`: a data-plane thread owns its connections and its stacks.

/// A direction's bytes.
mod body;

/// A request's fields.
mod headers;

use std::future::Future;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::time::Instant;

use crate::contract;
use crate::error::Error;
use crate::identity::spiffe::SpiffeId;
use crate::memory;
use crate::observe::{self, trace};

pub use body::{Body, Data, Linked};
pub use headers::{Headers, number};

/// Who is at the other end of the connection a call arrived on.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Our own application (outbound side).
    Application,
    /// A verified mesh identity (inbound side).
    Mesh(Arc<SpiffeId>),
    /// The internet (edge listener).
    Public(SocketAddr),
}

/// How the call is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    Http2,
    Http1,
}

/// One call on its way down the stack. Facts are filled by the stage they are named for.
#[derive(Debug)]
pub struct Call(Box<Parts>);

/// What a [`Call`] holds.
pub struct Parts {
    pub method: Method,
    /// Path and query; `:authority` is in `authority`.
    pub uri: Uri,
    pub authority: String,
    pub headers: Headers,
    pub body: Body,
    pub protocol: Protocol,
    pub peer: Peer,
    /// When the complete header block had arrived.
    pub received: Instant,
    /// Upstream service (outbound) or application (inbound); set by `route` or the inbound stack.
    pub service: Arc<str>,
    /// The contract's view of the method; `None` = not in any contract.
    pub promise: Option<Arc<contract::Promise>>,
    pub deadline: Option<Instant>,
    /// 1 for the first attempt.
    pub attempt: u32,
    pub trace: trace::Context,
    /// What the stages below learn and the observer above reports; shared by all attempts of a call.
    pub facts: Rc<observe::Facts>,
    /// The caller hears 1xx heads through it.
    pub early: Early,
    /// What the head takes of the process's memory for such.
    pub room: memory::Room,
}

/// Where heads go that come before the response (RFC 9110, 15.2): back to whoever accepted the call, past all stages, because they
/// decide nothing. Callers that cannot be told hear nothing, which is allowed.
#[derive(Clone, Default)]
pub struct Early(Option<Rc<Tell>>);

type Tell = dyn Fn(StatusCode, &HeaderMap);

/// What comes back up. Its body carries the trailers, and drives what is left of the request's body.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
}

/// A stage, or a closure standing in for one in a test.
pub trait Stage: 'static {
    fn call(&self, call: Call) -> impl Future<Output = Result<Reply, Error>>;
}

/// The seam at which a stack is boxed, once a route.
pub trait Dispatch {
    fn dispatch(self: Rc<Self>, call: Call) -> Pin<Box<dyn Future<Output = Result<Reply, Error>>>>;
}

// === impl Call ===

impl Call {
    pub fn new(parts: Parts) -> Self {
        Self(Box::new(parts))
    }

    /// A call as it arrived, before any stage filled in a fact: the form the accept loops build.
    pub fn arrived(
        protocol: Protocol,
        peer: Peer,
        method: Method,
        uri: Uri,
        authority: String,
        headers: HeaderMap,
        body: Body,
    ) -> Self {
        Self::new(Parts {
            method,
            uri,
            authority,
            headers: headers.into(),
            body,
            protocol,
            peer,
            received: Instant::now(),
            service: Arc::from(""),
            promise: None,
            deadline: None,
            attempt: 1,
            trace: trace::Context::default(),
            facts: Rc::default(),
            early: Early::default(),
            room: memory::Room::default(),
        })
    }

    pub fn into_parts(self) -> Parts {
        *self.0
    }
}

impl Deref for Call {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Call {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .field("authority", &self.authority)
            .field("service", &self.service)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

// === impl Early ===

impl std::fmt::Debug for Early {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Early").field(&self.0.is_some()).finish()
    }
}

impl Early {
    pub fn new(tell: impl Fn(StatusCode, &HeaderMap) + 'static) -> Self {
        Self(Some(Rc::new(tell)))
    }

    pub fn tell(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some(tell) = &self.0 {
            tell(status, headers);
        }
    }
}

// === impl Stage, Dispatch ===

impl<F, R> Stage for F
where
    F: Fn(Call) -> R + 'static,
    R: Future<Output = Result<Reply, Error>>,
{
    fn call(&self, call: Call) -> impl Future<Output = Result<Reply, Error>> {
        self(call)
    }
}

/// A stage boxed for [`Dispatch`].
#[derive(Debug)]
pub struct Boxed<S>(pub S);

impl<S: Stage> Dispatch for Boxed<S> {
    fn dispatch(self: Rc<Self>, call: Call) -> Pin<Box<dyn Future<Output = Result<Reply, Error>>>> {
        Box::pin(async move { self.0.call(call).await })
    }
}

impl<L: Stage, R: Stage> Stage for tower::util::Either<L, R> {
    async fn call(&self, call: Call) -> Result<Reply, Error> {
        match self {
            Self::Left(stage) => stage.call(call).await,
            Self::Right(stage) => stage.call(call).await,
        }
    }
}
