//! The processes of a run: each in a process group of its own, so that Ctrl-C reaches `outrigger up` alone, which then stops them in order.
//!
//! A child that ends before it was settled ends the run; one that ends later is started again, after a pause that grows. Every process
//! has one task that owns it from the first start to the last exit.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::output::Output;

mod keeper;

mod log;

mod pause;

use keeper::Keeper;
use log::Log;

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
    /// Removed before each start: one that a killed process left behind cannot be bound again.
    pub(crate) sockets: Vec<PathBuf>,
}

/// Where a process stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Running {
        pid: u32,
    },
    /// Waiting to be started again.
    Pausing {
        ended: String,
    },
    /// Not started again.
    Ended {
        ended: String,
        is_success: bool,
    },
}

/// A child that ended before it was settled.
#[derive(Debug, Clone)]
pub(crate) struct EarlyEnd {
    pub(crate) name: String,
    /// `exited with code 3`
    pub(crate) ended: String,
    pub(crate) last_lines: Vec<String>,
}

/// Tells of children that ended before they were settled.
#[derive(Debug)]
pub(crate) struct EarlyEnds(mpsc::UnboundedReceiver<EarlyEnd>);

impl EarlyEnds {
    /// The next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> EarlyEnd {
        match self.0.recv().await {
            Some(end) => end,
            None => std::future::pending().await,
        }
    }
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
    early: mpsc::UnboundedSender<EarlyEnd>,
    changed: Arc<watch::Sender<u64>>,
}

impl Supervisor {
    /// `own` is this binary, through which every process is started; `logs` the folder of their logs.
    pub(crate) fn new(
        own: PathBuf,
        logs: PathBuf,
        restart: bool,
        output: Output,
    ) -> (Self, EarlyEnds) {
        // One message a process at most.
        let (early, ends) = mpsc::unbounded_channel();
        let supervisor = Self {
            own,
            logs,
            restart,
            output,
            tasks: JoinSet::new(),
            processes: Vec::new(),
            early,
            changed: Arc::new(watch::Sender::new(0)),
        };
        (supervisor, EarlyEnds(ends))
    }

    /// Starts a process. Its end before `settle` is told by `EarlyEnds`.
    pub(crate) fn start(&mut self, launch: Launch) -> std::io::Result<Arc<Process>> {
        let log = Log::open(&self.logs.join(format!("{}.log", launch.name)))?;
        let running = keeper::spawn(&self.own, &launch)?;
        let process = Arc::new(Process {
            name: launch.name.clone(),
            log: Mutex::new(log),
            state: watch::Sender::new(State::Running { pid: running.pid() }),
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
            early: self.early.clone(),
            changed: self.changed.clone(),
        };
        self.tasks.spawn(keeper.keep(running));
        Ok(process)
    }

    pub(crate) fn processes(&self) -> &[Arc<Process>] {
        &self.processes
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

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(crate) fn restarts(&self) -> u32 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last_lines()
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

#[cfg(test)]
mod tests;
