//! `outrigger exec` (hidden): becomes another program that ends when `outrigger up` does.
//!
//! Every process of a run is started through it. The kernel's parent-death signal outlives `exec`, so a program that knows nothing of
//! us inherits it; setting it from the parent's side would need `unsafe` code between fork and exec.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use clap::Args as ClapArgs;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::output::Output;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The process whose end is ours
    #[arg(long)]
    parent: i32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Comes back only when it failed.
pub(crate) fn run(args: &Args, output: &Output) -> ExitCode {
    let Some((program, arguments)) = args.command.split_first() else {
        output.error("exec: no program given");
        return ExitCode::FAILURE;
    };
    // What a sidecar sets for its own process is not for its application.
    if let Err(err) = rustix::thread::disable_transparent_huge_pages(false) {
        output.error(&format!("exec: cannot reset huge pages: {err}"));
    }
    // KILL, since a foreign program may take TERM as a suggestion, and nobody is left to insist.
    if let Err(err) = set_parent_process_death_signal(Some(Signal::KILL)) {
        output.error(&format!("exec: cannot set the parent-death signal: {err}"));
        return ExitCode::FAILURE;
    }
    // The parent may have ended before the signal was set; then nothing would ever arrive.
    if getppid().map(Pid::as_raw_nonzero).map(i32::from) != Some(args.parent) {
        output.error("exec: the parent is gone");
        return ExitCode::FAILURE;
    }
    let err = Command::new(program).args(arguments).exec();
    output.error(&format!(
        "cannot start {}: {err}",
        program.to_string_lossy()
    ));
    ExitCode::from(127)
}
