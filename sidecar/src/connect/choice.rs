//! Which of the connections to one place takes a call.

use std::rc::Rc;

use crate::http2::client::Client;

/// The one with the fewest calls among those with room; once there are `most` connections, among those that take a call at all. `None`:
/// another connection is needed.
pub(super) fn roomiest(connections: &[Rc<Client>], most: usize) -> Option<Rc<Client>> {
    let are_enough = connections.len() >= most;
    let takes = |client: &&Rc<Client>| client.has_room() || (are_enough && client.has_slot());
    let open = connections.iter().filter(takes);
    open.min_by_key(|client| client.open_calls()).cloned()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::config::{Connection, Scope};
    use crate::http2::client::{Driver, Setup, connect};
    use crate::stack::{Call, Peer, Protocol};

    /// It has room for one call and takes two; it is closed with its driver.
    fn client() -> (Rc<Client>, Driver<DuplexStream>) {
        let mut limits = Connection::new(Scope::Mesh);
        limits.connection_buffered = limits.stream_window;
        limits.max_concurrent_streams = 2;
        connect(duplex(1 << 10).0, &Setup::of(limits))
    }

    fn call() -> Call {
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

    #[tokio::test]
    async fn calls_spread_until_there_are_enough_connections_and_then_fill_them() {
        let ((first, _one), (second, _other)) = (client(), client());
        let connections = [first, second];
        let mut calls = Vec::new();
        let mut taken = Vec::new();
        for most in [3, 3, 3, 2, 2, 2] {
            let chosen = roomiest(&connections, most);
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
}
