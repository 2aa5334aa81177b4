//! A real Consul in its development mode, with ports of its own.

use std::net::TcpListener;

use tokio::process::Command;

use crate::external;
use crate::process::Process;

/// A running `consul agent -dev`.
#[derive(Debug)]
pub struct Consul {
    http: u16,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Consul {
    /// Starts it; `None` if it is not installed, which has then been said.
    pub fn start() -> Option<Self> {
        let program = external("consul")?;
        let folder = tempfile::tempdir().unwrap();
        let [http, server, lan, wan] = free_ports();
        let mut command = Command::new(program);
        command
            .args(["agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1"])
            .args(["-node=test", "-log-level=warn", "-disable-host-node-id"])
            .arg(format!(
                "-hcl=ports {{ http = {http} server = {server} serf_lan = {lan} serf_wan = {wan} \
                 dns = -1 grpc = -1 grpc_tls = -1 https = -1 }}"
            ));
        let process = Process::start("consul", command, &folder.path().join("consul.log"));
        Some(Self {
            http,
            _process: process,
            _folder: folder,
        })
    }

    /// Where its API is.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }
}

/// Consul cannot bind port 0, so it gets ports that were free a moment ago, all held until all are known.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}
