//! Everything on disk before the first process: folders, tokens, contracts, passwords; and which registry it will be.

use std::path::PathBuf;

use super::port::Ports;
use crate::environment::Environment;
use crate::mesh_file::{Contract, MeshFile, RegistryChoice};
use crate::plan::{self, Plan};
use crate::run_folder::{self, Demo, Paths, SocketFolder, Tokens, write_private};

/// The registry of a run, known before it is started or called.
#[derive(Clone)]
pub(super) struct Registry {
    /// `http://127.0.0.1:8500`
    pub(super) address: String,
    /// The port to serve on; `None`: a Consul that runs already.
    pub(super) embedded: Option<u16>,
    /// Ours to write config entries with.
    pub(super) token: Option<String>,
    /// Where a user finds it.
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Folder(#[from] run_folder::Error),
    #[error("cannot copy contract {path}: {source}", path = path.display())]
    Contract {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("no free port for the registry from {first} to {last}", first = plan::REGISTRY, last = plan::REGISTRY + plan::SEARCH)]
    NoPort,
}

/// Also makes the demo users, where the shop's identity runs.
pub(super) fn prepare(
    file: &MeshFile,
    plan: &Plan,
    paths: &Paths,
    sockets: &SocketFolder,
    ports: &Ports,
    environment: &Environment,
) -> Result<(Registry, Option<Demo>), Error> {
    sockets.prepare()?;
    run_folder::prepare(
        paths,
        plan.instances.iter().map(|instance| instance.name.as_str()),
    )?;
    contracts(file, paths)?;
    let has_users = plan
        .instances
        .iter()
        .any(|instance| instance.program.shop.as_deref() == Some("identity"));
    let demo = match has_users {
        true => Some(Demo::prepare(&paths.demo())?),
        false => None,
    };
    Ok((registry(file, plan, paths, ports, environment)?, demo))
}

fn contracts(file: &MeshFile, paths: &Paths) -> Result<(), Error> {
    for service in &file.services {
        let bytes = match &service.contract {
            None => continue,
            Some(Contract::BuiltIn(name)) => outrigger_proto::contract(name).unwrap_or_default(),
            Some(Contract::File(path)) => {
                std::fs::read(path).map_err(|source| Error::Contract {
                    path: path.clone(),
                    source,
                })?
            }
        };
        write_private(&paths.contract(&service.name), &bytes)?;
    }
    Ok(())
}

fn registry(
    file: &MeshFile,
    plan: &Plan,
    paths: &Paths,
    ports: &Ports,
    environment: &Environment,
) -> Result<Registry, Error> {
    match &file.registry {
        RegistryChoice::Embedded => {
            let instances = plan
                .instances
                .iter()
                .map(|instance| (instance.name.as_str(), instance.service.as_str()));
            let tokens = Tokens::prepare(paths, instances)?;
            let port = (plan::REGISTRY..=plan::REGISTRY + plan::SEARCH)
                .find(|&port| ports.take(port))
                .ok_or(Error::NoPort)?;
            Ok(Registry {
                address: format!("http://127.0.0.1:{port}"),
                embedded: Some(port),
                token: Some(tokens.management().to_owned()),
                token_file: Some(paths.management_token()),
            })
        }
        RegistryChoice::Consul(address) => {
            let token = environment.get("CONSUL_HTTP_TOKEN").map(str::to_owned);
            // Sidecars read theirs from a file: an environment can be seen by every process of the user.
            let token_file = match &token {
                None => None,
                Some(token) => {
                    write_private(&paths.consul_token(), token.as_bytes())?;
                    Some(paths.consul_token())
                }
            };
            Ok(Registry {
                address: address.clone(),
                embedded: None,
                token,
                token_file,
            })
        }
    }
}
