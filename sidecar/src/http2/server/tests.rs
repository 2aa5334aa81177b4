//! Our server and our client against each other, while the server leaves.

use std::cell::RefCell;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::duplex;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Scope;
use crate::error::Processed;
use crate::http2::client::{self, Client, Setup, connect};
use crate::stack::{Boxed, Data};

/// An application that takes a while, a different one each time, and then answers a message and trailers.
async fn application(turns: usize, call: Call) -> Result<Reply, Error> {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
    call.into_parts().body.collect().await?;
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let frames = [
        Ok(Frame::data(Data::uncredited(Bytes::from_static(b"done")))),
        Ok(Frame::trailers(trailers)),
    ];
    Ok(Reply {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Box::pin(StreamBody::new(futures::stream::iter(frames))),
    })
}

fn accepted() -> Accepted {
    let turns = RefCell::new(0);
    let dispatch = Boxed(move |call: Call| {
        *turns.borrow_mut() += 7;
        application(*turns.borrow() % 31, call)
    });
    Accepted {
        dispatch: Rc::new(dispatch),
        peer: Peer::Application,
        limits: Connection::new(Scope::Mesh),
        idle: Duration::from_secs(60),
        preface: Duration::from_secs(5),
        header_block: Duration::from_secs(5),
        patience: Duration::from_secs(60),
        metrics: Metrics::default(),
    }
}

fn call() -> Call {
    let body = [Ok(Frame::data(Data::uncredited(Bytes::from_static(b"do"))))];
    Call::arrived(
        Protocol::Http2,
        Peer::Application,
        Method::POST,
        Uri::from_static("/a.B/C"),
        "orders".to_owned(),
        HeaderMap::new(),
        Box::pin(StreamBody::new(futures::stream::iter(body))),
    )
}

/// `Ok(true)`: answered. `Ok(false)`: provably not taken.
async fn outcome(client: Rc<Client>) -> Result<bool, Error> {
    let reply = match client.call(call()).await {
        Err(err) if err.processed == Processed::No => return Ok(false),
        reply => reply?,
    };
    let collected = reply.body.collect().await?;
    assert_eq!(collected.trailers().expect("trailers")["grpc-status"], "0");
    assert_eq!(collected.to_bytes(), "done");
    Ok(true)
}

/// One connection that is drained with calls in flight, and more begun while it is. How many were answered, and how many not taken.
async fn drained(before: usize, between: usize, settle: usize) -> (usize, usize) {
    let (near, far) = duplex(64 << 10);
    let leave = CancellationToken::new();
    let ending = Ending {
        leave: leave.clone().cancelled_owned(),
        cut: std::future::pending(),
    };
    let tasks = TaskTracker::new();
    let serving = tokio::task::spawn_local(serve(far, Rc::new(accepted()), ending, tasks.clone()));
    let setup = Setup {
        limits: Connection::new(Scope::Mesh),
        scheme: http::uri::Scheme::HTTPS,
        ping: None,
        patience: Duration::from_secs(60),
        metrics: Metrics::default(),
    };
    let (client, mut driver): (_, client::Driver<_>) = connect(near, &setup);
    let driven =
        tokio::task::spawn_local(async move { std::future::poll_fn(|cx| driver.poll(cx)).await });
    let begin = || tokio::task::spawn_local(outcome(Rc::clone(&client)));
    let mut calls: Vec<_> = (0..before).map(|_| begin()).collect();
    for _ in 0..settle {
        tokio::task::yield_now().await;
    }
    leave.cancel();
    for _ in 0..between {
        calls.push(begin());
        tokio::task::yield_now().await;
    }
    let mut answered = 0;
    for call in calls {
        answered += usize::from(call.await.unwrap().expect("neither lost nor failed"));
    }
    driven.await.unwrap().expect("an end in order");
    serving.await.unwrap();
    (answered, before + between - answered)
}

/// RFC 9113, 6.8: two steps, so that what was on its way is served.
#[tokio::test]
async fn no_call_is_lost_by_a_connection_that_is_drained() {
    LocalSet::new()
        .run_until(async {
            let mut untaken = 0;
            for round in 0..200 {
                // At every moment of the calls' lives; at the first ones they have not left yet.
                let moment = round % 40;
                let (answered, not_taken) = drained(50, 20, moment).await;
                assert!(
                    answered >= 50 || moment < 5,
                    "round {round}: {answered} answered"
                );
                untaken += not_taken;
            }
            assert!(untaken > 0, "no round had a call that came too late");
        })
        .await;
}
