//! The processes of a run: each in a process group of its own, so that Ctrl-C reaches `outrigger up` alone, which then stops them in order.
//!
//! A child that ends before it was settled ends the run; one that ends later is started again, after a pause that grows. Every process
//! has one task that owns it from the first start to the last exit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::output::Output;

mod log;

mod pause;

pub(crate) use log::Log;
use pause::Pause;

/// How a process is started, each time.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// Prefix of its log lines and name of its log file.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    /// All of its environment.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) dir: PathBuf,
    /// An end with code 0 is its job done, not a failure.
    pub(crate) may_finish: bool,
}

/// Where a process stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Running { pid: u32 },
    /// Waiting to be started again.
    Pausing { ended: String },
    /// Not started again.
    Ended { ended: String, is_success: bool },
}

/// A child that ended before it was settled.
#[derive(Debug, Clone)]
pub(crate) struct EarlyEnd {
    pub(crate) name: String,
    /// `exited with code 3`
    pub(crate) ended: String,
    pub(crate) last_lines: Vec<String>,
}

/// One process, seen from outside its task.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    log: Mutex<Log>,
    state: watch::Sender<State>,
    is_settled: AtomicBool,
    restarts: AtomicU32,
    stop: CancellationToken,
    kill: CancellationToken,
    gone: CancellationToken,
}

/// Owns all processes.
#[derive(Debug)]
pub(crate) struct Supervisor {
    own: PathBuf,
    logs: PathBuf,
    restart: bool,
    output: Output,
    tasks: JoinSet<()>,
    processes: Vec<Arc<Process>>,
    early: (mpsc::UnboundedSender<EarlyEnd>, mpsc::UnboundedReceiver<EarlyEnd>),
    changed: Arc<watch::Sender<u64>>,
}

