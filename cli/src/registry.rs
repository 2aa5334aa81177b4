//! `outrigger registry`: the registry alone, as its own binary runs it.

use std::process::ExitCode;

use clap::Args as ClapArgs;

use crate::environment::Environment;
use crate::output::Output;
use crate::serve::serve;

#[derive(Debug, ClapArgs)]
// Its group would have the name of the one inside.
#[group(skip)]
#[command(
    after_help = "Examples:\n  outrigger registry --dev                       without tokens, nothing is kept\n  \
    outrigger registry --data-dir /var/lib/outrigger --tokens tokens.json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    registry: outrigger_registry::cli::Args,
}

pub(crate) fn run(args: Args, environment: &Environment, output: &Output) -> ExitCode {
    let server = outrigger_registry::cli::run(args.registry);
    serve(server, "OUTRIGGER_REGISTRY_LOG", environment, output)
}
