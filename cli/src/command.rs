//! The command line: one verb a file; without a verb it is `up`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::environment::Environment;
use crate::output::Output;
use crate::{down, exec, registry, run, shop, sidecar, status, token, up};

/// A gRPC service mesh on your laptop: registry, CA, your services with a sidecar each, from one binary.
#[derive(Debug, Parser)]
#[command(
    name = "outrigger",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Without a command, outrigger runs the shop: the same as `outrigger up`.\n\n\
        Examples:\n  outrigger                    everything, ready to call\n  outrigger up -f mesh.yaml    your own services\n  \
        outrigger status             what runs, and where it listens\n  outrigger token alice        an access token of the shop\n  \
        outrigger down               stop it\n\nExit codes: 0 done, 1 failed or wrong usage, 2 and up as a command says."
)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    up: up::Args,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start registry, CA, applications and one sidecar each
    Up(up::Args),
    /// Stop what `up` started
    Down(down::Args),
    /// Show what runs, whether it is ready, and every listening socket
    Status(status::Args),
    /// Sign in to the shop and print the access token
    Token(token::Args),
    /// Run the registry alone
    Registry(registry::Args),
    /// Run one application with its sidecar, as one process
    Run(run::Args),
    /// Run one sidecar alone
    Sidecar(sidecar::Args),
    /// Run one service of the shop alone
    Shop(shop::Args),
    /// Become another program that ends when `up` does
    #[command(hide = true)]
    Exec(exec::Args),
}

impl Command {
    /// The parsed command line, or the exit code of what clap has printed instead: help and version are fine, the rest is wrong usage.
    pub(crate) fn from_process() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|err| {
            // Whoever closed the pipe does not want the rest.
            let _closed = err.print();
            match err.use_stderr() {
                true => ExitCode::FAILURE,
                false => ExitCode::SUCCESS,
            }
        })
    }

    pub(crate) fn run(self, environment: &Environment, output: &Output) -> ExitCode {
        match self.verb {
            None => up::run(&self.up, environment, output),
            Some(Verb::Up(args)) => up::run(&args, environment, output),
            Some(Verb::Down(args)) => down::run(&args, output),
            Some(Verb::Status(args)) => status::run(&args, output),
            Some(Verb::Token(args)) => token::run(&args, output),
            Some(Verb::Registry(args)) => registry::run(args, environment, output),
            Some(Verb::Run(args)) => run::run(&args, environment, output),
            Some(Verb::Sidecar(args)) => sidecar::run(args, environment, output),
            Some(Verb::Shop(args)) => shop::run(&args),
            Some(Verb::Exec(args)) => exec::run(&args, output),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn verb(line: &str) -> Result<Option<Verb>, clap::Error> {
        Command::try_parse_from(line.split(' ')).map(|command| command.verb)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }

    #[test]
    fn no_verb_is_up_and_takes_its_options() {
        assert!(verb("outrigger").unwrap().is_none());
        assert!(verb("outrigger --fresh -f mesh.yaml").unwrap().is_none());
        assert!(matches!(
            verb("outrigger up --fresh").unwrap(),
            Some(Verb::Up(_))
        ));
        assert!(verb("outrigger --fresh status").is_err());
        assert!(verb("outrigger up --print-mesh -f mesh.yaml").is_err());
        assert!(verb("outrigger shop shoes").is_err());
    }

    #[test]
    fn every_verb_shows_examples() {
        for verb in Command::command()
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
        {
            let help = verb
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.contains("Example"), "{}", verb.get_name());
        }
    }
}
