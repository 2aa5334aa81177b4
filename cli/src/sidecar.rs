//! `outrigger sidecar`: one sidecar alone, as its own binary runs it.

use std::process::ExitCode;

use clap::Args as ClapArgs;

use crate::environment::Environment;
use crate::output::Output;
use crate::serve::serve;

#[derive(Debug, ClapArgs)]
// Its group would have the name of the one inside.
#[group(skip)]
#[command(
    after_help = "Examples:\n  outrigger sidecar --config sidecar.toml\n\n\
    The file: docs/configuration.md. `outrigger up` writes one per instance to .outrigger/run/<instance>/sidecar.toml."
)]
pub(crate) struct Args {
    #[command(flatten)]
    sidecar: outrigger_sidecar::cli::Args,
}

pub(crate) fn run(args: Args, environment: &Environment, output: &Output) -> ExitCode {
    outrigger_sidecar::machine::copy_plainly();
    let server = outrigger_sidecar::cli::run(args.sidecar);
    serve(server, "OUTRIGGER_SIDECAR_LOG", environment, output)
}
