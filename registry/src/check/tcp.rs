//! A port that accepts.

use tokio::net::TcpStream;

use super::{Finding, resolve};

pub(super) async fn probe(target: &str) -> Finding {
    let addresses = match resolve(target).await {
        Ok(addresses) => addresses,
        Err(message) => return Finding::critical(message),
    };
    match TcpStream::connect(addresses.as_slice()).await {
        Ok(_) => Finding::passing(format!("TCP connect {target}: Success")),
        Err(error) => Finding::critical(format!("dial tcp {target}: {error}")),
    }
}