impl Supervisor {
    /// `own` is this binary, through which every process is started; `logs` the folder of their logs.
    pub(crate) fn new(own: PathBuf, logs: PathBuf, restart: bool, output: Output) -> Self {
        Self {
            own,
            logs,
            restart,
            output,
            tasks: JoinSet::new(),
            processes: Vec::new(),
            // One message a process at most.
            early: mpsc::unbounded_channel(),
            changed: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Starts a process. Its end before `settle` is told by `early_end`.
    pub(crate) fn start(&mut self, launch: Launch) -> std::io::Result<Arc<Process>> {
        let log = Log::open(&self.logs.join(format!("{}.log", launch.name)))?;
        let child = self.spawn(&launch)?;
        let process = Arc::new(Process {
            name: launch.name.clone(),
            log: Mutex::new(log),
            state: watch::Sender::new(State::Running { pid: child.id().unwrap_or(0) }),
            is_settled: AtomicBool::new(false),
            restarts: AtomicU32::new(0),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            gone: CancellationToken::new(),
        });
        self.processes.push(process.clone());
        let keeper = Keeper {
            own: self.own.clone(),
            launch,
            restart: self.restart,
            output: self.output.clone(),
            process: process.clone(),
            early: self.early.0.clone(),
            changed: self.changed.clone(),
        };
        self.tasks.spawn(keeper.keep(child));
        Ok(process)
    }

    /// The first child that ended before it was settled. Never resolves otherwise. Cancel safe.
    pub(crate) async fn early_end(&mut self) -> EarlyEnd {
        match self.early.1.recv().await {
            Some(end) => end,
            None => std::future::pending().await,
        }
    }

    /// Counts the changes of any process's state.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Ends everything at once.
    pub(crate) fn kill_all(&self) {
        for process in &self.processes {
            process.stop.cancel();
            process.kill.cancel();
        }
    }

    /// After all were stopped or killed: waits for their tasks.
    pub(crate) async fn join(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    fn spawn(&self, launch: &Launch) -> std::io::Result<Child> {
        spawn(&self.own, launch)
    }
}

impl Drop for Supervisor {
    /// An error on the way out must not leave processes behind; dropping a `Child` kills it (`kill_on_drop`).
    fn drop(&mut self) {
        self.kill_all();
    }
}

// === impl Process ===

impl Process {
    /// From now on its end is a crash, not a failed start.
    pub(crate) fn settle(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(crate) fn restarts(&self) -> u32 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).last_lines()
    }

    /// Asks it to end: SIGTERM to its group, and no restart.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// SIGKILL to its group.
    pub(crate) fn kill(&self) {
        self.stop.cancel();
        self.kill.cancel();
    }

    /// Resolves when it has ended for good.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }
}

/// The task of one process.
struct Keeper {
    own: PathBuf,
    launch: Launch,
    restart: bool,
    output: Output,
    process: Arc<Process>,
    early: mpsc::UnboundedSender<EarlyEnd>,
    changed: Arc<watch::Sender<u64>>,
}

impl Keeper {
    async fn keep(self, first: Child) {
        let mut pause = Pause::default();
        let mut child = first;
        loop {
            let started = Instant::now();
            self.set(State::Running { pid: child.id().unwrap_or(0) });
            let status = self.watch(&mut child).await;
            let ended = describe(status);
            if self.process.stop.is_cancelled() {
                break self.set(State::Ended { ended, is_success: true });
            }
            let is_success = status.is_some_and(|status| status.success());
            if self.launch.may_finish && is_success {
                self.output.note(&format!("{} has finished", self.launch.name));
                break self.set(State::Ended { ended, is_success });
            }
            if !self.process.is_settled.load(Ordering::Relaxed) {
                self.set(State::Ended { ended: ended.clone(), is_success: false });
                break self.tell_early(ended);
            }
            if !self.restart {
                self.output.warn(&format!("{} {ended}; it stays down (--no-restart)", self.launch.name));
                break self.set(State::Ended { ended, is_success: false });
            }
            match self.again(&mut pause, started.elapsed(), &ended).await {
                Some(next) => child = next,
                None => break self.set(State::Ended { ended, is_success: true }),
            }
        }
        self.process.gone.cancel();
    }

    /// Starts it again after a pause; `None` if the run is stopped meanwhile.
    async fn again(&self, pause: &mut Pause, ran: Duration, ended: &str) -> Option<Child> {
        let mut ended = ended.to_owned();
        let mut ran = ran;
        loop {
            let wait = pause.after(ran);
            self.output.warn(&format!(
                "{} {ended}; starting it again in {}",
                self.launch.name,
                humantime::format_duration(wait)
            ));
            self.set(State::Pausing { ended: ended.clone() });
            tokio::select! {
                () = self.process.stop.cancelled() => return None,
                () = tokio::time::sleep(wait) => {}
            }
            self.process.restarts.fetch_add(1, Ordering::Relaxed);
            match spawn(&self.own, &self.launch) {
                Ok(child) => return Some(child),
                Err(err) => (ended, ran) = (format!("cannot be started: {err}"), Duration::ZERO),
            }
        }
    }

    /// Reads its output and passes signals on until it has ended and nothing of its group is left.
    async fn watch(&self, child: &mut Child) -> Option<ExitStatus> {
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let signal = |signal: Signal| {
            if let Some(group) = group {
                // Gone already: nothing to signal.
                let _gone = kill_process_group(group, signal);
            }
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let reading = async {
            let line = |line: &str| self.line(line);
            tokio::join!(log::read_lines(stdout, line), log::read_lines(stderr, line));
        };
        let mut reading = std::pin::pin!(reading);
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
        self.process.log.lock().unwrap_or_else(PoisonError::into_inner).write(line);
        self.output.log(&self.launch.name, line);
    }

    fn tell_early(&self, ended: String) {
        let end = EarlyEnd { name: self.launch.name.clone(), ended, last_lines: self.process.last_lines() };
        // The receiver is gone only when the run is over anyway.
        let _over = self.early.send(end);
    }

    fn set(&self, state: State) {
        self.process.state.send_replace(state);
        self.changed.send_modify(|count| *count += 1);
    }
}

fn spawn(own: &std::path::Path, launch: &Launch) -> std::io::Result<Child> {
    Command::new(own)
        .arg("exec")
        .arg(format!("--parent={}", std::process::id()))
        .arg("--")
        .arg(&launch.program)
        .args(&launch.args)
        .env_clear()
        .envs(&launch.env)
        .current_dir(&launch.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Whether all of these have ended for good.
pub(crate) fn are_gone(processes: &[Arc<Process>]) -> bool {
    processes.iter().all(|process| process.is_gone())
}

/// Names of those that are still there.
pub(crate) fn remaining(processes: &[Arc<Process>]) -> BTreeSet<&str> {
    processes.iter().filter(|process| !process.is_gone()).map(|process| process.name.as_str()).collect()
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

#[cfg(test)]
mod tests;
