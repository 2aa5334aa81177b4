//! How a server of ours runs as a verb: a log on stderr, a runtime, an exit code.

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::environment::Environment;
use crate::output::Output;

/// As [`serve_with_code`]; what ends well is a success.
pub(crate) fn serve(
    server: impl Future<Output = anyhow::Result<()>>,
    variable: &str,
    environment: &Environment,
    output: &Output,
) -> ExitCode {
    let server = async { server.await.map(|()| ExitCode::SUCCESS) };
    serve_with_code(server, variable, environment, output)
}

/// Runs `server` to its end; `variable` names the filter of its log (`info` by default).
pub(crate) fn serve_with_code(
    server: impl Future<Output = anyhow::Result<ExitCode>>,
    variable: &str,
    environment: &Environment,
    output: &Output,
) -> ExitCode {
    let filter = environment.get(variable).unwrap_or("info");
    let filter = match EnvFilter::try_new(filter) {
        Ok(filter) => filter,
        Err(err) => {
            output.error(&format!(
                "{variable} = {filter:?}: expected a filter such as info: {err}"
            ));
            return ExitCode::FAILURE;
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(err) => {
            output.error(&format!("the runtime did not start: {err}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(server) {
        Ok(code) => code,
        Err(err) => {
            output.error(&format!("{err:#}"));
            ExitCode::FAILURE
        }
    }
}
