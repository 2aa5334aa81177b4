//! `outrigger run -- command`: an application and its sidecar as one process to whoever starts it. The application starts once it can
//! call others, is told to end once its callers have moved on, and gives the exit code.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args as ClapArgs;
use outrigger_sidecar::config::{Address, Config};
use outrigger_sidecar::proxy::{self, Addresses, Proxy, Shutdown};
use rustix::process::{Pid, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, sleep_until, timeout};

use crate::environment::Environment;
use crate::output::Output;
use crate::plan::environment as variables;
use crate::serve::serve_with_code;

/// What the stop order is given by.
mod signals;

use signals::{Heard, Signals};

/// The sidecar did not become ready in time.
const NOT_READY: u8 = 3;
/// Beyond the sidecar's own grace, before an application that does not end is killed.
const INSIST: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, ClapArgs)]
// Its group would have the name of the one inside.
#[group(skip)]
#[command(
    after_help = "Examples:\n  outrigger run --config sidecar.toml -- ./orders --verbose\n  \
    outrigger run --config job.toml --start-timeout 10s -- ./migrate\n\n\
    The command starts when its sidecar can reach others, with PORT, OUTRIGGER_LISTEN, OUTRIGGER_OUTBOUND_ADDR and\n\
    OUTRIGGER_UPSTREAM_<NAME>_ADDR set. On SIGTERM or Ctrl-C its callers are moved on first, then it gets SIGTERM; a second one\n\
    does not wait, a third kills. Other signals are passed on.\n\n\
    Exit codes: the command's own; 127 it cannot be started; 3 the sidecar was not ready in time; 1 anything else."
)]
pub(crate) struct Args {
    #[command(flatten)]
    sidecar: outrigger_sidecar::cli::Args,
    /// How long identity and first snapshot may take; 0s waits for ever
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    start_timeout: Duration,
    /// The application and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &Args, environment: &Environment, output: &Output) -> ExitCode {
    let running = wrapped(args, environment, output);
    serve_with_code(running, "OUTRIGGER_SIDECAR_LOG", environment, output)
}

async fn wrapped(
    args: &Args,
    environment: &Environment,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.sidecar.config)?;
    anyhow::ensure!(
        config.handover.is_none(),
        "handover is set in {}, but what is replaced here would take its application along; remove it, or run the application and `outrigger sidecar` by themselves",
        args.sidecar.config.display()
    );
    let listen = config
        .application
        .as_ref()
        .map(|application| application.address.clone());
    let patience = config.drain.propagation + config.drain.grace + INSIST;
    let mut signals = Signals::new()?;
    let proxy = Proxy::bind(config)?;
    let addresses = proxy.addresses();
    let shutdown = Shutdown::default();
    let mut sidecar = pin!(proxy.run(shutdown.clone()));

    let is_ready = tokio::select! {
        ended = &mut sidecar => bail!("the sidecar ended before its application began: {ended:?}"),
        ready = reaches_others(&addresses, args.start_timeout) => ready,
        () = signals.stop() => {
            shutdown.at_once();
            sidecar.await?;
            return Ok(ExitCode::from(128 + 15));
        }
    };
    if !is_ready {
        shutdown.at_once();
        sidecar.await?;
        output.error(&format!(
            "the sidecar was not ready within {}: the log says what it waited for; --start-timeout gives it longer",
            humantime::format_duration(args.start_timeout)
        ));
        return Ok(ExitCode::from(NOT_READY));
    }
    let mut child = spawn(args, environment, &addresses, listen.as_ref())?;
    let supervised = Supervised {
        child: &mut child,
        shutdown: &shutdown,
        patience,
    };
    let ended = supervised.supervise(&mut signals, sidecar.as_mut());
    let (status, sidecar_ended) = ended.await?;
    // Nobody is left to serve calls or to make them.
    shutdown.at_once();
    if !sidecar_ended {
        sidecar.await?;
    }
    Ok(code(status))
}

