//! Connections of one thread to the local application: HTTP/2 in clear, or HTTP/1.1 where it speaks nothing else.

use std::cell::RefCell;
use std::future::Future as _;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::uri::Scheme;
use tokio::sync::Mutex;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::idle::idle;
use super::{choice, dial};
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
    idle: Rc<http1::client::Idle<Plain>>,
    exchanges: http1::client::Setup,
    /// One dial at a time: a burst of calls must not become a burst of connections.
    dialing: Mutex<()>,
}

// === impl Application ===

impl Application {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let setup = Setup {
            limits: parts.limits.app_in(),
            scheme: Scheme::HTTP,
            ping: None,
            patience: parts.limits.connect.stream_progress,
            preface: parts.limits.connect.preface,
            header_block: parts.limits.connect.header_block,
            metrics: parts.bounds.clone(),
        };
        let exchanges = http1::client::Setup {
            limits: parts.limits.app_in(),
            patience: parts.limits.connect.stream_progress,
            cut: parts.cut.clone(),
            metrics: parts.bounds.clone(),
        };
        Rc::new(Self {
            parts,
            setup,
            exchanges,
            connections: RefCell::default(),
            idle: Rc::default(),
            dialing: Mutex::default(),
        })
    }

    /// Whether a call is sent as HTTP/1.1. gRPC needs HTTP/2 whatever the application was declared to speak.
    pub(crate) fn speaks_http1(&self, protocol: Protocol) -> bool {
        self.parts.protocol == AppProtocol::Http && protocol != Protocol::Grpc
    }

    /// Whether it takes calls at all.
    pub(crate) fn takes_calls(&self) -> bool {
        self.parts.protocol != AppProtocol::Tcp
    }

    /// A connection for bytes that are no calls.
    pub(crate) async fn dial(&self) -> Result<Plain, Error> {
        self.reach().await
    }

    /// An HTTP/2 connection with room for one more call.
    pub(crate) async fn acquire(self: &Rc<Self>) -> Result<Rc<Client>, Error> {
        if let Some(client) = self.choose() {
            return Ok(client);
        }
        let _one = self.dialing.lock().await;
        if let Some(client) = self.choose() {
            return Ok(client);
        }
        if self.connections.borrow().len() >= MOST {
            return Err(Error::unprocessed(
                Kind::Overloaded,
                "the application takes no further call on any connection",
            ));
        }
        let io = self.reach().await?;
        let (client, mut driver) = connect(io, &self.setup);
        self.greet(&client, &mut driver).await;
        self.connections.borrow_mut().push(Rc::clone(&client));
        let application = Rc::clone(self);
        let driven = Rc::clone(&client);
        self.parts
            .tasks
            .spawn_local(async move { application.drive(&driven, driver).await });
        Ok(client)
    }

    /// Waits for the application's SETTINGS: a burst before them may be more than it takes, and some do not refuse what is. One that
    /// stays silent, or is gone, is what its first call finds out.
    async fn greet(&self, client: &Client, driver: &mut Driver<Plain>) {
        let greeted = std::future::poll_fn(|cx| match driver.poll(cx) {
            Poll::Pending if !client.is_greeted() => Poll::Pending,
            _ => Poll::Ready(()),
        });
        let limit = self.parts.limits.connect.application_timeout;
        let _: Result<(), Elapsed> = timeout(limit, greeted).await;
    }

    /// One call over HTTP/1.1, on a kept connection if there is one.
    pub(crate) async fn call_http1(&self, call: Call) -> Result<Reply, Error> {
        let ready = match self.idle.take() {
            Some(ready) => ready,
            None => http1::client::Ready::new(self.reach().await?),
        };
        http1::client::call(&self.idle, ready, call, &self.exchanges).await
    }

    fn choose(&self) -> Option<Rc<Client>> {
        choice::first_light(&self.connections.borrow(), MOST)
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
        let mut spared = std::pin::pin!(self.spare(client));
        let ended = std::future::poll_fn(|cx| {
            if cut.as_mut().poll(cx).is_ready() {
                client.cut();
                return Poll::Ready(Ok(()));
            }
            let polled = driver.poll(cx);
            let _: Poll<()> = spared.as_mut().poll(cx);
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

    /// Closes what carries nothing, unless it is the last: the next call should not have to wait for the application to accept.
    async fn spare(&self, client: &Rc<Client>) {
        let limit = self.parts.limits.connect.idle;
        loop {
            idle(client, limit).await;
            if self.connections.borrow().len() > 1 {
                client.close();
                return std::future::pending().await;
            }
            tokio::time::sleep(limit).await;
        }
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
