//! Which of the connections to one place takes a call.

use std::rc::Rc;

use crate::http2::client::{Client, Share};

/// The first of which not an eighth is taken: what a burst needed falls idle behind it. Else the one with the fewest calls among those with
/// room; once there are `most` connections, among those that take a call at all. `None`: another connection is needed.
pub(super) fn first_light(
    connections: &[Rc<Client>],
    most: usize,
    share: Share,
) -> Option<Rc<Client>> {
    let light = connections.iter().find(|client| client.is_light());
    light
        .cloned()
        .or_else(|| roomiest(connections, most, share))
}

fn roomiest(connections: &[Rc<Client>], most: usize, share: Share) -> Option<Rc<Client>> {
    let are_enough = connections.len() >= most;
    let takes =
        |client: &&Rc<Client>| client.has_room(share) || (are_enough && client.has_slot(share));
    let open = connections.iter().filter(takes);
    open.min_by_key(|client| client.open_calls()).cloned()
}

#[cfg(test)]
pub(super) mod tests {
    use http::{HeaderMap, Method, Uri};
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::config::{Connection, Scope};
    use crate::http2::client::{Driver, Setup, connect};
    use crate::stack::{Call, Peer, Protocol};

    /// It has room for half of what it takes; it is closed with its driver.
    fn client(room: u32) -> (Rc<Client>, Driver<DuplexStream>) {
        let mut limits = Connection::new(Scope::Mesh);
        limits.connection_buffered = limits.stream_window * room;
        limits.max_concurrent_streams = 2 * room;
        connect(duplex(1 << 10).0, &Setup::of(limits))
    }

    pub(in super::super) fn call() -> Call {
        Call::arrived(
            Protocol::Http2,
            Peer::Application,
            Method::GET,
            Uri::from_static("/"),
            "orders".to_owned(),
            HeaderMap::new(),
            crate::observe::empty(),
        )
    }

    /// Room for sixteen: a second call goes beside the first, a third elsewhere.
    #[tokio::test]
    async fn few_calls_stay_together_and_many_spread() {
        let ((first, _one), (second, _other)) = (client(16), client(16));
        let connections = [first, second];
        let mut calls = Vec::new();
        let mut open = Vec::new();
        for _ in 0..6 {
            let client = first_light(&connections, 9, Share::All).unwrap();
            let mut call = Box::pin(async move { client.call(call()).await });
            assert!(futures::poll!(&mut call).is_pending());
            calls.push(call);
            open.push(connections.each_ref().map(|client| client.open_calls()));
        }
        assert_eq!(open, [[1, 0], [2, 0], [2, 1], [2, 2], [3, 2], [3, 3]]);
        // The burst is over: the second falls idle.
        calls.clear();
        let client = first_light(&connections, 9, Share::All).unwrap();
        assert!(Rc::ptr_eq(&client, &connections[0]));
    }

    #[tokio::test]
    async fn calls_spread_until_there_are_enough_connections_and_then_fill_them() {
        let ((first, _one), (second, _other)) = (client(1), client(1));
        let connections = [first, second];
        let mut calls = Vec::new();
        let mut taken = Vec::new();
        for most in [3, 3, 3, 2, 2, 2] {
            let chosen = roomiest(&connections, most, Share::All);
            taken.push(chosen.is_some());
            if let Some(client) = chosen {
                let mut call = Box::pin(async move { client.call(call()).await });
                assert!(futures::poll!(&mut call).is_pending());
                calls.push(call);
            }
        }
        assert_eq!(taken, [true, true, false, true, true, false]);
        let open = connections.map(|client| client.open_calls());
        assert_eq!(open, [2, 2]);
    }

    /// Sixteen have room, thirty-two a slot.
    #[tokio::test]
    async fn who_was_never_served_leaves_an_eighth_to_those_who_were() {
        for (share, most, expected) in [
            (Share::OfTheUnknown, 2, 14),
            (Share::All, 2, 16),
            (Share::OfTheUnknown, 1, 28),
            (Share::All, 1, 32),
        ] {
            let (client, _driver) = client(16);
            let connections = [client];
            let mut calls = Vec::new();
            while let Some(client) = first_light(&connections, most, share) {
                let mut call = Box::pin(async move { client.call(call()).await });
                assert!(futures::poll!(&mut call).is_pending());
                calls.push(call);
            }
            assert_eq!(calls.len(), expected, "{share:?} of {most}");
        }
    }
}
