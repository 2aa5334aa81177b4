//! Connections of one thread to the local application: HTTP/2 in clear, or HTTP/1.1 where it speaks nothing else.

use std::cell::RefCell;
use std::future::Future as _;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::uri::Scheme;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dial;
use crate::accept::stream::Plain;
use crate::config::{Address, AppProtocol, Limits};
use crate::error::{Error, Kind};
use crate::http1;
use crate::http2;
use crate::http2::client::{Client, Driver, Setup, connect};
use crate::stack::{Call, Protocol, Reply};

/// HTTP/2 connections, at most; each carries what the application takes.
const MOST: usize = 16;

/// What is needed to reach the application.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) address: Address,
    pub(crate) protocol: AppProtocol,
    pub(crate) limits: Limits,
    pub(crate) tasks: TaskTracker,
    /// Ends connections with what is on them.
    pub(crate) cut: CancellationToken,
    pub(crate) bounds: http2::Metrics,
}

/// The connections of one thread to the local application.
#[derive(Debug)]
pub struct Application {
    parts: Parts,
    setup: Setup,
    connections: RefCell<Vec<Rc<Client>>>,
    idle: Rc<http1::client::Idle>,
    /// One dial at a time: a burst of calls must not become a burst of connections.
    dialing: Mutex<()>,
}

// === impl Application ===

impl Application {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let setup = Setup {
            limits: parts.limits.local(),
            scheme: Scheme::HTTP,
            ping: None,
            patience: parts.limits.connect.stream_progress,
            metrics: parts.bounds.clone(),
        };
        Rc::new(Self {
            parts,
            setup,
            connections: RefCell::default(),
            idle: Rc::default(),
            dialing: Mutex::default(),
        })
    }

    /// Whether a call is sent as HTTP/1.1. gRPC needs HTTP/2 whatever the application was declared to speak.
    pub(crate) fn speaks_http1(&self, protocol: Protocol) -> bool {
        matches!(self.parts.protocol, AppProtocol::Http | AppProtocol::Tcp)
            && protocol != Protocol::Grpc
    }

    /// An HTTP/2 connection with room for one more call.
    pub(crate) async fn acquire(self: &Rc<Self>) -> Result<Rc<Client>, Error> {
        if let Some(client) = self.roomiest() {
            return Ok(client);
        }
        let _one = self.dialing.lock().await;
        if let Some(client) = self.roomiest() {
            return Ok(client);
        }
        if self.connections.borrow().len() >= MOST {
            return Err(Error::unprocessed(
                Kind::Overloaded,
                "the application takes no further call on any connection",
            ));
        }
        let io = self.reach().await?;
        let (client, driver) = connect(io, &self.setup);
        self.connections.borrow_mut().push(Rc::clone(&client));
        let application = Rc::clone(self);
        let driven = Rc::clone(&client);
        self.parts
            .tasks
            .spawn_local(async move { application.drive(&driven, driver).await });
        Ok(client)
    }

    /// One call over HTTP/1.1. A kept connection that the application closed meanwhile is replaced.
    pub(crate) async fn call_http1(self: &Rc<Self>, mut call: Call) -> Result<Reply, Error> {
        loop {
            let (sender, fresh) = match self.idle.take() {
                Some(sender) => (sender, false),
                None => (self.open_http1().await?, true),
            };
            match http1::client::call(&self.idle, sender, call, &self.parts.cut).await? {
                http1::client::Sent::Answered(reply) => return Ok(reply),
                http1::client::Sent::NotSent(_) if fresh => {
                    return Err(Error::unprocessed(
                        Kind::NoEndpoint,
                        "the application closed a new connection before it took the call",
                    ));
                }
                http1::client::Sent::NotSent(returned) => call = returned,
            }
        }
    }

    async fn open_http1(&self) -> Result<http1::client::Sender, Error> {
        let io = self.reach().await?;
        http1::client::connect(io, &self.parts.tasks, self.parts.cut.clone())
            .await
            .map_err(|err| unreachable(&self.parts.address, &io::Error::other(err)))
    }

    fn roomiest(&self) -> Option<Rc<Client>> {
        self.connections
            .borrow()
            .iter()
            .filter(|client| client.has_room())
            .min_by_key(|client| client.open_calls())
            .cloned()
    }

    async fn reach(&self) -> Result<Plain, Error> {
        let limit: Duration = self.parts.limits.connect.application_timeout;
        match timeout(limit, dial::local(&self.parts.address)).await {
            Ok(Ok(io)) => Ok(io),
            Ok(Err(err)) => Err(unreachable(&self.parts.address, &err)),
            Err(_) => Err(unreachable(
                &self.parts.address,
                &io::ErrorKind::TimedOut.into(),
            )),
        }
    }

    async fn drive(&self, client: &Rc<Client>, mut driver: Driver<Plain>) {
        let mut cut = std::pin::pin!(self.parts.cut.cancelled());
        let ended = std::future::poll_fn(|cx| {
            if cut.as_mut().poll(cx).is_ready() {
                client.cut();
                return Poll::Ready(Ok(()));
            }
            let polled = driver.poll(cx);
            if client.is_closed() {
                self.forget(client);
            }
            polled
        })
        .await;
        if let Err(err) = ended {
            tracing::debug!(error = %err, "connection to the application ended");
        }
        drop(driver);
        self.forget(client);
    }

    fn forget(&self, client: &Rc<Client>) {
        self.connections
            .borrow_mut()
            .retain(|other| !Rc::ptr_eq(other, client));
    }
}

fn unreachable(address: &Address, err: &io::Error) -> Error {
    Error::unprocessed(
        Kind::NoEndpoint,
        format!("the application on {address} cannot be reached: {err}"),
    )
}
