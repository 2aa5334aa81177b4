//! Calls through a hop, whose streams are linked, to an application that sends back what it gets: every byte comes back in its order, and
//! when all is over nobody holds any and no credit is lost. Too little credit would stall a call, too much would be
//! a fault of the other side.

use std::collections::VecDeque;
use std::rc::Rc;

use arbitrary::Arbitrary;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::config::{Connection, Scope};
use crate::http2::client::Client;
use crate::http2::hop::Hop;
use crate::stack::{Boxed, Call, Data, Peer, Protocol};

const MOST_CALLS: usize = 4;
const MOST_PIECES: usize = 12;
/// Several windows' worth.
const LARGEST_PIECE: u16 = 4096;

#[derive(Arbitrary, Debug)]
struct Plan {
    stream_window: u16,
    /// What the connection between the two takes at once.
    pipe: u16,
    calls: Vec<Vec<Piece>>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Piece {
    bytes: u16,
    /// The sender lets others go first.
    waits: bool,
}

pub(super) fn run(bytes: &[u8]) {
    let mut input = arbitrary::Unstructured::new(bytes);
    let Ok(mut plan) = Plan::arbitrary(&mut input) else {
        return;
    };
    plan.calls.truncate(MOST_CALLS);
    for pieces in &mut plan.calls {
        pieces.truncate(MOST_PIECES);
    }
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets");
    runtime.block_on(LocalSet::new().run_until(link(plan)));
}

async fn link(plan: Plan) {
    let limits = Connection {
        stream_window: u32::from(plan.stream_window % 2048) + 1,
        known_stream_window: 4096,
        ..Connection::new(Scope::Mesh)
    };
    let hop = Hop::new(limits, usize::from(plan.pipe % 1024) + 1, |upstream| {
        Rc::new(Boxed(move |call| {
            let upstream = Rc::clone(&upstream);
            async move { upstream.call(call).await }
        }))
    });
    let calls: Vec<_> = (0_u8..)
        .zip(plan.calls)
        .map(|(number, pieces)| {
            tokio::task::spawn_local(echoed(Rc::clone(&hop.client), number, pieces))
        })
        .collect();
    for call in calls {
        call.await.expect("no panic");
    }
    hop.end().await;
}

async fn echoed(client: Rc<Client>, number: u8, pieces: Vec<Piece>) {
    let sent: Vec<Bytes> = pieces
        .iter()
        .enumerate()
        .map(|(index, piece)| {
            let byte = number
                .wrapping_mul(31)
                .wrapping_add(u8::try_from(index).unwrap_or(0));
            Bytes::from(vec![byte; usize::from(piece.bytes % LARGEST_PIECE)])
        })
        .collect();
    let expected = sent.concat();
    let queue: VecDeque<_> = pieces.into_iter().zip(sent).collect();
    let body = futures::stream::unfold(queue, |mut queue| async move {
        let (piece, bytes) = queue.pop_front()?;
        if piece.waits {
            tokio::task::yield_now().await;
        }
        Some((Ok(Frame::data(Data::uncredited(bytes))), queue))
    });
    let call = Call::arrived(
        Protocol::Http2,
        Peer::Application,
        Method::POST,
        Uri::from_static("/a.B/C"),
        "echo".to_owned(),
        HeaderMap::new(),
        Box::pin(StreamBody::new(body)),
    );
    let reply = client.call(call).await.expect("answered");
    let mut body = reply.body;
    let mut got = Vec::new();
    while let Some(frame) = body.frame().await {
        // A piece holds its credit: it is dropped before the next one is asked for.
        if let Ok(data) = frame.expect("a whole answer").into_data() {
            got.extend_from_slice(&data.bytes);
        }
    }
    assert!(got == expected, "other bytes came back");
}
