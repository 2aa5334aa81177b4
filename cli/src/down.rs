//! `outrigger down`: asks the `outrigger up` of a folder to stop, and waits until it has.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use rustix::process::{Pid, Signal, kill_process};

use crate::output::Output;
use crate::run_folder;
use crate::run_record::Run;

/// A stop takes 5 s at most; past twice that something is wrong.
const LIMIT: Duration = Duration::from_secs(10);
const BETWEEN: Duration = Duration::from_millis(50);

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  outrigger down\n  outrigger down --data-dir /tmp/mesh")]
pub(crate) struct Args {
    /// Folder of the run
    #[arg(long, value_name = "DIR", default_value = ".outrigger")]
    data_dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Folder(#[from] run_folder::Error),
    #[error(transparent)]
    Lock(#[from] run_folder::LockError),
    #[error("pid {pid} cannot be signalled: {source}")]
    Signal { pid: u32, source: rustix::io::Errno },
    #[error(
        "pid {pid} has not stopped after {}",
        humantime::format_duration(LIMIT)
    )]
    StillThere { pid: u32 },
    #[error("the runtime did not start: {0}")]
    Runtime(std::io::Error),
}

pub(crate) fn run(args: &Args, output: &Output) -> ExitCode {
    match down(args, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            output.error(&err.to_string());
            ExitCode::FAILURE
        }
    }
}

fn down(args: &Args, output: &Output) -> Result<(), Error> {
    let root = run_folder::root(Some(&args.data_dir))?;
    let Some(run) = run_folder::holder::<Run>(&root)? else {
        output.note(&format!("nothing runs in {}", root.display()));
        return Ok(());
    };
    let pid = run.pid;
    // The folder is locked, so whoever wrote the pid still has it.
    if let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process(process, Signal::TERM).map_err(|source| Error::Signal { pid, source })?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    runtime.block_on(async {
        let gone = async {
            loop {
                match run_folder::holder::<serde::de::IgnoredAny>(&root) {
                    Ok(None) => return Ok(()),
                    Ok(Some(_)) => tokio::time::sleep(BETWEEN).await,
                    Err(err) => return Err(Error::from(err)),
                }
            }
        };
        tokio::time::timeout(LIMIT, gone)
            .await
            .map_err(|_| Error::StillThere { pid })?
    })?;
    output.note(&format!("stopped pid {pid}"));
    Ok(())
}
