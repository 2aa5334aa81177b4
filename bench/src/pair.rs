//! `pair`: what a pair of sidecars costs a unary call, beside no proxy at all and beside Envoy.
//!
//! Rounds are interleaved, so that a machine that slows down slows all three; what is told are medians over the rounds. Each proxy
//! has one data-plane thread. Load is closed-loop on purpose: it asks how much passes with so many calls in flight.

pub(crate) mod application;
mod envoy;
mod load;
mod outrigger;
mod process;
pub(crate) mod report;
mod topology;

use std::time::Duration;

use anyhow::Context as _;

use report::{Report, Round};
use topology::Topology;

/// A method that the catalogue's contract knows, so that per-method series are made for it.
const METHOD: &str = "/shop.catalog.v1.ProductService/GetProduct";
const SERVICE: &str = "catalog";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One short round: tells that the comparison works, nothing about speed
    #[arg(long)]
    smoke: bool,
    /// Interleaved rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds per measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Calls in flight of the measurement of throughput
    #[arg(long, default_value_t = 100)]
    in_flight: usize,
    /// Message sizes in bytes
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1024])]
    sizes: Vec<usize>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let args = if args.smoke {
        Args {
            rounds: 1,
            seconds: 0.5,
            ..args
        }
    } else {
        args
    };
    let folder = tempfile::tempdir()?;
    let application = application::start(folder.path()).await?;
    let mut topologies = vec![
        Topology::direct(application.address),
        outrigger::start(folder.path(), application.address).await?,
    ];
    topologies.extend(envoy::start(folder.path(), application.address).await?);

    let mut report = Report::default();
    for topology in &topologies {
        // Connections are opened and caches filled before anything counts.
        load::run(topology.address, 10, 100, Duration::from_millis(300))
            .await
            .with_context(|| format!("{} does not carry calls", topology.name))?;
    }
    for _ in 0..args.rounds {
        for &size in &args.sizes {
            for topology in &topologies {
                report.add(topology.name, size, measure(topology, size, &args).await?);
            }
        }
    }
    outrigger::assert_observed(&topologies).await?;
    report.print(&args);
    Ok(())
}

async fn measure(topology: &Topology, size: usize, args: &Args) -> anyhow::Result<Round> {
    let duration = Duration::from_secs_f64(args.seconds);
    let alone = load::run(topology.address, 1, size, duration / 3).await?;
    let before = topology.cpu()?;
    let crowd = load::run(topology.address, args.in_flight, size, duration).await?;
    let cpu = topology.cpu()?.saturating_sub(before);
    Ok(Round {
        p50_alone: alone.latency.value_at_quantile(0.5),
        p99_alone: alone.latency.value_at_quantile(0.99),
        p99_crowd: crowd.latency.value_at_quantile(0.99),
        per_second: crowd.calls as f64 / crowd.elapsed.as_secs_f64(),
        cpu_per_call: cpu.as_secs_f64() * 1e6 / crowd.calls as f64,
        resident: topology.resident()?,
    })
}
