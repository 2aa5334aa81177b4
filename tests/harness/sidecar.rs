//! One sidecar of a mesh under test, in this process or as a process of its own; both read the same file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

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
    runner: Runner,
    http: reqwest::Client,
}

/// What it reports once all its listeners are bound.
#[derive(Debug, Clone, Deserialize)]
pub struct Addresses {
    pub outbound: Option<String>,
    pub inbound: Option<String>,
    pub health: String,
    #[serde(default)]
    pub upstreams: std::collections::BTreeMap<String, String>,
}

#[derive(Debug)]
enum Runner {
    Thread {
        shutdown: CancellationToken,
        thread: Option<std::thread::JoinHandle<Result<(), String>>>,
    },
    Process(Process),
}

/// Where the sidecar runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the test's process: quick.
    Here,
    /// A process that can be killed and measured.
    Process,
}

impl Sidecar {
    /// Starts a sidecar from the text of its file and waits until it has bound.
    pub async fn start(place: Place, instance: &str, config: &str, folder: &Path) -> Self {
        let file = folder.join("sidecar.toml");
        let report = folder.join("addresses.json");
        let _ = std::fs::remove_file(&report);
        let config = format!("report = {:?}\n{config}", report.display().to_string());
        std::fs::write(&file, config).unwrap();
        let mut runner = match place {
            Place::Here => Runner::thread(&file),
            Place::Process => Runner::process(instance, &file, folder),
        };
        let addresses = eventually(&format!("{instance} reports its addresses"), async || {
            runner.assert_running();
            let text = std::fs::read_to_string(&report).map_err(|error| error.to_string())?;
            serde_json::from_str(&text).map_err(|error| error.to_string())
        })
        .await;
        Self {
            instance: instance.to_owned(),
            addresses,
            runner,
            http: reqwest::Client::new(),
        }
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

    /// Its process id; only a sidecar in a process of its own has one.
    pub fn pid(&self) -> u32 {
        match &self.runner {
            Runner::Process(process) => process.id(),
            Runner::Thread { .. } => panic!("{} runs in the test's process", self.instance),
        }
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        match &mut self.runner {
            Runner::Process(process) => process.kill().await,
            Runner::Thread { .. } => panic!("{} runs in the test's process", self.instance),
        }
    }

    /// Starts the ordered drain, without waiting for its end.
    pub fn begin_drain(&self) {
        match &self.runner {
            Runner::Thread { shutdown, .. } => shutdown.cancel(),
            Runner::Process(process) => process.terminate(),
        }
    }

    /// Drains and insists on a clean end.
    pub async fn stop(mut self) {
        self.begin_drain();
        let instance = &self.instance;
        match &mut self.runner {
            Runner::Thread { thread, .. } => {
                let thread = thread.take().unwrap();
                eventually(&format!("{instance} ends"), async || {
                    holds(thread.is_finished(), "it still runs")
                })
                .await;
                let ended = thread.join().expect("the sidecar did not panic");
                assert_eq!(ended, Ok(()), "{instance} ended with an error");
            }
            Runner::Process(process) => {
                let status = process.wait(LEAVING).await;
                assert!(
                    status.success(),
                    "{instance} ended with {status}:\n{}",
                    process.output()
                );
            }
        }
    }
}

/// The sum of a metric's series in Prometheus' text that carry all the labels.
pub fn metric(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    text.lines()
        .filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        })
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .reduce(|sum, value| sum + value)
}

impl Runner {
    fn thread(file: &Path) -> Self {
        let shutdown = CancellationToken::new();
        let (stop, file): (_, PathBuf) = (shutdown.clone(), file.to_owned());
        let thread = std::thread::spawn(move || {
            let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
            let config = toml::from_str(&text).map_err(|error| error.to_string())?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            runtime.block_on(async {
                let proxy = outrigger_sidecar::Proxy::bind(config)
                    .await
                    .map_err(|error| format!("bind: {error:?}"))?;
                proxy
                    .run(stop)
                    .await
                    .map_err(|error| format!("run: {error:?}"))
            })
        });
        Self::Thread {
            shutdown,
            thread: Some(thread),
        }
    }

    fn process(instance: &str, file: &Path, folder: &Path) -> Self {
        let mut command = Command::new(binary::outrigger());
        command.arg("sidecar").arg("--config").arg(file);
        Self::Process(Process::start(
            instance,
            command,
            &folder.join("sidecar.log"),
        ))
    }

    fn assert_running(&mut self) {
        match self {
            Self::Process(process) => process.assert_running(),
            Self::Thread { thread, .. } => {
                if thread.as_ref().is_some_and(|thread| thread.is_finished()) {
                    let ended = thread.take().unwrap().join();
                    panic!("the sidecar ended: {ended:?}");
                }
            }
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // A test that failed leaves no sidecar running beside the next one.
        if let Self::Thread { shutdown, .. } = self {
            shutdown.cancel();
        }
    }
}
