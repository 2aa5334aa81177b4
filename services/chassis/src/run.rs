//! The whole `main` of a service: settings from the environment, telemetry,
//! the socket, the signals, the exit code. The service gets what it needs by
//! value and owns none of it.

use std::future::Future;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::{Environment, Listener, failpoint, shutdown, telemetry};

/// Runs `serve` until it ends or a signal asks it to: exit code 0 for a clean
/// end, 1 for anything else.
///
/// ```no_run
/// # use shop_chassis::{CancellationToken, Config, Environment, Listener, config};
/// # struct Settings;
/// # impl Config for Settings {
/// #     const SERVICE: &'static str = "echo";
/// #     fn load(_: &Environment) -> Result<Self, config::Error> { Ok(Self) }
/// # }
/// async fn serve(_: Settings, _: Listener, shutdown: CancellationToken) -> anyhow::Result<()> {
///     shutdown.cancelled().await;
///     Ok(())
/// }
///
/// fn main() -> std::process::ExitCode {
///     shop_chassis::main(serve)
/// }
/// ```
pub fn main<C, F, R>(serve: F) -> ExitCode
where
    C: Config,
    F: FnOnce(C, Listener, CancellationToken) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let env = Environment::from_process();
    // Outside the runtime: the exporter has a thread and a client of its own.
    let telemetry = match telemetry::install(&env.instance(C::SERVICE), &env) {
        Ok(telemetry) => telemetry,
        Err(error) => return report(&error.into()),
    };
    let result = run(serve, &env);
    telemetry.flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(
                service = C::SERVICE,
                error = format!("{error:#}"),
                "service failed"
            );
            ExitCode::FAILURE
        }
    }
}

fn run<C, F, R>(serve: F, env: &Environment) -> anyhow::Result<()>
where
    C: Config,
    F: FnOnce(C, Listener, CancellationToken) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    failpoint::arm(env.optional("OUTRIGGER_CRASH_AT"))?;
    let config = C::load(env)?;
    let address = env.listen(C::SERVICE)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime did not start")?;
    runtime.block_on(async {
        let listener = Listener::bind(&address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        tracing::info!(service = C::SERVICE, address = %listener.address(), "listening");
        let shutdown = CancellationToken::new();
        let serving = std::pin::pin!(serve(config, listener, shutdown.clone()));
        tokio::select! {
            result = serving => result,
            signals = shutdown::on_signal(shutdown) => {
                signals.context("signals are not available")?;
                anyhow::bail!("stopped by a second signal before the drain ended")
            }
        }
    })
}

fn report(error: &anyhow::Error) -> ExitCode {
    use std::io::Write as _;
    // Telemetry is what failed, so there is no log to write to.
    if writeln!(std::io::stderr(), "{error:#}").is_err() {
        return ExitCode::FAILURE;
    }
    ExitCode::FAILURE
}