/// Asks as an orchestrator would.
async fn reaches_others(addresses: &Addresses, limit: Duration) -> bool {
    let url = format!("http://{}/ready/outbound", addresses.health);
    let asking = async {
        let client = reqwest::Client::new();
        let mut ticks = interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let answer = client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
        }
    };
    if limit.is_zero() {
        asking.await;
        return true;
    }
    timeout(limit, asking).await.is_ok()
}

fn spawn(
    args: &Args,
    environment: &Environment,
    addresses: &Addresses,
    listen: Option<&Address>,
) -> anyhow::Result<Child> {
    let mut command = Command::new(&environment.own);
    // It resets what a sidecar sets for itself, and ends its program with us.
    command
        .arg("exec")
        .args(["--parent", &std::process::id().to_string(), "--"])
        .args(&args.command)
        .env_clear()
        .envs(variables::for_child(&environment.variables))
        .env("OUTRIGGER_OUTBOUND_ADDR", addresses.outbound.to_string());
    for (upstream, address) in &addresses.upstreams {
        let name = format!("OUTRIGGER_UPSTREAM_{}_ADDR", variables::variable(upstream));
        command.env(name, address.to_string());
    }
    if let Some(address) = listen {
        command.env("OUTRIGGER_LISTEN", address.to_string());
    }
    if let Some(Address::Tcp(address)) = listen {
        command.env("PORT", address.port().to_string());
    }
    // A terminal's Ctrl-C is ours to act on, in order.
    command.process_group(0);
    let program = args.command.first().map(Path::new).unwrap_or(Path::new(""));
    command
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

/// An application beside its running sidecar.
struct Supervised<'a> {
    child: &'a mut Child,
    shutdown: &'a Shutdown,
    /// From the first signal to the end of patience with it.
    patience: Duration,
}

// === impl Supervised ===

impl Supervised<'_> {
    /// How the application ended, and whether the sidecar did so before it.
    async fn supervise(
        self,
        signals: &mut Signals,
        mut sidecar: Pin<&mut impl Future<Output = Result<(), proxy::Error>>>,
    ) -> anyhow::Result<(ExitStatus, bool)> {
        let mut asked = 0;
        let mut sidecar_ended = false;
        let mut is_told = false;
        let mut killed_at: Option<Instant> = None;
        loop {
            let patience_ends = async {
                match killed_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                status = self.child.wait() => return Ok((status?, sidecar_ended)),
                ended = &mut sidecar, if !sidecar_ended => {
                    sidecar_ended = true;
                    if asked == 0 {
                        self.child.kill().await?;
                        bail!("the sidecar ended while its application ran: {ended:?}");
                    }
                    ended?;
                }
                () = self.shutdown.propagated.cancelled(), if !is_told => {
                    is_told = true;
                    self.send(rustix::process::Signal::TERM);
                }
                () = patience_ends => {
                    tracing::warn!("the application did not end in time; it is killed");
                    killed_at = None;
                    self.child.start_kill()?;
                }
                heard = signals.next() => match heard {
                    Heard::Other(signal) => self.send(signal),
                    Heard::Stop => {
                        asked += 1;
                        killed_at.get_or_insert(Instant::now() + self.patience);
                        match asked {
                            1 => self.shutdown.begin.cancel(),
                            2 => self.shutdown.at_once(),
                            _ => {
                                self.child.kill().await?;
                                bail!("told three times to end: the application was killed");
                            }
                        }
                    }
                },
            }
        }
    }

    /// To one that has ended meanwhile it says nothing.
    fn send(&self, signal: rustix::process::Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.and_then(Pid::from_raw)
            && let Err(err) = kill_process(id, signal)
        {
            tracing::debug!(error = %err, "signal not passed on");
        }
    }
}

/// As a shell says it: the code, or 128 and the signal.
fn code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
