//! Connections of one thread to the local application: HTTP/2 in clear, or HTTP/1.1 where it speaks nothing else.

use std::cell::RefCell;
use std::future::Future as _;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use futures::FutureExt as _;
use futures::future::Shared;
use http::uri::Scheme;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::idle::idle;
use super::strangers::Strangers;
use super::{choice, dial};
use crate::accept::stream::Plain;
use crate::config::{Address, AppProtocol, Limits};
use crate::error::{Error, Kind};
use crate::http1;
use crate::http2;
use crate::http2::client::{Client, Driver, Setup, Share, connect};
use crate::stack::{Call, Protocol, Reply};

/// HTTP/2 connections, at most; each carries what the application takes.
const MOST: usize = 16;

/// A connection being made; all who wait hear what became of it.
type Dialing = Shared<oneshot::Receiver<Result<Rc<Client>, Rc<io::Error>>>>;

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
    dialing: RefCell<Option<Dialing>>,
    pub(crate) strangers: Strangers,
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
        let strangers = Strangers::new(&setup.limits, &parts.tasks, &parts.bounds);
        Rc::new(Self {
            parts,
            setup,
            exchanges,
            connections: RefCell::default(),
            idle: Rc::default(),
            dialing: RefCell::default(),
            strangers,
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
        let reached = self.reach().await;
        reached.map_err(|err| unreachable(&self.parts.address, &err))
    }

    /// An HTTP/2 connection with room for one more call, of a caller that has that share.
    pub(crate) async fn acquire(self: &Rc<Self>, share: Share) -> Result<Rc<Client>, Error> {
        loop {
            if let Some(client) = self.choose(share) {
                return Ok(client);
            }
            if self.connections.borrow().len() >= MOST {
                return Err(Error::unprocessed(
                    Kind::Overloaded,
                    "the application takes no further call on any connection",
                ));
            }
            let made = self.another().await?;
            if made.is_closed() {
                // Its call hears so; an application that ends what it accepts is not dialled again and again.
                return Ok(made);
            }
        }
    }

    /// Waits for the connection that is being made. A call that gives up leaves it to the next one.
    async fn another(self: &Rc<Self>) -> Result<Rc<Client>, Error> {
        let dialing = self
            .dialing
            .borrow_mut()
            .get_or_insert_with(|| self.make())
            .clone();
        match dialing.await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(err)) => Err(unreachable(&self.parts.address, &err)),
            Err(_) => {
                // Its task is gone without a word: a fault of ours must not stop later calls.
                self.dialing.take();
                Err(Error::unsent(
                    "the connection to the application was given up",
                ))
            }
        }
    }

    /// Makes a connection and drives it.
    fn make(self: &Rc<Self>) -> Dialing {
        let (tell, told) = oneshot::channel();
        let application = Rc::clone(self);
        self.parts.tasks.spawn_local(async move {
            let made = tokio::select! {
                made = application.connected() => made,
                () = application.parts.cut.cancelled() => Err(io::Error::other("its sidecar stops")),
            };
            application.dialing.take();
            match made {
                Ok((client, driver)) => {
                    application
                        .connections
                        .borrow_mut()
                        .push(Rc::clone(&client));
                    // Nobody may wait any more.
                    let _ = tell.send(Ok(Rc::clone(&client)));
                    application.drive(&client, driver).await;
                }
                Err(err) => drop(tell.send(Err(Rc::new(err)))),
            }
        });
        told.shared()
    }

    async fn connected(&self) -> io::Result<(Rc<Client>, Driver<Plain>)> {
        let (client, mut driver) = connect(self.reach().await?, &self.setup);
        greet(&client, &mut driver).await;
        Ok((client, driver))
    }

    /// One call over HTTP/1.1, on a kept connection if there is one.
    pub(crate) async fn call_http1(&self, call: Call) -> Result<Reply, Error> {
        let ready = match self.idle.take() {
            Some(ready) => ready,
            None => http1::client::Ready::new(self.dial().await?),
        };
        http1::client::call(&self.idle, ready, call, &self.exchanges).await
    }

    fn choose(&self, share: Share) -> Option<Rc<Client>> {
        choice::first_light(&self.connections.borrow(), MOST, share)
    }

    async fn reach(&self) -> io::Result<Plain> {
        let limit = self.parts.limits.connect.application_timeout;
        let dialed = timeout(limit, dial::local(&self.parts.address)).await;
        dialed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
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

/// Waits for the application's SETTINGS, or for the end of an application that sends none in time. A burst before them may be more than it
/// takes, and some do not refuse what is. What waits here was not sent: it is better off than on a connection that may be given up.
async fn greet(client: &Client, driver: &mut Driver<Plain>) {
    std::future::poll_fn(|cx| match driver.poll(cx) {
        Poll::Pending if !client.is_greeted() => Poll::Pending,
        _ => Poll::Ready(()),
    })
    .await;
}

fn unreachable(address: &Address, err: &io::Error) -> Error {
    Error::unprocessed(
        Kind::NoEndpoint,
        format!("the application on {address} cannot be reached: {err}"),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt as _, poll};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::LocalSet;

    use super::*;
    use crate::error::Processed;

    async fn listening() -> (TcpListener, Rc<Application>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut limits = Limits::default();
        limits.connect.preface = Duration::from_secs(1);
        let application = Application::new(Parts {
            address: Address::Tcp(listener.local_addr().unwrap()),
            protocol: AppProtocol::Grpc,
            limits,
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
            bounds: http2::Metrics::default(),
        });
        (listener, application)
    }

    /// The other end of the connection that a call waits for.
    async fn accepted(
        listener: &TcpListener,
        call: impl Future<Output = Result<Rc<Client>, Error>>,
    ) -> TcpStream {
        tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = call => panic!("nobody has accepted yet"),
        }
    }

    /// Without a word in them.
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

    /// It accepts and says nothing, as one does that has no time.
    #[tokio::test]
    async fn a_call_that_gives_up_leaves_the_connection_being_made_to_the_next() {
        let test = async {
            let (listener, application) = listening().await;
            let mut busy = accepted(&listener, application.acquire(Share::All)).await;
            let mut next = Box::pin(application.acquire(Share::All));
            assert!(poll!(&mut next).is_pending());
            busy.write_all(&SETTINGS).await.unwrap();
            assert!(next.await.is_ok_and(|client| !client.is_closed()));
            assert!(listener.accept().now_or_never().is_none(), "dialled again");
        };
        LocalSet::new().run_until(test).await;
    }

    /// On a connection that is given up they could not be sent again.
    #[tokio::test]
    async fn no_call_is_sent_to_an_application_that_has_said_nothing() {
        let test = async {
            let (listener, application) = listening().await;
            let mut call = Box::pin(application.acquire(Share::All));
            let _silent = accepted(&listener, &mut call).await;
            let client = call.await.unwrap();
            assert!(client.is_closed());
            let refused = client.call(choice::tests::call()).await.unwrap_err();
            assert_eq!(refused.processed, Processed::No);
            assert!(refused.detail.contains("no_preface_in_time"), "{refused:?}");
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_sidecar_that_stops_does_not_wait_for_an_application_that_has_said_nothing() {
        let test = async {
            let (listener, application) = listening().await;
            let mut call = Box::pin(application.acquire(Share::All));
            let _silent = accepted(&listener, &mut call).await;
            application.parts.cut.cancel();
            let refused = call.await.unwrap_err();
            assert_eq!(refused.processed, Processed::No, "{refused:?}");
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn an_application_that_ends_what_it_accepts_is_dialled_once_a_call() {
        let test = async {
            let (listener, application) = listening().await;
            let mut call = Box::pin(application.acquire(Share::All));
            drop(accepted(&listener, &mut call).await);
            assert!(call.await.is_ok_and(|client| client.is_closed()));
            assert!(listener.accept().now_or_never().is_none(), "dialled again");
        };
        LocalSet::new().run_until(test).await;
    }
}
