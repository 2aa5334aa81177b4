//! A real Consul in its development mode. Not installed: the test says so past libtest's capture, or fails where
//! `OUTRIGGER_REQUIRE` lists `consul`.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::api::{Api, eventually};

pub(crate) struct Consul {
    pub(crate) api: Api,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Consul {
    pub(crate) async fn start() -> Option<Self> {
        let Some(program) = find() else {
            let required = variable("OUTRIGGER_REQUIRE");
            let required = required.split(',').any(|name| name == "consul");
            assert!(
                !required,
                "consul is required here but was not found: run `tests/tools consul`"
            );
            // Past libtest's capture. A closed stderr is nobody's failure.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED consul_does_the_same: consul not found (tests/tools consul installs it)"
            );
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let held = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [http, server, lan, wan] = held.map(|listener| listener.local_addr().unwrap().port());
        let log = std::fs::File::create(folder.path().join("consul.log")).unwrap();
        let process = Command::new(program)
            .args(["agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1"])
            .args(["-node=test", "-log-level=warn", "-disable-host-node-id"])
            .arg(format!(
                "-hcl=ports {{ http = {http} server = {server} serf_lan = {lan} serf_wan = {wan} \
                 dns = -1 grpc = -1 grpc_tls = -1 https = -1 }}"
            ))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let base = format!("http://127.0.0.1:{http}");
        let consul = Self {
            api: Api::new(&base, true),
            process,
            _folder: folder,
        };
        let client = outrigger_consul::Client::new(&base, None).unwrap();
        eventually("Consul has a leader, a CA and its own node", || async {
            client
                .status_leader()
                .await
                .ok()
                .filter(|leader| !leader.is_empty())?;
            let roots = consul.api.get("/v1/agent/connect/ca/roots").await;
            let node = consul.api.get("/v1/health/service/consul?passing").await;
            (roots.body.contains("BEGIN CERTIFICATE") && node.body.contains("serfHealth"))
                .then_some(())
        })
        .await;
        Some(consul)
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn find() -> Option<PathBuf> {
    let tools = match variable("OUTRIGGER_TOOLS") {
        folder if folder.is_empty() => {
            PathBuf::from(variable("HOME")).join(".cache/outrigger-tools")
        }
        folder => PathBuf::from(folder),
    };
    let path = variable("PATH");
    std::iter::once(tools.join("bin"))
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join("consul"))
        .find(|candidate| candidate.is_file())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's edge to its environment"
)]
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}
