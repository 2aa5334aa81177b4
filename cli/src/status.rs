//! `outrigger status`: what runs in a folder, whether it is ready, and every listening socket.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use futures::future::join_all;
use serde::Serialize;

use crate::output::Output;
use crate::run_folder;
use crate::run_record::{Instance, ProcessRecord, Run};
use crate::socket_table;

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

/// A run with what its sidecars say now.
#[derive(Debug, Serialize)]
struct Status {
    #[serde(flatten)]
    run: Run,
    /// Instance → `ready`, or what it lacks.
    ready: Vec<Readiness>,
}

#[derive(Debug, Serialize)]
struct Readiness {
    name: String,
    is_ready: bool,
    /// The sidecar's words.
    said: String,
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
    let ready = runtime.block_on(ask(&run.instances))?;
    let status = Status { run, ready };
    match args.json {
        true => output.result(&serde_json::to_string_pretty(&status)?),
        false => output.result(&render(&status)),
    }
    Ok(status.ready.iter().all(|instance| instance.is_ready))
}

async fn ask(instances: &[Instance]) -> Result<Vec<Readiness>, Error> {
    let http = reqwest::Client::builder().no_proxy().timeout(ASK).build()?;
    Ok(join_all(instances.iter().map(|instance| readiness(&http, instance))).await)
}

async fn readiness(http: &reqwest::Client, instance: &Instance) -> Readiness {
    let name = instance.name.clone();
    let Some(addresses) = &instance.addresses else {
        return Readiness {
            name,
            is_ready: false,
            said: "not started".to_owned(),
        };
    };
    match http
        .get(format!("http://{}/ready", addresses.health))
        .send()
        .await
    {
        Err(_) => Readiness {
            name,
            is_ready: false,
            said: "its sidecar does not answer".to_owned(),
        },
        Ok(answer) => {
            let is_ready = answer.status().is_success();
            let body = answer.text().await.unwrap_or_default();
            let said = if is_ready {
                "ready".to_owned()
            } else {
                body.trim().to_owned()
            };
            Readiness {
                name,
                is_ready,
                said,
            }
        }
    }
}

fn render(status: &Status) -> String {
    let run = &status.run;
    let mut lines = vec![format!(
        "outrigger {} (pid {}) is {} since {}",
        run.version,
        run.pid,
        run.phase.as_str(),
        run.started
    )];
    if let Some(edge) = &run.edge {
        lines.push(format!("gateway   {edge}"));
    }
    let registry = run
        .registry
        .process
        .as_ref()
        .map_or_else(|| "not of this run".to_owned(), process);
    lines.push(format!("registry  {} ({registry})", run.registry.address));
    lines.push(String::new());
    let width = run
        .instances
        .iter()
        .map(|instance| instance.name.len())
        .max()
        .unwrap_or(0);
    for (instance, readiness) in run.instances.iter().zip(&status.ready) {
        lines.push(format!(
            "{:width$}  {}; application {}; sidecar {}",
            instance.name,
            readiness.said,
            process(&instance.application),
            process(&instance.sidecar)
        ));
    }
    lines.push(String::new());
    lines.push(socket_table::render(&run.sockets));
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
