//! `pair`: what a pair of sidecars costs a call, beside no proxy at all, a bare pair of forwarders and Envoy.
//!
//! Rounds are interleaved, so that a machine that slows down slows all three; what is told are medians over the rounds. Each proxy
//! has one data-plane thread. Load is closed-loop on purpose: it asks how much passes with so many calls in flight.

pub(crate) mod application;
pub(crate) mod bare;
pub(crate) mod certificates;
mod envoy;
pub(crate) mod load;
mod outrigger;
mod process;
pub(crate) mod report;
pub(crate) mod topology;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use load::{Client, Work};
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
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1024, 16384])]
    sizes: Vec<usize>,
    /// Who calls
    #[arg(long, value_enum, default_value_t = Client::H2)]
    client: Client,
    /// Messages of each answer: more than one makes it a server stream, and the figures are per message
    #[arg(long, default_value_t = 1)]
    messages: u32,
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
    let topologies = start(folder.path()).await?;
    for topology in &topologies {
        topology.print_files()?;
    }
    let mut report = Report::default();
    let mut made = 0;
    for topology in &topologies {
        // Connections are opened and caches filled before anything counts.
        let work = args.work(100);
        let calls = load::run(topology.address, 10, work, Duration::from_millis(300))
            .await
            .with_context(|| format!("{} does not carry calls", topology.name))?
            .calls;
        made += if topology.name == "outrigger" {
            calls
        } else {
            0
        };
    }
    for _ in 0..args.rounds {
        for &size in &args.sizes {
            for topology in &topologies {
                let (round, calls) = measure(topology, size, &args).await?;
                report.add(topology.name, size, round);
                made += if topology.name == "outrigger" {
                    calls
                } else {
                    0
                };
            }
        }
    }
    outrigger::assert_observed(&topologies, made, args.messages).await?;
    report.print(&args);
    Ok(())
}

/// Every way to the application. What the last one holds lives as long as it does.
pub(crate) async fn start(folder: &Path) -> anyhow::Result<Vec<Topology>> {
    let application = application::start(folder).await?;
    let address = application.address;
    certificates::write(folder)?;
    let mut topologies = vec![
        Topology::direct(application),
        outrigger::start(folder, address).await?,
        bare::start(folder, address).await?,
    ];
    topologies.extend(envoy::start(folder, address).await?);
    Ok(topologies)
}

impl Args {
    fn work(&self, size: usize) -> Work {
        Work {
            client: self.client,
            size,
            messages: self.messages,
        }
    }
}

/// One round, and how many calls it made.
async fn measure(topology: &Topology, size: usize, args: &Args) -> anyhow::Result<(Round, u64)> {
    let duration = Duration::from_secs_f64(args.seconds);
    let work = args.work(size);
    let alone = load::run(topology.address, 1, work, duration / 3).await?;
    let before = topology.cpu()?;
    let crowd = load::run(topology.address, args.in_flight, work, duration).await?;
    let cpu = topology.cpu()?.saturating_sub(before);
    let messages = crowd.calls as f64 * f64::from(args.messages);
    let round = Round {
        p50_alone: alone.latency.value_at_quantile(0.5),
        p99_alone: alone.latency.value_at_quantile(0.99),
        p99_crowd: crowd.latency.value_at_quantile(0.99),
        per_second: messages / crowd.elapsed.as_secs_f64(),
        cpu_per_call: cpu.as_secs_f64() * 1e6 / messages,
        resident: topology.resident()?,
    };
    Ok((round, alone.calls + crowd.calls))
}
