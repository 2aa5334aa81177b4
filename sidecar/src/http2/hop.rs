//! A whole hop for tests: a caller's client, our server and our client with a stack between them, and an application that sends back what
//! it gets.

use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{Client, Setup, connect};
use super::metrics::Metrics;
use super::server::{Accepted, Ending, serve};
use crate::config::Connection;
use crate::error::Error;
use crate::stack::{Boxed, Call, Dispatch, Peer, Reply};

/// Two connections with a stack between them.
pub(crate) struct Hop {
    /// The caller's.
    pub(crate) client: Rc<Client>,
    upstream: Rc<Client>,
    leave: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

// === impl Hop ===

impl Hop {
    /// `limits` hold for all four ends; each connection takes `pipe` bytes at once. `stack` gets the client that leads on.
    pub(crate) fn new(
        limits: Connection,
        pipe: usize,
        stack: impl FnOnce(Rc<Client>) -> Rc<dyn Dispatch>,
    ) -> Self {
        let leave = CancellationToken::new();
        let mut tasks = Vec::new();
        let (upstream, application) = duplex(pipe);
        tasks.push(answering(application, limits, Rc::new(Boxed(echo)), &leave));
        let upstream = calling(upstream, limits, &mut tasks);
        let (caller, ours) = duplex(pipe);
        tasks.push(answering(ours, limits, stack(Rc::clone(&upstream)), &leave));
        Self {
            client: calling(caller, limits, &mut tasks),
            upstream,
            leave,
            tasks,
        }
    }

    /// Nobody holds anything, and both connections end in order.
    pub(crate) async fn end(self) {
        for client in [&self.client, &self.upstream] {
            assert_eq!(client.held(), 0, "bytes that nobody forwarded");
        }
        self.leave.cancel();
        for task in self.tasks {
            task.await.expect("no panic");
        }
    }
}

fn calling(io: DuplexStream, limits: Connection, tasks: &mut Vec<JoinHandle<()>>) -> Rc<Client> {
    let (client, mut driver) = connect(io, &Setup::of(limits));
    tasks.push(tokio::task::spawn_local(async move {
        let driven = std::future::poll_fn(|cx| driver.poll(cx)).await;
        driven.expect("an end in order");
    }));
    client
}

fn answering(
    io: DuplexStream,
    limits: Connection,
    dispatch: Rc<dyn Dispatch>,
    leave: &CancellationToken,
) -> JoinHandle<()> {
    let accepted = Accepted {
        dispatch,
        peer: Peer::Application,
        limits,
        idle: Duration::from_secs(60),
        preface: Duration::from_secs(5),
        header_block: Duration::from_secs(5),
        patience: Duration::from_secs(60),
        metrics: Metrics::default(),
    };
    let ending = Ending {
        leave: leave.clone().cancelled_owned(),
        cut: std::future::pending(),
    };
    tokio::task::spawn_local(serve(io, Rc::new(accepted), ending, TaskTracker::new()))
}

/// The credit of a piece goes the way of its bytes.
async fn echo(call: Call) -> Result<Reply, Error> {
    Ok(Reply {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: call.into_parts().body,
    })
}
