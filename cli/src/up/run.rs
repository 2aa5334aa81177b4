//! A run from the first process to the last: start, stay, stop. Whatever goes wrong on the way, the stop comes last.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::time::Instant;

use super::prepare::Registry;
use super::signal::{Signals, Wishes};
use super::{start, stop, summary};
use crate::environment::Environment;
use crate::output::Output;
use crate::plan::{Addresses, Plan};
use crate::run_folder::{Demo, Lock, Paths};
use crate::run_record::{self, Phase, ProcessRecord, Run};
use crate::socket_table;
use crate::supervise::{EarlyEnds, Process, Supervisor};

/// What a run is made from.
pub(super) struct Setup {
    pub(super) plan: Plan,
    pub(super) paths: Paths,
    pub(super) lock: Lock,
    /// Instances that the last run in this folder had.
    pub(super) earlier: Vec<String>,
    pub(super) environment: Environment,
    pub(super) registry: Registry,
    pub(super) demo: Option<Demo>,
    pub(super) restart: bool,
    /// As the user wrote it.
    pub(super) data_dir: PathBuf,
    pub(super) socket_folder: Option<PathBuf>,
}

/// What runs by now.
pub(super) struct Mesh {
    pub(super) setup: Setup,
    pub(super) output: Output,
    pub(super) supervisor: Supervisor,
    pub(super) registry: Option<Arc<Process>>,
    /// In the plan's order, as the two below.
    pub(super) sidecars: Vec<Option<Arc<Process>>>,
    pub(super) applications: Vec<Option<Arc<Process>>>,
    pub(super) addresses: Vec<Option<Addresses>>,
    phase: Phase,
    started: jiff::Timestamp,
}

/// Runs until the user stops it or the start fails, and says why.
pub(super) async fn run(setup: Setup, output: &Output) -> ExitCode {
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(err) => {
            output.error(&format!("cannot listen to signals: {err}"));
            return ExitCode::FAILURE;
        }
    };
    let wishes = Wishes::default();
    let (mut mesh, early) = Mesh::new(setup, output.clone());
    tokio::select! {
        code = mesh.live(&wishes, early) => code,
        () = signals.follow(wishes.clone()) => ExitCode::FAILURE,
    }
}

impl Mesh {
    fn new(setup: Setup, output: Output) -> (Self, EarlyEnds) {
        let (supervisor, early) = Supervisor::new(
            setup.environment.own.clone(),
            setup.paths.logs(),
            setup.restart,
            output.clone(),
        );
        let count = setup.plan.instances.len();
        let mesh = Self {
            setup,
            output,
            supervisor,
            registry: None,
            sidecars: vec![None; count],
            applications: vec![None; count],
            addresses: vec![None; count],
            phase: Phase::Starting,
            started: jiff::Timestamp::now(),
        };
        (mesh, early)
    }

    async fn live(&mut self, wishes: &Wishes, mut early: EarlyEnds) -> ExitCode {
        let begin = Instant::now();
        self.record();
        let result = tokio::select! {
            biased;
            () = wishes.stop.cancelled() => Err(start::Error::Interrupted),
            end = early.next() => Err(start::Error::Early(end)),
            result = self.start() => result,
        };
        self.output.settled();
        if let Err(err) = &result {
            self.output.error(&err.to_string());
        } else {
            self.phase = Phase::Ready;
            self.record();
            self.output.result(&summary::text(self, begin.elapsed()));
            self.stay(wishes).await;
        }
        self.phase = Phase::Stopping;
        self.record();
        let is_forced = stop::stop(self, &wishes.force).await;
        self.output.settled();
        if is_forced {
            self.output.warn("stopped at once, without draining");
        }
        match result.is_ok() && !is_forced {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }

    /// Until the user has had enough; keeps `run.json` true meanwhile.
    async fn stay(&mut self, wishes: &Wishes) {
        let mut changes = self.supervisor.changes();
        loop {
            tokio::select! {
                () = wishes.stop.cancelled() => return,
                changed = changes.changed() => match changed {
                    Ok(()) => self.record(),
                    Err(_) => return wishes.stop.cancelled().await,
                },
            }
        }
    }

    /// Writes `run.json`.
    pub(super) fn record(&mut self) {
        let run = self.to_record();
        if let Err(err) = self.setup.lock.write(&run) {
            self.output.warn(&err.to_string());
        }
    }

    fn to_record(&self) -> Run {
        let registry = &self.setup.registry;
        Run {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.started.to_string(),
            phase: self.phase,
            registry: run_record::Registry {
                address: registry.address.clone(),
                process: registry
                    .embedded
                    .map(|_| ProcessRecord::of(self.registry.as_deref())),
                token_file: registry.token_file.clone(),
            },
            edge: self.edge(),
            instances: (0..self.setup.plan.instances.len())
                .filter_map(|index| self.instance(index))
                .collect(),
            sockets: self.sockets(),
            socket_folder: self.setup.socket_folder.clone(),
        }
    }

    fn instance(&self, index: usize) -> Option<run_record::Instance> {
        let planned = self.setup.plan.instances.get(index)?;
        let record = |processes: &[Option<Arc<Process>>]| {
            ProcessRecord::of(processes.get(index).and_then(Option::as_deref))
        };
        Some(run_record::Instance {
            name: planned.name.clone(),
            service: planned.service.clone(),
            version: planned.version.clone(),
            application: record(&self.applications),
            sidecar: record(&self.sidecars),
            addresses: self.addresses.get(index).cloned().flatten(),
            token_file: self.token_file(index),
        })
    }

    /// The token a sidecar registers with.
    pub(super) fn token_file(&self, index: usize) -> Option<PathBuf> {
        let registry = &self.setup.registry;
        match registry.embedded {
            Some(_) => self
                .setup
                .plan
                .instances
                .get(index)
                .map(|instance| instance.files.token.clone()),
            None => registry.token_file.clone(),
        }
    }

    pub(super) fn sockets(&self) -> Vec<socket_table::Row> {
        let registry = &self.setup.registry;
        let address = registry
            .embedded
            .map(|_| registry.address.trim_start_matches("http://"));
        let address = address.filter(|_| self.registry.is_some());
        socket_table::rows(&self.setup.plan, address, &self.addresses)
    }

    /// Base address of the gateway.
    pub(super) fn edge(&self) -> Option<String> {
        let bound = self
            .addresses
            .iter()
            .flatten()
            .find_map(|addresses| addresses.edge)?;
        Some(format!("http://{bound}"))
    }
}
