//! Comparisons that a person runs on a calm machine, and CI runs short to see that they still work.

mod connections;
mod pair;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(version, about = "Side-by-side comparisons of the data plane")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// A unary call: direct, through a pair of sidecars, through a pair of Envoys with the same features,
    /// and through a pair of forwarders without any
    Pair(pair::Args),
    /// Idle connections and handshakes of the same pairs: memory and CPU of each
    Connections(connections::Args),
    /// The application behind the proxies; started by `pair`
    #[command(hide = true)]
    Serve,
    /// A forwarder without features; started by `pair`
    #[command(hide = true)]
    Forward(pair::bare::Args),
}

fn main() -> ExitCode {
    // One thread for the load and one for the application, as for each proxy.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match (runtime, Arguments::parse().bench) {
        (Err(error), _) => Err(error.into()),
        (Ok(runtime), Bench::Pair(args)) => runtime.block_on(pair::run(args)),
        (Ok(runtime), Bench::Connections(args)) => runtime.block_on(connections::run(args)),
        (Ok(runtime), Bench::Serve) => runtime.block_on(pair::application::serve()),
        (Ok(runtime), Bench::Forward(args)) => runtime.block_on(pair::bare::serve(args)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            pair::report::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
