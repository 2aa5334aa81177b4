//! The registry as a program of its own.

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

/// Outrigger's embedded registry.
#[derive(clap::Parser)]
#[command(name = "registry", version)]
struct Command {
    #[command(flatten)]
    args: outrigger_registry::cli::Args,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("OUTRIGGER_REGISTRY_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let command = Command::parse();
    match outrigger_registry::cli::run(command.args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
