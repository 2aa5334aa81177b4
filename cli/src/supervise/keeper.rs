//! The task that owns one process from its first start to its last exit.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::pause::Pause;
use super::{EarlyEnd, Launch, Process, State, log};
use crate::output::Output;

/// A process that was started, and what it writes.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    output: Receiver,
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }
}

/// The task of one process.
pub(super) struct Keeper {
    pub(super) own: PathBuf,
    pub(super) launch: Launch,
    pub(super) restart: bool,
    pub(super) output: Output,
    pub(super) process: Arc<Process>,
    pub(super) early: mpsc::UnboundedSender<EarlyEnd>,
    pub(super) changed: Arc<watch::Sender<u64>>,
}

impl Keeper {
    pub(super) async fn keep(self, first: Running) {
        let mut pause = Pause::default();
        let mut running = first;
        loop {
            let started = Instant::now();
            self.set(State::Running { pid: running.pid() });
            let status = self.watch(running).await;
            let ended = describe(status);
            if self.process.stop.is_cancelled() {
                break self.set(State::Ended {
                    ended,
                    is_success: true,
                });
            }
            let is_success = status.is_some_and(|status| status.success());
            if self.launch.may_finish && is_success {
                self.output
                    .note(&format!("{} has finished", self.launch.name));
                break self.set(State::Ended { ended, is_success });
            }
            if !self.process.is_settled.load(Ordering::Relaxed) {
                self.set(State::Ended {
                    ended: ended.clone(),
                    is_success: false,
                });
                break self.tell_early(ended);
            }
            if !self.restart {
                self.output.warn(&format!(
                    "{} {ended}; it stays down (--no-restart)",
                    self.launch.name
                ));
                break self.set(State::Ended {
                    ended,
                    is_success: false,
                });
            }
            match self.again(&mut pause, started.elapsed(), &ended).await {
                Some(next) => running = next,
                None => {
                    break self.set(State::Ended {
                        ended,
                        is_success: true,
                    });
                }
            }
        }
        self.process.gone.cancel();
    }

    /// Starts it again after a pause; `None` if the run is stopped meanwhile.
    async fn again(&self, pause: &mut Pause, ran: Duration, ended: &str) -> Option<Running> {
        let mut ended = ended.to_owned();
        let mut ran = ran;
        loop {
            let wait = pause.after(ran);
            self.output.warn(&format!(
                "{} {ended}; starting it again in {}",
                self.launch.name,
                humantime::format_duration(wait)
            ));
            self.set(State::Pausing {
                ended: ended.clone(),
            });
            tokio::select! {
                () = self.process.stop.cancelled() => return None,
                () = tokio::time::sleep(wait) => {}
            }
            self.process.restarts.fetch_add(1, Ordering::Relaxed);
            match spawn(&self.own, &self.launch) {
                Ok(running) => return Some(running),
                Err(err) => (ended, ran) = (format!("cannot be started: {err}"), Duration::ZERO),
            }
        }
    }

    /// Reads its output and passes signals on until it has ended and nothing of its group is left.
    async fn watch(&self, running: Running) -> Option<ExitStatus> {
        let Running { mut child, output } = running;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        let signal = |signal: Signal| {
            if let Some(group) = group {
                // Gone already: nothing to signal.
                let _gone = kill_process_group(group, signal);
            }
        };
        let mut reading = std::pin::pin!(log::read_lines(output, |line| self.line(line)));
        let mut is_read = false;
        let (mut is_stopping, mut is_killed) = (false, false);
        let status = loop {
            tokio::select! {
                status = child.wait() => break status.ok(),
                () = &mut reading, if !is_read => is_read = true,
                () = self.process.kill.cancelled(), if !is_killed => {
                    is_killed = true;
                    signal(Signal::KILL);
                }
                () = self.process.stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    signal(Signal::TERM);
                }
            }
        };
        // Children of its own would keep its ports and its pipes.
        signal(Signal::KILL);
        if !is_read {
            // What it said last is still in the pipes; one that escaped its group may hold them open, and is not waited for.
            let _late = tokio::time::timeout(Duration::from_secs(1), reading).await;
        }
        status
    }

    fn line(&self, line: &str) {
        self.process
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(line);
        self.output.log(&self.launch.name, line);
    }

    fn tell_early(&self, ended: String) {
        let end = EarlyEnd {
            name: self.launch.name.clone(),
            ended,
            last_lines: self.process.last_lines(),
        };
        // The receiver is gone only when the run is over anyway.
        let _over = self.early.send(end);
    }

    fn set(&self, state: State) {
        self.process.state.send_replace(state);
        self.changed.send_modify(|count| *count += 1);
    }
}

/// Starts the program through `outrigger exec`, in a group of its own.
pub(super) fn spawn(own: &Path, launch: &Launch) -> std::io::Result<Running> {
    for socket in &launch.sockets {
        match std::fs::remove_file(socket) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    // One pipe for both, or what it said last on one would be told before what it said first on the other.
    let (reader, writer) = std::io::pipe()?;
    let output = Receiver::from_owned_fd(reader.into())?;
    let child = Command::new(own)
        .arg("exec")
        .arg(format!("--parent={}", std::process::id()))
        .arg("--")
        .arg(&launch.program)
        .args(&launch.args)
        .env_clear()
        .envs(&launch.env)
        .current_dir(&launch.dir)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok(Running { child, output })
}

fn describe(status: Option<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match status {
        None => "ended, and its exit code cannot be read".to_owned(),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with code {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => format!("ended: {status}"),
        },
    }
}
