//! The order of a start: registry → config entries → sidecars to `/ready/outbound` → applications, those who are called first, each to
//! its sidecar's `/ready` → gateway. An application can therefore call others in its own start-up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use outrigger_consul::{Client, Read};

use super::run::Mesh;
use super::wait::{self, Late};
use crate::config_entry;
use crate::environment::Environment;
use crate::mesh_file::Listen;
use crate::plan::{Address, Addresses, Instance, for_child};
use crate::run_folder::{self, write_private};
use crate::supervise::{EarlyEnd, Launch, Process};

mod leftover;

/// A single question to a sidecar's health port.
const ASK: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("stopped before it was ready")]
    Interrupted,
    #[error("{} {} before it was ready{}", .0.name, .0.ended, quote(&.0.last_lines))]
    Early(EarlyEnd),
    #[error(
        "{name} is not ready after {}: {reason}{}",
        humantime::format_duration(wait::LIMIT),
        quote(lines)
    )]
    Late {
        name: String,
        reason: String,
        lines: Vec<String>,
    },
    #[error("cannot start {name}: {source}")]
    Spawn {
        name: String,
        source: std::io::Error,
    },
    #[error("no Consul to work with at {address}: {source}")]
    Consul {
        address: String,
        source: outrigger_consul::Error,
    },
    #[error("registry: {0}")]
    Registry(#[from] outrigger_consul::Error),
    #[error(transparent)]
    Entry(#[from] config_entry::Error),
    #[error(transparent)]
    Folder(#[from] run_folder::Error),
    #[error("cannot write the sidecar's file: {0}")]
    Toml(#[from] toml::ser::Error),
    #[error("no HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

fn quote(lines: &[String]) -> String {
    if lines.is_empty() {
        return "; it said nothing".to_owned();
    }
    format!("; its last lines:\n  {}", lines.join("\n  "))
}

impl Mesh {
    pub(super) async fn start(&mut self) -> Result<(), Error> {
        let registry = Client::new(
            &self.setup.registry.address,
            self.setup.registry.token.as_deref(),
        )?;
        self.start_registry(&registry).await?;
        leftover::remove(
            &registry,
            &self.setup.plan,
            &self.setup.earlier,
            &self.output,
        )
        .await;
        self.output.waiting("writing config entries", true);
        for name in config_entry::write(&registry, &self.setup.plan).await? {
            self.output
                .note(&format!("left alone: {name}, which somebody else wrote"));
        }
        let http = reqwest::Client::builder().no_proxy().timeout(ASK).build()?;
        self.start_sidecars(&http).await?;
        for wave in self.setup.plan.waves.clone() {
            self.start_applications(&http, &wave).await?;
        }
        Ok(())
    }

    async fn start_registry(&mut self, client: &Client) -> Result<(), Error> {
        let Some(port) = self.setup.registry.embedded else {
            let address = &self.setup.registry.address;
            self.output
                .waiting(&format!("asking Consul at {address}"), true);
            let refused = |source| Error::Consul {
                address: address.clone(),
                source,
            };
            client.agent_self().await.map_err(refused)?;
            client.ca_roots(&Read::default()).await.map_err(refused)?;
            return Ok(());
        };
        if port != crate::plan::REGISTRY {
            self.output.note(&format!(
                "port {} is taken: the registry is on {port}",
                crate::plan::REGISTRY
            ));
        }
        let process = self.launch(self.registry_launch(port))?;
        self.registry = Some(process.clone());
        let leader = wait::until("registry", async || match client.status_leader().await {
            Ok(leader) if !leader.is_empty() => Ok(()),
            Ok(_) => Err("it has no leader".to_owned()),
            Err(err) => Err(err.to_string()),
        });
        let waited = wait::all(
            &self.output,
            "registry",
            vec![("registry".to_owned(), leader)],
        )
        .await;
        waited.map_err(|late| self.late(late))?;
        process.settle();
        self.record();
        Ok(())
    }

    fn registry_launch(&self, port: u16) -> Launch {
        let paths = &self.setup.paths;
        let argument = |name: &str, value: String| format!("--{name}={value}");
        let args = vec![
            "registry".to_owned(),
            argument("bind", format!("127.0.0.1:{port}")),
            argument("data-dir", paths.registry().display().to_string()),
            argument("tokens", paths.registry_tokens().display().to_string()),
            argument(
                "default-intention-policy",
                self.setup.plan.intentions.as_str().to_owned(),
            ),
        ];
        own(
            &self.setup.environment,
            paths.root().to_owned(),
            "registry".to_owned(),
            args,
        )
    }

    async fn start_sidecars(&mut self, http: &reqwest::Client) -> Result<(), Error> {
        let instances = self.setup.plan.instances.clone();
        for (index, instance) in instances.iter().enumerate() {
            self.write_sidecar_file(index, instance, None)?;
            let args = vec![
                "sidecar".to_owned(),
                format!("--config={}", instance.files.sidecar.display()),
            ];
            let name = format!("{}-sidecar", instance.name);
            let folder = instance.files.folder.clone();
            let process = self.launch(Launch {
                sockets: instance.outbound.socket().into_iter().collect(),
                ..own(&self.setup.environment, folder, name, args)
            })?;
            set(&mut self.sidecars, index, process);
        }
        self.record();
        let tasks = instances
            .iter()
            .map(|instance| {
                let (name, report) = (instance.name.clone(), instance.files.report.clone());
                (name.clone(), async move {
                    let addresses = wait::report(&name, &report).await?;
                    wait::ready(http, &name, addresses.health, "/ready/outbound").await?;
                    Ok(addresses)
                })
            })
            .collect();
        let bound = wait::all(&self.output, "sidecars", tasks)
            .await
            .map_err(|late| self.late(late))?;
        for (name, addresses) in bound {
            let Some(index) = instances.iter().position(|instance| instance.name == name) else {
                continue;
            };
            let Some(instance) = instances.get(index) else {
                continue;
            };
            self.tell_moved(instance, &addresses);
            // The file of a successor: it must listen where the application will look for it.
            self.write_sidecar_file(index, instance, Some(&addresses))?;
            set(&mut self.addresses, index, addresses);
        }
        self.record();
        Ok(())
    }

    async fn start_applications(
        &mut self,
        http: &reqwest::Client,
        wave: &[String],
    ) -> Result<(), Error> {
        let instances = self.setup.plan.instances.clone();
        let members: Vec<(usize, &Instance)> = instances
            .iter()
            .enumerate()
            .filter(|(_, instance)| wave.contains(&instance.service))
            .collect();
        let mut tasks = Vec::new();
        for (index, instance) in &members {
            let Some(addresses) = self.addresses.get(*index).cloned().flatten() else {
                continue;
            };
            let launch = self.application_launch(instance, &addresses);
            let process = self.launch(launch)?;
            set(&mut self.applications, *index, process);
            let name = instance.name.clone();
            tasks.push((name.clone(), async move {
                wait::ready(http, &name, addresses.health, "/ready").await
            }));
        }
        self.record();
        wait::all(&self.output, "applications", tasks)
            .await
            .map_err(|late| self.late(late))?;
        for (index, _) in members {
            for process in [self.applications.get(index), self.sidecars.get(index)]
                .into_iter()
                .flatten()
                .flatten()
            {
                process.settle();
            }
        }
        self.record();
        Ok(())
    }

    fn application_launch(&self, instance: &Instance, addresses: &Addresses) -> Launch {
        Launch {
            name: instance.name.clone(),
            program: instance.program.path.clone(),
            args: instance.program.args.clone(),
            env: instance.environment(
                &self.setup.environment.variables,
                &self.setup.paths,
                addresses,
            ),
            dir: instance.dir.clone(),
            may_finish: instance.listen == Listen::None,
            sockets: instance
                .application
                .iter()
                .filter_map(Address::socket)
                .collect(),
        }
    }

    fn launch(&mut self, launch: Launch) -> Result<Arc<Process>, Error> {
        let name = launch.name.clone();
        self.supervisor
            .start(launch)
            .map_err(|source| Error::Spawn { name, source })
    }

    fn write_sidecar_file(
        &self,
        index: usize,
        instance: &Instance,
        bound: Option<&Addresses>,
    ) -> Result<(), Error> {
        let token = self.token_file(index);
        let text = instance.sidecar_file(&self.setup.registry.address, token.as_deref(), bound)?;
        Ok(write_private(&instance.files.sidecar, text.as_bytes())?)
    }

    fn tell_moved(&self, instance: &Instance, addresses: &Addresses) {
        for (what, wanted, got) in instance.moved(addresses) {
            self.output.note(&format!(
                "port {wanted} is taken: {what} of {} is on {got}",
                instance.name
            ));
        }
    }

    /// What a process that is late said last: the sidecar's own words, then the application's.
    fn late(&self, late: Late) -> Error {
        let sidecar = format!("{}-sidecar", late.name);
        let lines = self
            .supervisor
            .processes()
            .iter()
            .filter(|process| process.name() == late.name || process.name() == sidecar)
            .flat_map(|process| {
                process
                    .last_lines()
                    .into_iter()
                    .map(|line| format!("{} | {line}", process.name()))
                    .collect::<Vec<_>>()
            })
            .collect();
        Error::Late {
            name: late.name,
            reason: late.reason,
            lines,
        }
    }
}

/// A process of our own binary.
fn own(environment: &Environment, dir: PathBuf, name: String, args: Vec<String>) -> Launch {
    Launch {
        name,
        program: environment.own.clone(),
        args,
        env: for_child(&environment.variables),
        dir,
        may_finish: false,
        sockets: Vec::new(),
    }
}

fn set<T>(slots: &mut [Option<T>], index: usize, value: T) {
    if let Some(slot) = slots.get_mut(index) {
        *slot = Some(value);
    }
}
