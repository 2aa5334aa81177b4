//! Ports for those who cannot move: the embedded registry and applications. The port must be free now, and stay ours until its process
//! has bound it, which may be seconds later; another `outrigger up` that starts meanwhile must not choose the same.
//!
//! The mark between runs is a socket of the abstract namespace that is bound but does not listen: the kernel takes it back with the
//! process, and it counts per network namespace, as ports do.

use std::cell::RefCell;
use std::net::{Ipv4Addr, TcpListener};

use socket2::{Domain, SockAddr, Socket, Type};

/// Marks of this run, held as long as it lives.
#[derive(Debug, Default)]
pub(super) struct Ports(RefCell<Vec<Socket>>);

impl Ports {
    /// Takes a loopback port if nobody has it.
    pub(super) fn take(&self, port: u16) -> bool {
        let Ok(mark) = mark(port) else { return false };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            return false;
        }
        self.0.borrow_mut().push(mark);
        true
    }
}

fn mark(port: u16) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(format!("\0outrigger-port-{port}"))?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_once_even_before_anybody_listens() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let (one, other) = (Ports::default(), Ports::default());
        assert!(!one.take(port), "somebody listens");
        drop(taken);
        assert!(one.take(port));
        assert!(!other.take(port), "another run has it");
        drop(one);
        assert!(other.take(port));
    }
}
