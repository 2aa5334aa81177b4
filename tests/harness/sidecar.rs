//! One sidecar of a mesh under test: the workspace's own program, started with the file an operator would write.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use crate::binary;
use crate::eventually::{eventually, holds};
use crate::process::Process;

/// How long a sidecar may take to leave.
const LEAVING: Duration = Duration::from_secs(15);

/// A running sidecar.
#[derive(Debug)]
pub struct Sidecar {
    pub instance: String,
    pub addresses: Addresses,
    process: Process,
    folder: PathBuf,
    http: reqwest::Client,
}

/// What it reports once all its listeners are bound.
#[derive(Debug, Clone, Deserialize)]
pub struct Addresses {
    pub outbound: Option<String>,
    pub inbound: Option<String>,
    #[serde(default)]
    pub edge: Option<String>,
    #[serde(default)]
    pub edge_tls: Option<String>,
    pub health: String,
    #[serde(default)]
    pub upstreams: std::collections::BTreeMap<String, String>,
}

impl Sidecar {
    /// Starts a sidecar from the text of its file and waits until it has bound.
    pub async fn start(instance: &str, config: &str, folder: &Path) -> Self {
        let mut command = Command::new(binary::outrigger());
        command.arg("sidecar");
        Self::start_by(command, instance, config, folder).await
    }

    /// The same after a shell command, whose process it becomes: what holds for that one holds for it.
    pub async fn start_after(before: &str, instance: &str, config: &str, folder: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before} && exec \"$0\" \"$@\"")]);
        command.arg(binary::outrigger()).arg("sidecar");
        Self::start_by(command, instance, config, folder).await
    }

    async fn start_by(mut command: Command, instance: &str, config: &str, folder: &Path) -> Self {
        let file = folder.join("sidecar.toml");
        let report = folder.join("addresses.json");
        let handover = folder.join("handover.sock");
        let config = format!("report = {report:?}\nhandover = {handover:?}\n{config}");
        std::fs::write(&file, config).unwrap();
        command.arg("--config").arg(&file);
        let mut process = Process::start(instance, command, &folder.join("sidecar.log"));
        let addresses = eventually(&format!("{instance} reports its addresses"), async || {
            process.assert_running();
            let text = std::fs::read_to_string(&report).map_err(|error| error.to_string())?;
            serde_json::from_str(&text).map_err(|error| error.to_string())
        })
        .await;
        Self {
            instance: instance.to_owned(),
            addresses,
            process,
            folder: folder.to_owned(),
            http: reqwest::Client::new(),
        }
    }

    /// Starts a new process with the same file, which takes the sockets; the old one has to end by itself, in order.
    pub async fn replace(&mut self) {
        let mut command = Command::new(binary::outrigger());
        command
            .arg("sidecar")
            .arg("--config")
            .arg(self.folder.join("sidecar.toml"));
        let log = self.folder.join("sidecar.2.log");
        let new = Process::start(&self.instance, command, &log);
        let mut old = std::mem::replace(&mut self.process, new);
        let status = old.wait(LEAVING).await;
        assert!(
            status.success(),
            "{} ended with {status}:\n{}\n{}",
            self.instance,
            old.output(),
            self.process.output()
        );
    }

    /// Waits until a path of the health port answers 200.
    pub async fn becomes(&self, path: &str) {
        eventually(&format!("{} answers {path}", self.instance), async || {
            let (status, body) = self.health(path).await?;
            holds(status == 200, format!("{status} {body}"))
        })
        .await;
    }

    /// Reads a path of the health port.
    pub async fn health(&self, path: &str) -> Result<(u16, String), String> {
        let url = format!("http://{}{path}", self.addresses.health);
        let response = self
            .http
            .get(url)
            .timeout(Duration::from_secs(5))
            .send()
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response.text().await.map_err(|error| error.to_string())?;
        Ok((status, body))
    }

    /// The sum of a metric's series that carry all the given labels (`code="OK"`); `None` if there is no such series.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let (_, text) = self.health("/metrics").await.unwrap();
        metric(&text, name, labels)
    }

    /// Every sample of a metric.
    pub async fn samples(&self, name: &str) -> Vec<f64> {
        let (_, text) = self.health("/metrics").await.unwrap();
        samples(&text, name, &[]).collect()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts the ordered drain, without waiting for its end.
    pub fn begin_drain(&self) {
        self.process.terminate();
    }

    /// Starts the drain, and waits until it says that it leaves.
    pub async fn leaves(&self) {
        self.begin_drain();
        eventually(
            &format!("{} says that it leaves", self.instance),
            async || {
                let (status, body) = self.health("/ready").await?;
                let leaves = status != 200 && body.contains("drain");
                holds(leaves, format!("{status} {body}"))
            },
        )
        .await;
    }

    /// Drains and insists on a clean end.
    pub async fn stop(self) {
        self.begin_drain();
        self.end().await;
    }

    /// Insists on a clean end of a drain that has begun.
    pub async fn end(mut self) {
        let status = self.process.wait(LEAVING).await;
        let output = self.process.output();
        assert!(
            status.success(),
            "{} ended with {status}:\n{output}",
            self.instance
        );
    }
}

/// The sum of a metric's series in Prometheus' text that carry all the labels.
pub fn metric(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    samples(text, name, labels).reduce(|sum, value| sum + value)
}

fn samples(text: &str, name: &str, labels: &[&str]) -> impl Iterator<Item = f64> {
    text.lines()
        .filter(move |line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        })
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
}
