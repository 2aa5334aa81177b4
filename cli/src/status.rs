//! `outrigger status`: what runs in a folder, whether it is ready, and every listening socket.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use futures::future::join_all;
use serde::Serialize;

use crate::output::Output;
use crate::plan::Addresses;
use crate::run_folder;
use crate::run_record::{Instance, Phase, ProcessRecord, Run};
use crate::socket_table::{self, Row};

const ASK: Duration = Duration::from_secs(2);

#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Exit codes: 0 everything is ready, 1 nothing runs or wrong usage, 2 something is not ready.\n\n\
    Examples:\n  outrigger status\n  outrigger status --json | jq '.sockets[].address'"
)]
pub(crate) struct Args {
    /// Folder of the run
    #[arg(long, value_name = "DIR", default_value = ".outrigger")]
    data_dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Folder(#[from] run_folder::Error),
    #[error(transparent)]
    Lock(#[from] run_folder::LockError),
    #[error("nothing runs in {0}")]
    NothingRuns(String),
    #[error("the runtime did not start: {0}")]
    Runtime(std::io::Error),
    #[error("no HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What `--json` prints: `run.json` with what the sidecars say now.
#[derive(Debug, Serialize)]
struct Status {
    version: String,
    pid: u32,
    started: String,
    phase: Phase,
    /// The start is over and every instance is ready.
    ready: bool,
    /// Its address.
    registry: String,
    token_file: Option<PathBuf>,
    /// The gateway's address.
    edge: Option<String>,
    /// Registry, sidecars and applications.
    processes: Vec<Process>,
    instances: Vec<Ready>,
    sockets: Vec<Row>,
    socket_folder: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Process {
    name: String,
    #[serde(flatten)]
    record: ProcessRecord,
}

#[derive(Debug, Serialize)]
struct Ready {
    name: String,
    service: String,
    version: String,
    ready: bool,
    /// `ready`, or what it lacks in its sidecar's words.
    said: String,
    addresses: Option<Addresses>,
    token_file: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &Output) -> ExitCode {
    match status(args, output) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(err) => {
            output.error(&err.to_string());
            ExitCode::FAILURE
        }
    }
}

fn status(args: &Args, output: &Output) -> Result<bool, Error> {
    let root = run_folder::root(Some(&args.data_dir))?;
    let run = run_folder::holder::<Run>(&root)?
        .ok_or_else(|| Error::NothingRuns(root.display().to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let status = Status::new(run.clone(), runtime.block_on(ask(run.instances))?);
    match args.json {
        true => output.result(&serde_json::to_string_pretty(&status)?),
        false => output.result(&render(&status)),
    }
    Ok(status.ready)
}

async fn ask(instances: Vec<Instance>) -> Result<Vec<Ready>, Error> {
    let http = reqwest::Client::builder().no_proxy().timeout(ASK).build()?;
    Ok(join_all(
        instances
            .into_iter()
            .map(|instance| readiness(&http, instance)),
    )
    .await)
}

async fn readiness(http: &reqwest::Client, instance: Instance) -> Ready {
    let (ready, said) = match &instance.addresses {
        None => (false, "not started".to_owned()),
        Some(addresses) => {
            let url = format!("http://{}/ready", addresses.health);
            match http.get(url).send().await {
                Err(_) => (false, "its sidecar does not answer".to_owned()),
                Ok(answer) if answer.status().is_success() => (true, "ready".to_owned()),
                Ok(answer) => (
                    false,
                    answer.text().await.unwrap_or_default().trim().to_owned(),
                ),
            }
        }
    };
    Ready {
        ready,
        said,
        name: instance.name,
        service: instance.service,
        version: instance.version,
        addresses: instance.addresses,
        token_file: instance.token_file,
    }
}

impl Status {
    fn new(run: Run, instances: Vec<Ready>) -> Self {
        let registry = run.registry.process.into_iter().map(|record| Process {
            name: "registry".to_owned(),
            record,
        });
        let pairs = run.instances.into_iter().flat_map(|instance| {
            let sidecar = format!("{}-sidecar", instance.name);
            [
                Process {
                    name: sidecar,
                    record: instance.sidecar,
                },
                Process {
                    name: instance.name,
                    record: instance.application,
                },
            ]
        });
        Self {
            processes: registry.chain(pairs).collect(),
            version: run.version,
            pid: run.pid,
            started: run.started,
            phase: run.phase,
            ready: run.phase == Phase::Ready && instances.iter().all(|instance| instance.ready),
            registry: run.registry.address,
            token_file: run.registry.token_file,
            edge: run.edge,
            instances,
            sockets: run.sockets,
            socket_folder: run.socket_folder,
        }
    }

    fn process(&self, name: &str) -> String {
        let found = self.processes.iter().find(|process| process.name == name);
        found.map_or_else(
            || "not of this run".to_owned(),
            |found| process(&found.record),
        )
    }
}

fn render(status: &Status) -> String {
    let mut lines = vec![format!(
        "outrigger {} (pid {}) is {} since {}",
        status.version,
        status.pid,
        status.phase.as_str(),
        status.started
    )];
    if let Some(edge) = &status.edge {
        lines.push(format!("gateway   {edge}"));
    }
    lines.push(format!(
        "registry  {} ({})",
        status.registry,
        status.process("registry")
    ));
    lines.push(String::new());
    let width = status
        .instances
        .iter()
        .map(|instance| instance.name.len())
        .max()
        .unwrap_or(0);
    for instance in &status.instances {
        lines.push(format!(
            "{:width$}  {}; application {}; sidecar {}",
            instance.name,
            instance.said,
            status.process(&instance.name),
            status.process(&format!("{}-sidecar", instance.name))
        ));
    }
    lines.push(String::new());
    lines.push(socket_table::render(&status.sockets));
    lines.join("\n")
}

fn process(record: &ProcessRecord) -> String {
    let pid = record
        .pid
        .map(|pid| format!(" pid {pid}"))
        .unwrap_or_default();
    let restarts = match record.restarts {
        0 => String::new(),
        count => format!(", restarted {count}×"),
    };
    format!("{}{pid}{restarts}", record.state)
}
