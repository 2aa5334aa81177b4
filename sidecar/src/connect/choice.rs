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
