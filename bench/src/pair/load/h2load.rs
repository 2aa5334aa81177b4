//! nghttp2's `h2load`: a client that nobody here wrote, on several connections.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use tokio::process::Command;

use super::{Measured, Work};
use crate::pair::SERVICE;

/// As the other clients: closed loop, every call has to succeed.
pub(super) async fn run(
    program: &Path,
    address: SocketAddr,
    in_flight: usize,
    work: Work,
    duration: Duration,
) -> anyhow::Result<Measured> {
    let folder = tempfile::tempdir()?;
    let (message, log) = (folder.path().join("message"), folder.path().join("log"));
    std::fs::write(&message, work.message())?;
    let connections = in_flight.min(work.connections);
    let output = Command::new(program)
        .args(["--clients", &connections.to_string()])
        .args([
            "--max-concurrent-streams",
            &(in_flight / connections).to_string(),
        ])
        .args(["--duration", &format!("{}ms", duration.as_millis())])
        .args([
            "--header",
            "content-type: application/grpc",
            "--header",
            "te: trailers",
        ])
        .args([
            "--header",
            &format!("{}: {}", super::MESSAGES, work.messages),
        ])
        .args(["--connect-to", &address.to_string()])
        .args([option("--data", &message), option("--log-file", &log)])
        .arg(format!("http://{SERVICE}{}", work.path()))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    succeeded(&output)?;
    let latency = latency(&std::fs::read_to_string(&log)?)?;
    ensure!(!latency.is_empty(), "h2load made no call");
    Ok(Measured {
        calls: latency.len(),
        elapsed: duration,
        latency,
    })
}

fn option(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

fn succeeded(output: &Output) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(&output.stdout);
    let whole = "0 failed, 0 errored, 0 timeout";
    ensure!(
        output.status.success() && text.contains(whole),
        "h2load did not succeed ({}): {text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Its lines are the start in µs, the HTTP status, and µs to the end of the response.
fn latency(log: &str) -> anyhow::Result<Histogram<u64>> {
    let mut latency = Histogram::new(3)?;
    for line in log.lines() {
        let mut columns = line.split('\t').skip(1);
        ensure!(columns.next() == Some("200"), "a call failed: {line}");
        latency.record(columns.next().context("no time")?.parse()?)?;
    }
    Ok(latency)
}
