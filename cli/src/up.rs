//! `outrigger up`: registry, CA, applications and one sidecar each, from a mesh file; the shop without one.
//!
//! Here is the frame of a run: take the folder, plan, start, stay, stop. What each of them does in which order is in the modules below.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args as ClapArgs;

use crate::environment::Environment;
use crate::mesh_file::{self, Listen, MeshFile, RegistryChoice, SearchPath, builtin};
use crate::output::Output;
use crate::plan::Plan;
use crate::run_folder::{self, Lock, Paths, SocketFolder};
use crate::run_record::Run;

mod port;

mod prepare;

mod run;

mod start;

mod wait;

mod stop;

mod signal;

mod summary;

use port::Ports;

const EXAMPLES: &str = "Examples:
  outrigger                            the shop: registry, CA, gateway, five services, one sidecar each
  outrigger up -f mesh.yaml            your own services
  outrigger up --print-mesh            the shop's mesh file, to start from
  outrigger up --consul http://127.0.0.1:8500
                                       on a running Consul (its ACL token in CONSUL_HTTP_TOKEN)
  outrigger up --fresh                 forget what earlier runs left: databases, keys, registry
  outrigger down                       stop it from another terminal

Everything of a run lies in ./.outrigger (--data-dir); its log files in .outrigger/logs.
Ctrl-C drains and stops; a second Ctrl-C stops at once.";

#[derive(Debug, Clone, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Mesh file to run; without it, the shop
    #[arg(short, long, value_name = "MESH.YAML")]
    file: Option<PathBuf>,
    /// Print the shop's mesh file and start nothing
    #[arg(long, conflicts_with = "file")]
    print_mesh: bool,
    /// Use a running Consul as the registry, whatever the mesh file says
    #[arg(long, value_name = "URL")]
    consul: Option<String>,
    /// Folder of everything the run keeps
    #[arg(long, value_name = "DIR", default_value = ".outrigger")]
    data_dir: PathBuf,
    /// Remove what earlier runs left in the folder first
    #[arg(long)]
    fresh: bool,
    /// Leave a process down that crashes
    #[arg(long)]
    no_restart: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    MeshFile(#[from] mesh_file::Error),
    #[error("--consul {0}")]
    Consul(String),
    #[error(transparent)]
    Folder(#[from] run_folder::Error),
    #[error(transparent)]
    Lock(#[from] run_folder::LockError),
    #[error("the runtime did not start: {0}")]
    Runtime(std::io::Error),
    #[error(transparent)]
    Prepare(#[from] prepare::Error),
}

pub(crate) fn run(args: &Args, environment: &Environment, output: &Output) -> ExitCode {
    if args.print_mesh {
        output.result(builtin::text().trim_end());
        return ExitCode::SUCCESS;
    }
    match up(args, environment, output) {
        Ok(code) => code,
        Err(err) => {
            output.error(&err.to_string());
            ExitCode::FAILURE
        }
    }
}

fn up(args: &Args, environment: &Environment, output: &Output) -> Result<ExitCode, Error> {
    let file = mesh(args, environment)?;
    let root = run_folder::root(Some(&args.data_dir))?;
    run_folder::open(&root)?;
    let mut lock = Lock::take(&root)?;
    let earlier = lock
        .previous::<Run>()
        .map(|run| run.instance_names())
        .unwrap_or_default();
    if args.fresh {
        run_folder::empty(&root)?;
    }
    let ports = Ports::default();
    let (plan, sockets, paths) = plan(&file, &root, environment, &ports);
    if let SocketFolder::Outside(folder) = &sockets {
        output.note(&format!(
            "{} is too deep for the paths of sockets; they lie in {}",
            root.display(),
            folder.display()
        ));
    }
    let (registry, demo) = prepare::prepare(&file, &plan, &paths, &sockets, &ports, environment)?;
    // Processes are started by this thread, whose end would be their parent's: no runtime with threads that come and go.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let code = runtime.block_on(run::run(
        run::Setup {
            plan,
            paths,
            lock,
            earlier,
            environment: environment.clone(),
            registry,
            demo,
            restart: !args.no_restart,
            data_dir: args.data_dir.clone(),
            socket_folder: match &sockets {
                SocketFolder::Inside(_) => None,
                SocketFolder::Outside(folder) => Some(folder.clone()),
            },
        },
        output,
    ));
    if let Err(err) = sockets.remove() {
        output.warn(&err.to_string());
    }
    Ok(code)
}

fn mesh(args: &Args, environment: &Environment) -> Result<MeshFile, Error> {
    let search = SearchPath {
        own: environment.own.clone(),
        path: environment.search_path(),
    };
    let mut file = match &args.file {
        Some(path) => mesh_file::load(path, &search)?,
        None => mesh_file::parse(
            &builtin::text(),
            builtin::NAME,
            &environment.folder,
            &search,
        )?,
    };
    if let Some(address) = &args.consul {
        file.registry =
            RegistryChoice::Consul(mesh_file::consul_address(address).map_err(Error::Consul)?);
    }
    Ok(file)
}

/// Sockets may have to lie elsewhere, which depends on the longest name of an instance, which is the plan's business: it is made twice.
fn plan(
    file: &MeshFile,
    root: &Path,
    environment: &Environment,
    ports: &Ports,
) -> (Plan, SocketFolder, Paths) {
    let draft = Plan::new(
        file,
        &Paths::new(root.to_owned(), root.join("run")),
        &|_| true,
    );
    let names = draft
        .instances
        .iter()
        .filter(|instance| instance.listen == Listen::Unix)
        .map(|instance| instance.name.as_str());
    let sockets = SocketFolder::choose(root, &environment.temporary, names);
    let paths = Paths::new(root.to_owned(), sockets.path().to_owned());
    (
        Plan::new(file, &paths, &|port| ports.take(port)),
        sockets,
        paths,
    )
}
