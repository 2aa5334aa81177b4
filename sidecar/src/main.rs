//! The `sidecar` binary: arguments, logging, exit code.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The data plane of Outrigger, beside one application.
#[derive(Debug, Parser)]
#[command(
    name = "sidecar",
    version,
    after_help = "Example:\n  sidecar --config sidecar.toml"
)]
struct Command {
    #[command(flatten)]
    args: outrigger_sidecar::cli::Args,
    /// Log filter.
    #[arg(long, env = "OUTRIGGER_LOG", default_value = "info")]
    log: String,
    /// One JSON object a line instead of text.
    #[arg(long, env = "OUTRIGGER_LOG_JSON")]
    log_json: bool,
}

fn main() -> ExitCode {
    let command = Command::parse();
    outrigger_sidecar::machine::copy_plainly();
    run(command)
}

#[tokio::main(flavor = "current_thread")]
async fn run(command: Command) -> ExitCode {
    let filter = EnvFilter::try_new(&command.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if command.log_json {
        log.json().init();
    } else {
        log.init();
    }
    match outrigger_sidecar::cli::run(command.args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            tracing::error!(error = format!("{err:#}"), "the sidecar ended");
            ExitCode::FAILURE
        }
    }
}
