//! Foreign servers and clients as processes: where a server came to listen, and how a client ended.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outrigger_tests::process::Process;
use outrigger_tests::{external, within};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

/// An interpreter's first start on a busy machine.
const STARTING: Duration = Duration::from_secs(60);

/// The official programs of gRPC interop: grpc-go's, and Python's with C-core below it.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    go: PathBuf,
    python: PathBuf,
}

impl Programs {
    /// `None` if one is not there, which has then been said.
    pub(crate) fn find() -> Option<Self> {
        Some(Self {
            go: external("interop-go")?,
            python: external("interop-python")?,
        })
    }

    /// One of grpc-go's: `client`, `server` or `http2`.
    pub(crate) fn go(&self, program: &str) -> Command {
        let mut command = Command::new(&self.go);
        command.arg(program);
        command
    }

    /// One of grpc-go's clients, told where and what.
    pub(crate) fn go_client(&self, program: &str, address: &str, case: &str) -> Command {
        let (host, port) = address.rsplit_once(':').unwrap();
        let mut command = self.go(program);
        command.args(["-server_host", host, "-server_port", port]);
        command.args(["-test_case", case]);
        command
    }

    /// Python with gRPC's own suites on its path.
    pub(crate) fn python(&self) -> Command {
        let mut command = Command::new(&self.python);
        command.env("PYTHONUNBUFFERED", "1");
        command
    }
}

/// A foreign server that listens.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: String,
    process: Process,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Neither official server tells which port it got, so each gets one that was free a moment ago.
    pub(crate) async fn start(name: &str, command: impl FnOnce(u16) -> Command) -> Self {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        drop(held);
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(name, command(port), &folder.path().join("log"));
        let address = format!("127.0.0.1:{port}");
        within(STARTING, &format!("{name} listens"), async || {
            process.assert_running();
            TcpStream::connect(&address).await
        })
        .await;
        Self {
            address,
            process,
            _folder: folder,
        }
    }

    /// The server of Go and the one of Python.
    pub(crate) async fn both(programs: &Programs) -> (Self, Self) {
        let go = Self::start("interop-go server", |port| {
            let mut command = programs.go("server");
            command.args(["-port", &port.to_string()]);
            command
        });
        let python = Self::start("interop-python server", |port| {
            let mut command = programs.python();
            command.args(["-m", "tests.interop.server", &format!("--port={port}")]);
            command
        });
        tokio::join!(go, python)
    }

    /// Panics if it has ended meanwhile.
    pub(crate) fn assert_running(&mut self) {
        self.process.assert_running();
    }
}

/// Starts a program of `tests/programs` that says in its first line where it listens; the line is read by `parse`.
pub(crate) async fn announced<T>(
    command: Command,
    log: &Path,
    parse: impl Fn(&str) -> Option<T>,
) -> (Process, T) {
    let mut process = Process::start("program", command, log);
    let told = within(STARTING, "a program tells where it listens", async || {
        process.assert_running();
        let output = process.output();
        let line = output.split_inclusive('\n').next().unwrap_or_default();
        parse(line).ok_or(output)
    })
    .await;
    (process, told)
}

/// Runs a client to its end: what it wrote, as an error unless it ended well and in time.
pub(crate) async fn run(mut command: Command, patience: Duration) -> Result<String, String> {
    let output = timeout(patience, command.kill_on_drop(true).output()).await;
    let Ok(output) = output else {
        return Err(format!("no end within {patience:?}"));
    };
    let output = output.unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(format!("{}:\n{text}", output.status)),
    }
}
