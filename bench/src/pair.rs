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
pub(crate) mod program;
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
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["h2", "tonic", "h2load"])]
    clients: Vec<Client>,
    /// Connections of h2load; the others have one
    #[arg(long, default_value_t = 10)]
    connections: usize,
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
    let args = args.without_missing()?;
    let folder = tempfile::tempdir()?;
    let topologies = start(folder.path()).await?;
    for topology in &topologies {
        topology.print_files()?;
    }
    let mut report = Report::default();
    let mut ours = warm_up(&topologies, &args).await?;
    for _ in 0..args.rounds {
        for (client, size) in args.loads() {
            for topology in &topologies {
                let measured = measure(topology, args.work(client, size), &args).await;
                let (round, calls) = measured.with_context(|| {
                    format!("{}, {} with {size} B", topology.name, client.name())
                })?;
                report.add((client, size), topology.name, round);
                ours += topology.ours(calls);
            }
        }
    }
    outrigger::assert_observed(&topologies, ours, args.messages).await?;
    report.print(&args);
    Ok(())
}

/// Connections are opened and caches filled before anything counts; how many calls our pair has carried.
async fn warm_up(topologies: &[Topology], args: &Args) -> anyhow::Result<u64> {
    let mut ours = 0;
    for topology in topologies {
        let work = args.work(Client::H2, 100);
        let warm = load::run(topology.address, 10, work, Duration::from_millis(300)).await;
        let warm = warm.with_context(|| format!("{} does not carry calls", topology.name))?;
        ours += topology.ours(warm.calls);
    }
    Ok(ours)
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
    fn work(&self, client: Client, size: usize) -> Work {
        Work {
            client,
            size,
            messages: self.messages,
            connections: self.connections,
        }
    }

    /// Each client with each size.
    fn loads(&self) -> impl Iterator<Item = (Client, usize)> {
        self.clients
            .iter()
            .flat_map(|client| self.sizes.iter().map(|size| (*client, *size)))
    }

    /// Without the client whose program is not there.
    fn without_missing(mut self) -> anyhow::Result<Self> {
        if self.clients.contains(&Client::H2load) && program::find("h2load")?.is_none() {
            self.clients.retain(|client| *client != Client::H2load);
        }
        Ok(self)
    }
}

/// One round, and how many calls it made.
async fn measure(topology: &Topology, work: Work, args: &Args) -> anyhow::Result<(Round, u64)> {
    let duration = Duration::from_secs_f64(args.seconds);
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
