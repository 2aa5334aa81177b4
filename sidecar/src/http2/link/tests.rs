//! A hop whose stack looks at how often its bodies are asked.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::SinkExt as _;
use futures::channel::mpsc;
use http::{HeaderMap, Method, Uri};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, StreamBody};
use tokio::task::LocalSet;

use super::Link;
use crate::config::{Connection, Scope};
use crate::error::Error;
use crate::grpc::message::{Counter, Tally};
use crate::http2::client::Client;
use crate::http2::hop::Hop;
use crate::stack::{Body, Boxed, Call, Data, Dispatch, Linked, Peer, Protocol, Reply};

/// What is seen of the two directions of a call.
#[derive(Debug, Default)]
struct Seen {
    asked: Cell<usize>,
    tallies: [std::cell::RefCell<Tally>; 2],
}

/// A layer like those of the stages.
struct Looked {
    body: Body,
    seen: Rc<Seen>,
    direction: usize,
    may_link: bool,
}

impl http_body::Body for Looked {
    type Data = Data;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Error>>> {
        self.seen.asked.set(self.seen.asked.get() + 1);
        let polled = std::task::ready!(self.body.as_mut().poll_frame(cx));
        if let Some(Ok(frame)) = &polled
            && let Some(data) = frame.data_ref()
        {
            let tally = &self.seen.tallies[self.direction];
            tally.borrow_mut().see(&data.bytes);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Linked for Looked {
    fn link(mut self: Pin<&mut Self>, link: &Rc<Link>) -> bool {
        let is_linked = self.may_link && self.body.as_mut().link(link);
        if is_linked {
            let tally = &self.seen.tallies[self.direction];
            tally.borrow_mut().move_to(link.count());
        }
        is_linked
    }
}

fn looking(upstream: Rc<Client>, seen: Rc<Seen>, may_link: bool) -> Rc<dyn Dispatch> {
    Rc::new(Boxed(move |mut call: Call| {
        let (upstream, seen) = (Rc::clone(&upstream), Rc::clone(&seen));
        let look = move |body, direction| -> Body {
            Box::pin(Looked {
                body,
                seen: Rc::clone(&seen),
                direction,
                may_link,
            })
        };
        async move {
            let body = std::mem::replace(&mut call.body, crate::observe::empty());
            call.body = look(body, 0);
            let mut reply: Reply = upstream.call(call).await?;
            reply.body = look(reply.body, 1);
            Ok(reply)
        }
    }))
}

/// A message of gRPC with so many bytes.
fn message(length: u8) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, length];
    bytes.resize(5 + usize::from(length), length);
    bytes.into()
}

fn call(body: Body) -> Call {
    Call::arrived(
        Protocol::Http2,
        Peer::Application,
        Method::POST,
        Uri::from_static("/a.B/C"),
        "echo".to_owned(),
        HeaderMap::new(),
        body,
    )
}

/// Says a message, hears it, says the next one. What the stack saw of it.
async fn talked(messages: u8, may_link: bool) -> Rc<Seen> {
    let seen = Rc::new(Seen::default());
    let stack = |upstream| looking(upstream, Rc::clone(&seen), may_link);
    let hop = Hop::new(Connection::new(Scope::Mesh), 64 << 10, stack);
    let (mut sender, receiver) = mpsc::channel(1);
    let reply = hop.client.call(call(Box::pin(StreamBody::new(receiver))));
    let mut body = reply.await.expect("answered").body;
    for length in 0..messages {
        let said = message(length);
        let data = Data::uncredited(said.clone());
        sender.send(Ok(Frame::data(data))).await.expect("heard");
        let mut heard = Vec::new();
        while heard.len() < said.len() {
            let frame = body.frame().await.expect("more").expect("whole");
            heard.extend_from_slice(&frame.into_data().expect("data").bytes);
        }
        assert_eq!(heard, said);
    }
    drop(sender);
    assert!(body.frame().await.is_none());
    drop(body);
    hop.end().await;
    seen
}

fn counted(seen: &Seen) -> [(u64, u64); 2] {
    let pair = |counter: Counter| (counter.messages, counter.bytes);
    [0, 1].map(|direction| pair(seen.tallies[direction].borrow().count()))
}

#[tokio::test(start_paused = true)]
async fn what_is_said_in_a_call_passes_its_stack_and_is_counted_there() {
    LocalSet::new()
        .run_until(async {
            let linked = talked(100, true).await;
            let looked_at = talked(100, false).await;
            let bytes: u64 = (0..100).map(|length| 5 + length).sum();
            for seen in [&linked, &looked_at] {
                assert_eq!(counted(seen), [(100, bytes); 2]);
            }
            let asked = |seen: &Seen| seen.asked.get();
            assert!(asked(&looked_at) > 200, "{looked_at:?}");
            // The head, what waited for it, and the end.
            assert!(asked(&linked) < 20, "{linked:?}");
        })
        .await;
}
